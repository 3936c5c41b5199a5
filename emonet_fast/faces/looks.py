"""What faces look like, in a few numbers of their pixels: enough to tell two people of one frame apart, mostly.

A look is the face's box shrunk to 8 x 8 pixels, less its mean brightness, as a vector of length 1. One more component
of _FAINT levels keeps the noise of faces without contrast from counting. 1 - cosine of two looks is small for one face
from frame to frame; of two people it is mostly above 0.3.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..records import Face, Float64Array, UInt8Array

_SIDE = 8
_FAINT = 4.0
# So many pixels of a box's side are read for each of the look's.
_READ = 4


def looks_of(rgb: UInt8Array, faces: Sequence[Face]) -> Float64Array:
    """[n, 8 x 8 x 3 + 1] looks of the faces of a picture [H, W, 3] uint8 RGB. A box outside of it has a flat look."""
    values = np.zeros((len(faces), 3 * _SIDE * _SIDE))
    for look, face in zip(values, faces, strict=True):
        left, top = max(0, round(face.x)), max(0, round(face.y))
        inside = rgb[top : max(0, round(face.y + face.height)), left : max(0, round(face.x + face.width))]
        down, across = (max(1, side // (_READ * _SIDE)) for side in inside.shape[:2])
        if inside.size:
            small = Image.fromarray(np.ascontiguousarray(inside[::down, ::across]))
            look[:] = np.asarray(small.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float64).ravel()
    values -= values.mean(axis=1, keepdims=True)
    looks = np.concatenate([values, np.full((len(faces), 1), _FAINT * np.sqrt(values.shape[1]))], axis=1)
    unit: Float64Array = looks / np.linalg.norm(looks, axis=1, keepdims=True)
    return unit
