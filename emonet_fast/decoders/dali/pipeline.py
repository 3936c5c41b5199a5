"""The one DALI pipeline, parametrised by device: encoded bytes to the network's input, equal to Pillow.

    encoded [bytes] -> decode (RGB, upright) -> crop -> resize columns -> resize rows -> [3, S, S] -> normalise

The resize is bilinear, antialiased, corrected at the border (border.py), and like Pillow's one axis after the other
with uint8 between them. One operator for both axes would be twice as fast on the CPU, where Pillow resizes anyway, but
it leaves a fifth of all values a level apart.

One sample a row: a picture, or one face box of a picture. A picture with several boxes is decoded once: its first row
carries its bytes, the others a picture of one pixel, and `pick` points all to the first.
"""

from typing import Any

import nvidia.dali
import nvidia.dali.fn
from nvidia.dali import math, pipeline_def, types

from .definition import (
    CROP_SHAPE,
    CROP_START,
    DECODE_SHAPE,
    DECODE_START,
    ENCODED,
    EXTENT,
    OVER,
    PICK,
    REGION_INPUTS,
    REGIONS,
    ROWS_FIRST,
    SHIFT,
    WEIGHT_X,
    WEIGHT_Y,
    WHOLE,
    Definition,
)

# DALI's stubs name the types of data nodes and of batches at once; here all are nodes of a graph.
fn: Any = nvidia.dali.fn
# What DALI's sums err, in levels: values that are halves in exact arithmetic, of which sides in a simple ratio to the
# network's have many, go up, as mostly in Pillow. Less leaves 4/3 with 6% of the values a level apart instead of 2%.
_NOISE = 1e-3
_FILTER = {"interp_type": types.INTERP_LINEAR, "antialias": True}


def build(definition: Definition) -> Any:
    """The pipeline, built and ready for feed_input. Needs the extra `dali`.

    With prefetch_queue_depth 1 the first schedule_run asks for one batch of inputs, not for several; runs that are
    scheduled ahead overlap all the same.
    """
    # With conditionals: DALI turns the `if` of _resized, whose condition is data, into a choice for each sample.
    pipe: Any = pipeline_def(enable_conditionals=True)(_graph)(
        definition,
        batch_size=definition.batch_size,
        num_threads=definition.threads,
        device_id=definition.device_id,
        prefetch_queue_depth=1,
        exec_dynamic=True,
        set_affinity=False,
    )
    pipe.build()
    return pipe


def _graph(definition: Definition) -> Any:
    gpu = definition.device_id is not None
    inputs = _Inputs(definition, gpu)
    picture = _decoded(definition, inputs, "mixed" if gpu else "cpu")
    if definition.rows not in (WHOLE, REGIONS):
        picture = _cropped(picture, inputs)
    return _output(definition, picture, inputs)


class _Inputs:
    """The external inputs by name; small arrays that GPU operators compute with are copied to the GPU."""

    def __init__(self, definition: Definition, gpu: bool) -> None:
        def of(name: str, dtype: Any, ndim: int) -> Any:
            # On the CPU arrays are read where they lie: the runner keeps them until the run is done. A GPU's copies
            # may go on for longer than that.
            return fn.external_source(name=name, dtype=dtype, ndim=ndim, no_copy=not gpu)

        self.encoded = of(ENCODED, types.UINT8, 1)
        self.box: dict[str, Any] = {}
        if definition.rows != WHOLE:
            for name in REGION_INPUTS:
                self.box[name] = of(name, types.INT32, 1)
        if definition.rows not in (WHOLE, REGIONS):
            self.box[PICK] = of(PICK, types.INT32, 0)
            for name in (CROP_START, CROP_SHAPE):
                self.box[name] = of(name, types.INT32, 1)
        if definition.rows == OVER:
            self.box[SHIFT], self.box[EXTENT] = of(SHIFT, types.FLOAT, 2), of(EXTENT, types.FLOAT, 1)
        if definition.output == "pictures":
            return
        self.rows_first: Any = of(ROWS_FIRST, types.BOOL, 0)
        self.weights: tuple[Any, Any] = (of(WEIGHT_Y, types.FLOAT, 0), of(WEIGHT_X, types.FLOAT, 0))
        if gpu:
            self.weights = (self.weights[0].gpu(), self.weights[1].gpu())


