"""A loaded PIL image to upright 8-bit RGB, as `Image.convert("RGB")` of the published pipeline, and the row's notes."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

from ..records import Status, UInt8Array
from .profile import profile_note
from .refusal import RefusalError, text
from .upright import stored_view

# Pixels that are converted at a time, so that a large picture is not in memory three times.
_STRIP = 1 << 20
_HAS_ALPHA = frozenset({"RGBA", "LA", "PA", "RGBa", "La"})


def to_rgb(image: Image.Image, orientation: int, undefined: Status) -> tuple[UInt8Array, list[str]]:
    """The loaded image as [h, w, 3] uint8 RGB upright, and notes on what Pillow had to convert.

    undefined: the status of pixels whose range cannot be known.
    """
    width, height = image.size
    deep = image.mode == "I" or image.mode.startswith("I;16")
    if image.mode == "F":
        raise RefusalError(undefined, "floating point pixels (mode F), whose range is a guess; scale them to 8 bit")
    shape = (height, width) if orientation < 5 else (width, height)
    rgb = np.empty((*shape, 3), np.uint8)
    # Three bytes at once: twice as fast where rows become columns.
    stored = stored_view(rgb.view("V3")[..., 0], orientation)
    alpha = image.mode in _HAS_ALPHA or "transparency" in image.info
    hidden = cut = 0
    for top, strip in _strips(image):
        if deep:
            cut += _beyond_8_bit(strip, undefined)
        if alpha:
            hidden += _not_opaque(strip)
        part = np.ascontiguousarray(np.asarray(_converted(strip, undefined)))
        if strip is image and orientation == 1:
            rgb = part
        else:
            stored[top : top + strip.height] = part.view("V3")[..., 0]
    notes = []
    if deep:
        notes.append(f"16-bit grey, as Pillow converts it: {_share(cut, width * height)} of it is above 255 and white")
    if image.mode == "CMYK":
        notes.append("CMYK converted to RGB by Pillow")
    if hidden:
        notes.append(f"transparency dropped, as published: {_share(hidden, width * height)} of it is not opaque")
    return rgb, [*notes, *profile_note(image.info.get("icc_profile"))]


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    width, height = image.size
    rows = max(1, _STRIP // width)
    if rows >= height:
        yield 0, image
        return
    for top in range(0, height, rows):
        yield top, image.crop((0, top, width, min(top + rows, height)))


def _converted(strip: Image.Image, undefined: Status) -> Image.Image:
    if strip.mode == "RGB":
        return strip
    if isinstance(strip.info.get("transparency"), bytes):  # convert would warn; the pixels are the same without it
        strip = strip.copy()
        del strip.info["transparency"]
    try:
        return strip.convert("RGB")
    except (ValueError, OSError) as e:
        raise RefusalError(undefined, f"Pillow cannot convert mode {strip.mode} to RGB: {text(e)}") from e


def _beyond_8_bit(strip: Image.Image, undefined: Status) -> int:
    """Pixels that Pillow's conversion cuts off at 255. Pillow gives 16-bit PGM in the 32-bit mode I."""
    values = np.asarray(strip)
    low, high = int(values.min()), int(values.max())
    if low < 0 or high > 65535:
        raise RefusalError(undefined, f"32-bit pixels of {low}..{high}, whose range is a guess; scale them to 8 bit")
    return int((values > 255).sum())


def _not_opaque(strip: Image.Image) -> int:
    try:
        rgba = strip if strip.mode in ("RGBA", "LA", "PA") else strip.copy().convert("RGBA")
        alpha = rgba.getchannel("A")
    except (ValueError, OSError):  # a mode that `_converted` refuses
        return 0
    return strip.width * strip.height - alpha.histogram()[255]


def _share(part: int, whole: int) -> str:
    """ "12%", or "under 1%"."""
    return f"{100 * part / whole:.0f}%" if part == 0 or 100 * part >= whole else "under 1%"
