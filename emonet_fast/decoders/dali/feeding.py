"""Rows to the arrays that the pipeline's external inputs take. Pure: no DALI here."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from ...records import Box
from . import border
from . import definition as names
from .definition import Definition
from .regions import box_of, first_rows, part_of, regions_of
from .triage import Sample

Arrays = list[npt.NDArray[np.generic]]
# A picture of one pixel, in place of bytes that another row of the run carries.
PLACEHOLDER = np.frombuffer(b"P6\n1 1\n255\n\0\0\0", np.uint8)


def inputs(samples: Sequence[Sample], definition: Definition) -> Mapping[str, Arrays]:
    """One list of arrays for each external input, an entry a sample."""
    if definition.rows == names.WHOLE:
        found: dict[str, Arrays] = {names.ENCODED: [np.frombuffer(one.data, np.uint8) for one in samples]}
        sizes = [(one.width, one.height) for one in samples]
    else:
        boxes = [box_of(one) for one in samples]
        found = _box_inputs(samples, boxes)
        if definition.rows == names.REGIONS:
            return {name: found[name] for name in (names.ENCODED, *names.REGION_INPUTS)}
        if definition.rows == names.OVER:
            found |= _over_inputs(samples, boxes)
        sizes = [(box.width, box.height) for box in boxes]
    if definition.output == "pictures":
        return found
    size = definition.preprocess.size
    found[names.WEIGHT_X] = [np.asarray(border.outside(w, size), np.float32) for w, _ in sizes]
    found[names.WEIGHT_Y] = [np.asarray(border.outside(h, size), np.float32) for _, h in sizes]
    found[names.ROWS_FIRST] = [np.asarray(border.rows_first(h, w, size)) for w, h in sizes]
    return found


def _box_inputs(samples: Sequence[Sample], boxes: Sequence[Box]) -> dict[str, Arrays]:
    """Rows of one picture share one decode, by the first of them; the region decoded holds all their boxes."""
    regions = regions_of(samples)
    first = first_rows(samples, regions)
    found: dict[str, Arrays] = {name: [] for name in (names.ENCODED, *names.BOX_INPUTS)}
    for i, (one, box) in enumerate(zip(samples, boxes, strict=True)):
        at, part = first[i], part_of(one, box)
        region, own = regions[at], at == i
        rows = {
            names.ENCODED: np.frombuffer(one.data, np.uint8) if own else PLACEHOLDER,
            names.PICK: np.int32(at),
            names.DECODE_START: _pair(region.top, region.left) if own else _pair(0, 0),
            names.DECODE_SHAPE: _pair(region.height, region.width) if own else _pair(1, 1),
            names.CROP_START: _pair(part.top - region.top, part.left - region.left),
            names.CROP_SHAPE: _pair(part.height, part.width),
        }
        for name, value in rows.items():
            found[name].append(np.asarray(value))
    return found


def _over_inputs(samples: Sequence[Sample], boxes: Sequence[Box]) -> dict[str, Arrays]:
    """Where each box's crop goes in the box; a box inside its picture is its own crop."""
    found: dict[str, Arrays] = {names.SHIFT: [], names.EXTENT: []}
    for one, box in zip(samples, boxes, strict=True):
        part = part_of(one, box)
        found[names.SHIFT].append(np.array([[1, 0, box.left - part.left], [0, 1, box.top - part.top]], np.float32))
        found[names.EXTENT].append(np.array([box.height, box.width], np.float32))
    return found


def rows_of(samples: Sequence[Sample]) -> str:
    """Definition.rows for these samples: all with a box, or all without."""
    if samples[0].box is None:
        return names.WHOLE
    inside = all(one.box is not None and one.box == one.box.inside(one.width, one.height) for one in samples)
    return names.INSIDE if inside else names.OVER


def _pair(y: int, x: int) -> npt.NDArray[np.int32]:
    return np.array([y, x], np.int32)