def _decoded(definition: Definition, inputs: _Inputs, device: str) -> Any:
    settings: dict[str, Any] = {"output_type": types.RGB, "adjust_orientation": definition.exif, "device": device}
    if device == "mixed":
        # As libjpeg-turbo (and so Pillow) does it by default; nvJPEG's own default repeats chroma samples.
        settings["jpeg_fancy_upsampling"] = True
        # Decode buffers as large as most pictures need, at once, instead of growing again and again.
        settings |= {"preallocate_width_hint": 2048, "preallocate_height_hint": 2048}
    if definition.rows == WHOLE:
        return fn.decoders.image(inputs.encoded, **settings)
    box = inputs.box
    part = fn.decoders.image_slice(
        inputs.encoded, start=box[DECODE_START], shape=box[DECODE_SHAPE], axis_names="HW", **settings
    )
    return part if definition.rows == REGIONS else fn.permute_batch(part, indices=box[PICK])


def _cropped(picture: Any, inputs: _Inputs) -> Any:
    box = inputs.box
    inside = fn.slice(picture, start=box[CROP_START], shape=box[CROP_SHAPE], axis_names="HW")
    if SHIFT not in box:
        return inside
    # Without a fill value the warp repeats the edge. Not by a region of the resize: one that lies wholly outside of
    # the picture makes DALI 2.4 read beyond its memory.
    return fn.warp_affine(inside, matrix=box[SHIFT], size=box[EXTENT], interp_type=types.INTERP_NN, inverse_map=True)


def _along(picture: Any, axis: int, size: int, weight: Any) -> Any:
    """[h, w, 3] uint8 with one axis resized to `size` by Pillow's rule, the other as it is. weight: border.outside."""
    every = {"resize_x": size} if axis == 1 else {"resize_y": size}
    found = fn.resize(picture, mode="stretch", dtype=types.FLOAT, **every, **_FILTER)

    def part(of: Any, first: int | None, end: int | None) -> Any:
        return of[first:end] if axis == 0 else of[:, first:end]

    def corrected(first: int | None, end: int | None) -> Any:
        return (part(found, first, end) - weight * part(picture, first, end)) / (1.0 - weight)

    exact = fn.cat(corrected(None, 1), part(found, 1, -1), corrected(-1, None), axis=axis)
    # As Pillow rounds: halves up, and between its two passes as well as after them.
    return fn.cast(math.floor(exact + (0.5 + _NOISE)), dtype=types.UINT8)


def _resized(definition: Definition, picture: Any, inputs: _Inputs) -> Any:
    """[h, w, 3] uint8 to [S, S, 3] uint8, each picture's axes in the order in which Pillow takes them."""
    size, (weight_y, weight_x) = definition.preprocess.size, inputs.weights
    if inputs.rows_first:
        found = _along(_along(picture, 0, size, weight_y), 1, size, weight_x)
    else:
        found = _along(_along(picture, 1, size, weight_x), 0, size, weight_y)
    return found


def _output(definition: Definition, picture: Any, inputs: _Inputs) -> Any:
    if definition.output == "pictures":
        return picture
    spec, pixels = definition.preprocess, _resized(definition, picture, inputs)
    if definition.output == "uint8":
        return fn.transpose(pixels, perm=[2, 0, 1])
    values = fn.crop_mirror_normalize(
        pixels,
        dtype=types.FLOAT,
        output_layout="CHW",
        mean=[m / spec.rescale_factor for m in spec.mean],
        std=[s / spec.rescale_factor for s in spec.std],
    )
    if definition.output == "float32":
        return values
    # Upper half of the float32's bits, rounded to nearest, ties to even.
    bits = fn.cast(fn.reinterpret(values, dtype=types.UINT32), dtype=types.INT64)
    return fn.cast((bits + 0x7FFF + (bits // 0x10000) % 2) // 0x10000, dtype=types.UINT16)
