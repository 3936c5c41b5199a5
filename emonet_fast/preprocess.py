"""The exact resize and normalisation: the definition that every other implementation is held to.

    crop   = the pixels of a box, a picture of its own from here on; beyond the picture's edge its edge pixels go on
    pixels = Pillow resize of [H, W, 3] uint8 RGB to size x size with the checkpoint's filter, aspect squashed
    input  = (pixels * rescale_factor - mean) / std, which engines compute inside their graph

Source: transformers' SigLIP image processor (PIL), equal to it bit for bit in the pixels.
"""

import numpy as np

from .checkpoint.spec import Preprocess
from .records import Box, UInt8Array


def crop(rgb: UInt8Array, box: Box) -> UInt8Array:
    """The box's [box.height, box.width, 3] pixels of [H, W, 3] uint8; outside, the nearest edge pixel's.

    Scoring the result equals scoring a file that holds just these pixels: no filter sees what is around the box.
    Raises ValueError when the box touches no pixel of the picture.
    """
    height, width = rgb.shape[:2]
    part = box.inside(width, height)
    if part is None:
        raise ValueError(f"{box} touches no pixel of a picture of {width} x {height}")
    pixels = rgb[part.top : part.bottom, part.left : part.right]
    over = ((part.top - box.top, box.bottom - part.bottom), (part.left - box.left, box.right - part.right), (0, 0))
    return np.ascontiguousarray(pixels if part == box else np.pad(pixels, over, mode="edge"))


def resize(rgb: UInt8Array, spec: Preprocess) -> UInt8Array:
    """[H, W, 3] uint8 RGB to [3, size, size] uint8, C-contiguous, with Pillow's antialiased convolution resize."""
    from PIL import Image  # late: a machine that is handed ready batches needs no Pillow

    filter_ = Image.Resampling[spec.resample.upper()]
    small = Image.fromarray(rgb).resize((spec.size, spec.size), resample=filter_)
    return np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
