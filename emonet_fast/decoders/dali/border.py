"""What a resize must do to be Pillow's: take back what DALI does at a picture's border, and mind the order of the axes.

DALI repeats the edge pixel, Pillow drops what lies outside and divides by what is left.

Along one axis of n pixels and `size` outputs, with s = n / size, f = max(s, 1) and the triangle g(t) = max(1 - |t|, 0):

    w_ij   = g((j + 0.5 - (i + 0.5) s) / f), normalised to sum 1 over all j, also those outside of 0..n-1
    DALI   = sum over all j of w_ij x[clamp(j)] = sum inside of w_ij x[j] + W_i x[edge],  W_i = sum outside of w_ij
    Pillow = (sum inside of w_ij x[j]) / (1 - W_i) = (DALI_i - W_i x[edge]) / (1 - W_i)

W_i > 0 for the first and the last output only, where s >= 1: the triangle reaches s far, and the second output's centre
is 1.5 s from the edge. Where s < 1, the one neighbour inside is the edge pixel itself: both rules are the same.

Only the bilinear filter. Bicubic would go the same way with two outputs at each end, but was up to 2 levels from
Pillow's on photographs, and further where a side is about as long as the network's input.
"""

import math
from functools import lru_cache

import numpy as np
import PIL

RESAMPLES = ("bilinear",)
# Since then Pillow takes the rows of tall pictures first (python-pillow/Pillow#9549); before, the columns always.
_ORDERED = 13


def rows_first(height: int, width: int, size: int) -> bool:
    """Whether the Pillow that is installed resizes the rows before the columns.

    It rounds between, so that the order makes a level of difference in a quarter of the values. The rule is its
    behaviour, held to it by the tests: where the height shrinks by more than twice of what the width does.
    """
    newer = int(PIL.__version__.partition(".")[0]) >= _ORDERED
    return newer and height - size > max(0, 2 * (width - size))


@lru_cache(maxsize=4096)
def outside(n: int, size: int) -> float:
    """W of the first output, which is that of the last one too: 0 to 0.125 or so, 0 where the picture is enlarged."""
    scale = n / size
    if scale <= 1:
        return 0.0
    pixel = np.arange(-math.ceil(scale), math.ceil(1.5 * scale) + 1)
    weight = np.clip(1 - np.abs(pixel + 0.5 - 0.5 * scale) / scale, 0, None)
    return float(weight[pixel < 0].sum() / weight.sum())
