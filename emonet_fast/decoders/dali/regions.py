"""What is decoded of a picture for its boxes, and the rows cut out of that on the CPU. Pure: no DALI here."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...preprocess import crop
from ...records import Box, UInt8Array
from .triage import Sample

# A region is decoded alone where it is at most this part of the picture; above, the whole is as fast.
_REGION = 0.5


def whole(sample: Sample) -> Box:
    """All of the upright picture."""
    return Box(0, 0, sample.width, sample.height)


def box_of(sample: Sample) -> Box:
    """The row's box; a row without one is the whole picture."""
    return sample.box or whole(sample)


def part_of(sample: Sample, box: Box) -> Box:
    """What of the box lies inside the picture."""
    part = box.inside(sample.width, sample.height)
    if part is None:
        raise ValueError(f"{box} touches no pixel of {sample.key}")
    return part


def regions_of(samples: Sequence[Sample]) -> dict[int, Box]:
    """What is decoded of each picture, by the place of its first row: the region of all its boxes, if that is small."""
    first: dict[int, int] = {}
    regions: dict[int, Box] = {}
    for i, one in enumerate(samples):
        at, part = first.setdefault(id(one.data), i), part_of(one, box_of(one))
        known = regions.get(at, part)
        regions[at] = Box(
            min(known.left, part.left),
            min(known.top, part.top),
            max(known.right, part.right),
            max(known.bottom, part.bottom),
        )
    for i, region in regions.items():
        all_of_it = whole(samples[i])
        if region.width * region.height > _REGION * all_of_it.width * all_of_it.height:
            regions[i] = all_of_it
    return regions


def first_rows(samples: Sequence[Sample], regions: Mapping[int, Box]) -> list[int]:
    """For each row the place of its picture's first row, where the region is. regions: of regions_of."""
    first = {id(samples[i].data): i for i in regions}
    return [first[id(one.data)] for one in samples]


def cut_out(samples: Sequence[Sample], decoded: Sequence[UInt8Array]) -> list[UInt8Array]:
    """Each row's box, by preprocess.crop. decoded: what came of regions_of, at the place of each picture's first row.

    A region ends at the picture's edge where one of its boxes goes beyond it: the edge pixels are the picture's.
    """
    regions = regions_of(samples)
    rows = []
    for one, at in zip(samples, first_rows(samples, regions), strict=True):
        box = box_of(one)
        x, y = regions[at].left, regions[at].top
        moved = replace(box, left=box.left - x, top=box.top - y, right=box.right - x, bottom=box.bottom - y)
        rows.append(crop(decoded[at], moved))
    return rows
