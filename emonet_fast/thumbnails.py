"""Small pictures for pages and notebooks."""

import base64
import io

import numpy as np
from PIL import Image

from .records import UInt8Array

THUMBNAIL, PHOTOGRAPH = 224, 360  # pixels of the longer side
_JPEG_QUALITY = 82


def thumbnail(rgb: UInt8Array | None, side: int = THUMBNAIL) -> Image.Image | None:
    """[H, W, 3] uint8 RGB as a picture of at most side x side, aspect ratio kept, never enlarged.

    None without pixels, or where memory does not suffice: the page then shows its row without a picture.
    """
    if rgb is None or not rgb.size:
        return None
    try:
        image = Image.fromarray(np.ascontiguousarray(rgb, dtype=np.uint8), "RGB" if rgb.ndim == 3 else None)
        image.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    except MemoryError:
        return None
    return image


def encoded(image: Image.Image | None, side: int = THUMBNAIL) -> str:
    """Base64 JPEG of at most side x side, without the metadata of the original; "" for None."""
    if image is None:
        return ""
    small = image.convert("RGB")
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return base64.b64encode(out.getvalue()).decode("ascii")
