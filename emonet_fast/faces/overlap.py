"""How much boxes of faces overlap."""

from collections.abc import Sequence

import numpy as np

from ..records import Face, Float64Array


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
