"""What a row says of its pixels, the same whichever decoder read them; the pixels stay the published ones."""

import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from emonet_fast.records import Picture, Status

from ..decoding import published, run
from .making import dali, encoded, furthest, pillow, rows


def profile(name: str, version: int) -> bytes:
    """An ICC profile of nothing but its description, in the form of version 2 or 4."""
    if version == 2:
        body = b"desc\0\0\0\0" + struct.pack(">L", len(name) + 1) + name.encode() + b"\0"
    else:
        text = name.encode("utf-16-be")
        body = b"mluc\0\0\0\0" + struct.pack(">LLHHLL", 1, 12, 0x656E, 0x5553, len(text), 28) + text
    head = struct.pack(">L", 144 + len(body)) + bytes(124)
    return head + struct.pack(">L4sLL", 1, b"desc", 144, len(body)) + body


def photo(side: int = 60) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (side, side, 3), dtype=np.uint8)


def with_alpha(clear: int) -> Image.Image:
    image = Image.fromarray(photo()).convert("RGBA")
    image.putalpha(Image.fromarray(np.repeat(np.uint8([0] * clear + [255] * (60 - clear)), 60).reshape(60, 60)))
    return image


def palette() -> Image.Image:
    image = Image.fromarray(np.repeat(np.arange(60, dtype=np.uint8) // 30, 60).reshape(60, 60))
    image.putpalette([0, 0, 0, 255, 255, 255])
    return image


JPEG = encoded(photo(300), quality=95)
WHOLE = encoded(photo())
NOTED = {
    "Display P3": (encoded(photo(), icc_profile=profile("Display P3", 4)), "colour profile Display P3 not applied"),
    "Adobe RGB": (
        encoded(photo(), "PNG", icc_profile=profile("Adobe RGB (1998)", 2)),
        "colour profile Adobe RGB (1998) not",
    ),
    "no name": (encoded(photo(), icc_profile=b"x" * 200), "colour profile not applied, as published"),
    "line break": (encoded(photo(), icc_profile=profile("a\n\x1b[31mb", 2)), "colour profile a[31mb not applied"),
    "sRGB": (encoded(photo(), icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()), ""),
    "sRGB 2": (encoded(photo(), "WEBP", icc_profile=profile("sRGB IEC61966-2.1", 2)), ""),
    "opaque": (encoded(with_alpha(0), "PNG"), ""),
    "half clear": (encoded(with_alpha(30), "PNG"), "transparency dropped, as published: 50% of it is not opaque"),
    "a line": (encoded(with_alpha(1), "WEBP", lossless=True, exact=True), "2% of it is not opaque"),
    "clear colour": (encoded(palette(), "PNG", transparency=0), "50% of it is not opaque"),
    "clear colours": (encoded(palette(), "GIF", transparency=0), "50% of it is not opaque"),
    "grey": (encoded(np.zeros((9, 9), np.uint8), "PNG", transparency=0), "100% of it is not opaque"),
    "half of the download": (JPEG[: len(JPEG) // 2].ljust(len(JPEG), b"\0"), "% of the file is one run of zeros"),
    "a hole": (JPEG[:20_480] + bytes(20_480) + JPEG[40_960:], "% of the file is one run of zeros"),
    "half of a bitmap": (encoded(photo(), "BMP")[:5000].ljust(10_854, b"\0"), "53% of the file is one run of zeros"),
    "padding": (WHOLE + bytes(9 * len(WHOLE)), ""),
    "flat": (encoded(np.full((2000, 2000), 200, np.uint8), progressive=True), ""),
    "a third of black": (encoded(np.vstack([photo(), np.zeros((30, 60, 3), np.uint8)]), "TIFF"), ""),
    "black": (encoded(np.zeros((100, 100, 3), np.uint8), "PNG"), ""),
}


@pytest.mark.parametrize("name", NOTED)
def test_pixels_are_the_published_ones_and_the_row_says_what_they_lost(name):
    data, note = NOTED[name]
    got = run(data)
    assert got.status == Status.OK, got.reason
    np.testing.assert_array_equal(got.rgb, published(data))
    assert note in got.reason if note else got.reason == "", got.reason


def test_both_decoders_say_the_same():
    pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")
    pictures = [Picture(name, data) for name, (data, _) in NOTED.items()]
    assert furthest(rows(dali(), pictures), rows(pillow(), pictures)) == 0
