"""A picture shrunk into one of a few fixed frames, and the way back.

OpenVINO compiles each size anew and keeps memory for it. So a scale of S pixels has three: S x S, and S x 0.6 S (to a
multiple of 32) lying or standing, which fits 16:9.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ..optional import need
from ..records import UInt8Array

STRIDE = 32  # the network's coarsest: sides must be multiples of it
_NARROW = 0.6


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Where a picture lies in the network's input: at its top left, factor_x and factor_y times as large."""

    width: int
    height: int
    factor_x: float
    factor_y: float
    inner_width: int
    inner_height: int


def plan(width: int, height: int, scale: int) -> Letterbox:
    """The frame for a picture of that size: its longer side becomes at most `scale`, and it is never enlarged."""
    factor = min(1.0, scale / max(width, height))
    inner_width, inner_height = max(1, round(width * factor)), max(1, round(height * factor))
    narrow = -(-int(scale * _NARROW) // STRIDE) * STRIDE
    frame_width = narrow if inner_width <= narrow < inner_height else scale
    frame_height = narrow if inner_height <= narrow < inner_width else scale
    return Letterbox(frame_width, frame_height, inner_width / width, inner_height / height, inner_width, inner_height)


def letterboxed(pictures: Sequence[Any], frames: Sequence[Letterbox]) -> Any:
    """[n, 3, height, width] float32 BGR 0..255 of pictures [H, W, 3] uint8 RGB, zeros around each.

    All frames have one width and height. Pillow shrinks numpy arrays; PyTorch shrinks torch tensors on their device.
    """
    shape = (len(pictures), 3, frames[0].height, frames[0].width)
    if all(isinstance(one, np.ndarray) for one in pictures):
        out = np.zeros(shape, np.float32)
        for place, (rgb, frame) in enumerate(zip(pictures, frames, strict=True)):
            small = _by_pillow(rgb, frame)
            out[place, :, : frame.inner_height, : frame.inner_width] = small[..., ::-1].transpose(2, 0, 1)
        return out
    tensors = need("torch", "finding faces on the GPU").zeros(shape, device=pictures[0].device)
    for place, (rgb, frame) in enumerate(zip(pictures, frames, strict=True)):
        tensors[place, :, : frame.inner_height, : frame.inner_width] = _by_torch(rgb, frame).flip(0)
    return tensors


def _by_pillow(rgb: UInt8Array, frame: Letterbox) -> UInt8Array:
    """[inner_height, inner_width, 3] uint8."""
    size = (frame.inner_width, frame.inner_height)
    if size == rgb.shape[1::-1]:
        return rgb
    return np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0))


def _by_torch(rgb: Any, frame: Letterbox) -> Any:
    """[3, inner_height, inner_width] float32 of whole numbers: like Pillow, but without its reduction beforehand."""
    torch = need("torch", "finding faces on the GPU")
    planes = rgb.permute(2, 0, 1)[None].float()
    size = (frame.inner_height, frame.inner_width)
    if size != planes.shape[2:]:
        planes = torch.nn.functional.interpolate(planes, size, mode="bilinear", antialias=True).round().clamp(0, 255)
    return planes[0]
