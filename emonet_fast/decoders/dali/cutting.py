"""Small JPEGs out of large ones, for boxes: our C++ extension cuts the region's blocks out without decoding any.

A JPEG must be read from its start to the region's last row. DALI's decoder decodes all of that; the extension skips
what is not of the region, two codes at a step, and DALI decodes what was cut. On the CPU only: a GPU's JPEG decoder is
not the bottleneck that a CPU's is, and cutting would take the CPU's time.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

from ...optional import available
from ...records import Box
from .triage import Sample

_EXTENSION = "emonet_fast._jpeg"
# left, top, right, bottom in stored pixels to the cut file and what part of the picture it holds.
_Cutter = Callable[[bytes, int, int, int, int], tuple[bytes, int, int, int, int] | None]


@dataclass(frozen=True, slots=True)
class Cut:
    """A JPEG file of the pixels of `held`, a part of the upright picture that holds the region asked for."""

    data: bytes
    held: Box


@cache
def _cutter() -> _Cutter | None:
    if not available(_EXTENSION):  # no compiler was there when the package was installed
        return None
    cutter: _Cutter = importlib.import_module(_EXTENSION).cut
    return cutter


def cut(sample: Sample, region: Box) -> Cut | None:
    """The region, of the upright picture, as a file of its own that has the picture's orientation; thread-safe.

    None where the file is no JPEG that can be cut (progressive, damaged before the region's end, ...) or the extension
    was not built: then DALI reads the whole file.
    """
    cutter = _cutter()
    if cutter is None or not sample.data.startswith(b"\xff\xd8"):
        return None
    stored = to_stored(region, sample.width, sample.height, sample.orientation)
    found = cutter(sample.data, stored.left, stored.top, stored.right, stored.bottom)
    if found is None:
        return None
    data, *held = found
    return Cut(data, to_upright(Box(*held), sample.width, sample.height, sample.orientation))


def to_stored(box: Box, width: int, height: int, orientation: int) -> Box:
    """A box of the upright picture, which is width x height, in the picture as the file stores it.

    orientation: EXIF tag 0x0112, 1 to 8 (CIPA DC-008, 4.6.4.A).
    """
    if orientation >= 5:  # the file's rows are the picture's columns
        box, width, height = Box(box.top, box.left, box.bottom, box.right), height, width
    return _flipped(box, width, height, orientation)


def to_upright(box: Box, width: int, height: int, orientation: int) -> Box:
    """The inverse of to_stored; width, height are the upright picture's here too."""
    if orientation < 5:
        return _flipped(box, width, height, orientation)
    box = _flipped(box, height, width, orientation)
    return Box(box.top, box.left, box.bottom, box.right)


def _flipped(box: Box, width: int, height: int, orientation: int) -> Box:
    left, right = (width - box.right, width - box.left) if orientation in (2, 3, 7, 8) else (box.left, box.right)
    top, bottom = (height - box.bottom, height - box.top) if orientation in (3, 4, 6, 7) else (box.top, box.bottom)
    return Box(left, top, right, bottom)
