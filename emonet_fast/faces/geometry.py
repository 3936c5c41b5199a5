"""Boxes of faces: the crop that is scored of each, and how much boxes overlap.

The one rule by which a face's box becomes a crop, the same for pictures and video:

    side = round(longer side of the box x (1 + 2 x margin)), at least 1
    left = round(centre x - side / 2), top = round(centre y - side / 2)

A square keeps the face's proportions when it is resized to the network's square input. Where it reaches over the
picture's edge, the edge pixels go on (preprocess.crop).
"""

import math
from collections.abc import Sequence

import numpy as np

from ..errors import InputError, OptionError
from ..options import FaceOptions
from ..records import Box, Face, Float64Array

MARGIN = FaceOptions().margin


def face_crop(face: Face, margin: float = MARGIN) -> Box:
    """The square crop of a face in whole pixels. The box may reach over the picture's edges, and so may the crop.

    Raises OptionError for a negative or infinite margin, and InputError for a box that is empty or not finite.
    """
    if not (math.isfinite(margin) and margin >= 0):
        raise OptionError(f"margin is {margin}; expected 0 or more, as a part of the box's longer side")
    sides = (face.x, face.y, face.width, face.height)
    if not all(map(math.isfinite, sides)) or face.width <= 0 or face.height <= 0:
        raise InputError(f"a face's box (x, y, width, height) {sides} came; expected finite numbers, sides above 0")
    side = max(1, round(face.longer_side * (1 + 2 * margin)))
    left = round(face.x + face.width / 2 - side / 2)
    top = round(face.y + face.height / 2 - side / 2)
    return Box(left, top, left + side, top + side)


def overlaps(first: Float64Array, second: Float64Array) -> Float64Array:
    """Intersection over union of [n, 4] and [m, 4] boxes (x, y, width, height): [n, m], 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    union = first[:, 2:].prod(axis=1)[:, None] + second[:, 2:].prod(axis=1)[None] - shared
    ratio: Float64Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio


def boxes_of(faces: Sequence[Face]) -> Float64Array:
    """[n, 4] float64 of x, y, width, height."""
    return np.array([(f.x, f.y, f.width, f.height) for f in faces], np.float64).reshape(-1, 4)
