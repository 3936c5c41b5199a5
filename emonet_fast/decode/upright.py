"""Orientation: read by Pillow, from EXIF or XMP, and applied to arrays."""

from typing import Any

from PIL import Image

from .refusal import text

_ORIENTATION = 0x0112  # EXIF tag
# By EXIF orientation: whether rows and columns are exchanged, and then rows and columns taken in reverse.
TURNS = {
    1: (False, False, False),
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def orientation_of(image: Image.Image) -> tuple[int, list[str]]:
    """1 to 8, what Pillow reads from EXIF or XMP, and notes; 1 for anything else."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
        return (int(value) if value in TURNS else 1), []
    except MemoryError:
        raise
    except Exception as e:  # broken EXIF must not lose the picture
        return 1, [f"EXIF unreadable, orientation not applied ({text(e)})"]


def stored_view(upright: Any, orientation: int) -> Any:
    """An upright array [h, w, ...] seen as the stored picture: what is written there stands upright."""
    exchange, rows, columns = TURNS[orientation]
    turned = upright[:: -1 if rows else 1, :: -1 if columns else 1]
    return turned.swapaxes(0, 1) if exchange else turned
