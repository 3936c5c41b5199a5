"""The one rule by which a face's box becomes the crop that is scored, the same for pictures and video.

    side = round(longer side of the box x (1 + 2 x margin)), at least 1
    left = round(centre x - side / 2), top = round(centre y - side / 2)

A square keeps the face's proportions when it is resized to the network's square input. Where it reaches over the
picture's edge, the edge pixels go on (preprocess.crop).
"""

import math

from ..errors import InputError, OptionError
from ..options import FaceOptions
from ..records import Box, Face

MARGIN = FaceOptions().margin


def face_crop(face: Face, margin: float = MARGIN) -> Box:
    """The square crop of a face in whole pixels.

    Args:
        face: its box may reach over the picture's edges; so may the crop.
        margin: added on each side, as a part of the box's longer side.

    Raises:
        OptionError: when the margin is negative or not finite.
        InputError: when the face's box is empty or not finite.
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
