"""Who decodes what: no DALI is needed to decide."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emonet_fast.decoders.dali.triage import MAX_DALI_PIXELS, jpeg_is_whole, region_of, triage
from emonet_fast.options import Options
from emonet_fast.records import Box, Picture

from .making import encoded

PIXELS = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
JPEG = encoded(PIXELS)


def for_dali(data: bytes, boxes=()) -> bool:
    return triage(Picture("x", data, boxes=boxes), Options()) is not None


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"subsampling": "4:4:4", "restart_marker_blocks": 3}),
        ("PNG", {}),
        ("BMP", {}),
        ("TIFF", {}),
    ],
)
def test_plain_files_are_dalis(kind, settings):
    assert for_dali(encoded(PIXELS, kind, **settings))


def test_others_are_pillows():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert for_dali(encoded(PIXELS, exif=exif))
    assert not for_dali(encoded(PIXELS, "GIF"))
    assert not for_dali(encoded(PIXELS, "WEBP"))
    assert not for_dali(encoded(PIXELS, "PPM"))
    assert not for_dali(encoded(PIXELS, "TIFF", compression="tiff_lzw"))
    assert not for_dali(encoded(PIXELS[..., 0].astype(np.uint16) * 257, "PNG"))
    assert not for_dali(b"")
    assert not for_dali(b"text")
    assert not for_dali(encoded(Image.fromarray(PIXELS).convert("CMYK")))
    assert triage(Picture("x", PIXELS), Options()) is None  # not encoded


def test_large_pictures_are_pillows():
    side = int(MAX_DALI_PIXELS**0.5) + 1
    assert not for_dali(encoded(np.zeros((side, side), np.uint8), "PNG", compress_level=1))


def test_a_small_region_is_decoded_alone_and_a_large_one_whole():
    assert region_of((Box(700, 300, 1100, 700),), 1920, 1080) == Box(700, 300, 1100, 700)
    assert region_of((Box(10, 10, 1900, 1000),), 1920, 1080) is None
    assert region_of((), 1920, 1080) is None
    assert region_of((Box(5000, 0, 5009, 9),), 1920, 1080) is None  # touches nothing


@given(sides=st.lists(st.tuples(st.integers(-50, 299), st.integers(-50, 199), st.integers(1, 90), st.integers(1, 90))))
def test_a_region_holds_every_box_and_nothing_more(sides):
    boxes = tuple(Box(left, top, left + width, top + height) for left, top, width, height in sides)
    region = region_of(boxes, 300, 200)
    parts = [part for box in boxes if (part := box.inside(300, 200)) is not None]
    if region is None:
        return
    for low, high in (("left", "right"), ("top", "bottom")):
        first, end = min(getattr(part, low) for part in parts), max(getattr(part, high) for part in parts)
        if end - first == 1:
            assert getattr(region, high) - getattr(region, low) == 2
            assert getattr(region, low) in (first, first - 1)
        else:
            assert (getattr(region, low), getattr(region, high)) == (first, end)


def test_a_cut_jpeg_is_not_whole():
    assert jpeg_is_whole(JPEG)
    assert jpeg_is_whole(JPEG + b"what follows is nobody's business")
    assert not any(jpeg_is_whole(JPEG[:n]) for n in range(len(JPEG)))


@settings(deadline=None, max_examples=80)
@given(data=st.binary(max_size=400), at=st.integers(0, len(JPEG) - 1))
def test_any_bytes_are_judged_without_an_error(data, at):
    for_dali(data)
    jpeg_is_whole(data)
    for_dali(JPEG[:at] + data + JPEG[at + len(data) :])
