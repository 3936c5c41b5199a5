"""How usable a face is: how sharp and bright its crop is, and how far the head is turned, by five landmarks.

    grey = 0.299 R + 0.587 G + 0.114 B of 8 bits (Pillow's "L"), shrunk or enlarged to 112 x 112 (bilinear, antialiased)
    sharpness  = variance of the Laplacian (0 1 0, 1 -4 1, 0 1 0) of the crop's grey
    brightness = mean of the crop's grey, 0..255
    roll = atan2(y_left - y_right, x_left - x_right) of the eyes
    yaw  = asin(d / (0.6 l)), d = from the line eyes' middle - mouth's middle to the nose tip, l = length of that line

One fixed size makes crops of all sizes comparable. Sources: Pech-Pacheco et al., Diatom autofocusing in brightfield
microscopy, ICPR 2000 (variance of the Laplacian). Gee and Cipolla, Determining the gaze of faces in images, Image and
Vision Computing 12(10), 1994 (weak perspective; a nose of 0.6 times the distance of eyes and mouth; here no pitch).
"""

import math
from collections.abc import Sequence

import numpy as np

from .records import UInt8Array

SIDE = 112
# Pillow's "L" of R, G and B: a sum of these parts of 65536, rounded.
GREY = (19595, 38470, 7471)
_NOSE = 0.6


def look_of(rgb: UInt8Array) -> tuple[float, float]:
    """Sharpness and brightness of a crop [H, W, 3] uint8 RGB."""
    from PIL import Image  # late: a machine that is handed ready batches needs no Pillow

    small = Image.fromarray(rgb).convert("L").convert("F").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    grey = np.asarray(small, np.float64)
    middle = grey[1:-1, 1:-1]
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * middle
    return float(laplacian.var()), float(grey.mean())


def turn_of(landmarks: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Yaw and roll in degrees; NaN without landmarks, which are those of `Face`.

    Yaw is positive where the nose points to the right side of the picture, roll where the head is turned clockwise.
    """
    if len(landmarks) != 5:
        return math.nan, math.nan
    right_eye, left_eye, nose, right_mouth, left_mouth = np.asarray(landmarks, np.float64)
    across = left_eye - right_eye
    top = (right_eye + left_eye) / 2
    down = (right_mouth + left_mouth) / 2 - top
    length = math.hypot(*down)
    if not length:
        return math.nan, math.nan
    aside = (down[1] * (nose - top)[0] - down[0] * (nose - top)[1]) / length
    yaw = math.asin(min(1.0, max(-1.0, aside / (_NOSE * length))))
    return math.degrees(yaw), math.degrees(math.atan2(across[1], across[0]))
