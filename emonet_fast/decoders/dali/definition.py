"""What a DALI pipeline is built from, and the names of its inputs. No DALI here."""

from dataclasses import dataclass

from ...checkpoint.spec import Preprocess

OUTPUTS = ("uint8", "float32", "bfloat16", "pictures")
# Names of the external inputs. All arrays are on the host; one list entry a sample.
ENCODED = "encoded"  # uint8 [bytes]
WEIGHT_X, WEIGHT_Y = "weight_x", "weight_y"  # float32 []: border.outside of the columns and of the rows
ROWS_FIRST = "rows_first"  # bool []: border.rows_first
PICK = "pick"  # int32 []: the sample whose decoded picture this row is cut from
DECODE_START, DECODE_SHAPE = "decode_start", "decode_shape"  # int32 [2], y and x: what of the picture is decoded
CROP_START, CROP_SHAPE = "crop_start", "crop_shape"  # int32 [2]: the box's part inside the picture, in what was decoded
REGION_INPUTS = (DECODE_START, DECODE_SHAPE)
BOX_INPUTS = (*REGION_INPUTS, PICK, CROP_START, CROP_SHAPE)
# Of boxes that reach over the picture's edge: an affine matrix float32 [2, 3] that shifts the crop to its place in the
# box, and the box's height and width, float32 [2].
SHIFT, EXTENT = "shift", "extent"
# Rows are whole pictures, boxes inside their pictures, or boxes of which some reach over the edge; or regions of
# pictures, of which boxes are cut afterwards.
WHOLE, INSIDE, OVER, REGIONS = "whole", "inside", "over", "regions"


@dataclass(frozen=True, slots=True)
class Definition:
    """What a pipeline is built from.

    device_id: the GPU, None for the CPU. batch_size: samples of a run, at most. threads: CPU threads of DALI.
    exif: turn pictures upright first. rows: WHOLE, INSIDE, OVER or REGIONS: what the rows are, and so what the inputs.
    output: one of OUTPUTS. The first three are [rows, 3, S, S]: uint8 pixels, or values normalised as
    preprocess.normalise does; bfloat16 comes as its bits in uint16, as DALI has no such type. "pictures": decoded and
    cropped only, [h, w, 3] uint8 of any size, as REGIONS must be.
    """

    preprocess: Preprocess
    device_id: int | None
    batch_size: int
    threads: int
    exif: bool = True
    rows: str = WHOLE
    output: str = "uint8"
