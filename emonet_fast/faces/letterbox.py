"""A picture shrunk into one of a few fixed frames, and the way back.

Few fixed sizes, as OpenVINO compiles each anew and keeps memory for it: for a scale of S pixels, S x S, and S x 0.6 S
(to a multiple of 32) lying or standing, which fits 16:9.
"""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..records import UInt8Array

STRIDE = 32  # the network's coarsest: sides must be multiples of it
_NARROW = 0.6


@dataclass(frozen=True, slots=True)
class Frame:
    """Where a picture lies in the network's input: at its top left, factor_x and factor_y times as large."""

    width: int
    height: int
    factor_x: float
    factor_y: float
    inner_width: int
    inner_height: int


def plan(width: int, height: int, scale: int) -> Frame:
    """The frame for a picture of that size at a scale: the longer side at most `scale`, never enlarged.

    Raises:
        ValueError: scale is no multiple of STRIDE.
    """
    if scale % STRIDE or scale < STRIDE:
        raise ValueError(f"scale is {scale}; expected a multiple of {STRIDE}")
    factor = min(1.0, scale / max(width, height))
    inner_width, inner_height = max(1, round(width * factor)), max(1, round(height * factor))
    narrow = -(-int(scale * _NARROW) // STRIDE) * STRIDE
    frame_width = narrow if inner_width <= narrow < inner_height else scale
    frame_height = narrow if inner_height <= narrow < inner_width else scale
    return Frame(frame_width, frame_height, inner_width / width, inner_height / height, inner_width, inner_height)


def letterbox(rgb: UInt8Array, frame: Frame, out: np.ndarray) -> None:
    """Write [H, W, 3] uint8 RGB into out [3, frame.height, frame.width] float32 as BGR 0..255, zeros around it."""
    small = rgb
    if (frame.inner_height, frame.inner_width) != rgb.shape[:2]:
        image = Image.fromarray(rgb).resize(
            (frame.inner_width, frame.inner_height), Image.Resampling.BILINEAR, reducing_gap=2.0
        )
        small = np.asarray(image)
    out[:, : frame.inner_height, : frame.inner_width] = small[..., ::-1].transpose(2, 0, 1)
    out[:, frame.inner_height :] = 0
    out[:, : frame.inner_height, frame.inner_width :] = 0
