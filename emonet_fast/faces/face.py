"""One face of a picture."""

from dataclasses import dataclass

import numpy as np

from ..records import Float64Array


@dataclass(frozen=True, slots=True)
class Face:
    """A box in pixels of the upright picture, as it was found: it may reach over the edges.

    x, y: left and top edge, width, height: of the box, all in pixels. score: 0..1, 1 where the finder gave none.
    landmarks: (x, y) of right eye, left eye, nose tip, right and left corner of the mouth, in the picture's pixels;
    empty where there are none. track: the identity that came with a box from a file, None without one.
    """

    x: float
    y: float
    width: float
    height: float
    score: float = 1.0
    landmarks: tuple[tuple[float, float], ...] = ()
    track: int | None = None

    @property
    def longer_side(self) -> float:
        return max(self.width, self.height)


def overlaps(first: Float64Array, second: Float64Array) -> Float64Array:
    """Intersection over union of [n, 4] and [m, 4] boxes (x, y, width, height): [n, m], 0 where both are empty."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum((first[:, :2] + first[:, 2:])[:, None], (second[:, :2] + second[:, 2:])[None])
    shared = np.clip(high - low, 0.0, None).prod(axis=2)
    union = first[:, 2:].prod(axis=1)[:, None] + second[:, 2:].prod(axis=1)[None] - shared
    found: Float64Array = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return found


def boxes_of(faces: "list[Face] | tuple[Face, ...]") -> Float64Array:
    """[n, 4] float64 of x, y, width, height."""
    return np.array([(f.x, f.y, f.width, f.height) for f in faces], np.float64).reshape(-1, 4)
