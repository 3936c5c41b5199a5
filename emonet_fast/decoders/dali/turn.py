"""Turns DALI's pictures upright, as Pillow turns its own.

DALI hears of no orientation: with `adjust_orientation` DALI 2.4 writes beyond its memory where EXIF is damaged or comes
twice, and reads other orientations than Pillow does (XMP, long numbers, a second segment).
"""

from typing import Any

import numpy as np

from ...decode import TURNS
from ...records import Box


def upright(pixels: Any, orientation: int) -> Any:
    """The stored picture [h, w, 3] uint8 upright and contiguous, a numpy array or a torch tensor where it lies.

    Upright ones are given back as they are.
    """
    exchange, rows, columns = TURNS[orientation]
    if orientation == 1:
        return pixels
    if not isinstance(pixels, np.ndarray):
        turned = pixels.transpose(0, 1) if exchange else pixels
        return turned.flip([axis for axis, reverse in enumerate((rows, columns)) if reverse]).contiguous()
    whole = np.ascontiguousarray(pixels).view("V3")[..., 0]  # three bytes at once: twice as fast
    turned = whole.T if exchange else whole
    turned = turned[:: -1 if rows else 1, :: -1 if columns else 1]
    return np.ascontiguousarray(turned).view(np.uint8).reshape(*turned.shape, 3)


def stored(box: Box, orientation: int, width: int, height: int) -> Box:
    """Where a box of the upright picture of that size lies in the stored one."""
    exchange, rows, columns = TURNS[orientation]
    left, top, right, bottom = box.left, box.top, box.right, box.bottom
    if columns:
        left, right = width - right, width - left
    if rows:
        top, bottom = height - bottom, height - top
    return Box(top, left, bottom, right) if exchange else Box(left, top, right, bottom)
