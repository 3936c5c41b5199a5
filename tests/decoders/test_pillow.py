"""The decoder of the default installation: rows, boxes, batches."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from emonet_fast.decoders.base import MAX_ROWS, grouped
from emonet_fast.decoders.pillow import PillowDecoder
from emonet_fast.options import Options
from emonet_fast.preprocess import crop, resize
from emonet_fast.records import Box, Decoded, Picture, Status

from .making import BILINEAR, encoded, pillow, rows, untimed

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


@settings(deadline=None, max_examples=60)
@given(left=st.integers(-30, 59), top=st.integers(-30, 39), width=st.integers(1, 100), height=st.integers(1, 100))
def test_crop_goes_on_with_the_nearest_pixel(left, top, width, height):
    box = Box(left, top, left + width, top + height)
    if box.inside(60, 40) is None:
        with pytest.raises(ValueError, match="touches no pixel"):
            crop(PIXELS, box)
        return
    y = np.clip(np.arange(box.top, box.bottom), 0, 39)
    x = np.clip(np.arange(box.left, box.right), 0, 59)
    np.testing.assert_array_equal(crop(PIXELS, box), PIXELS[y][:, x])


def test_a_box_is_a_picture_of_its_own():
    """The same as the crop saved as a file."""
    boxes = (Box(3, 4, 40, 33), Box(-9, -9, 20, 50))
    data = encoded(PIXELS, "PNG")
    got = rows(pillow(), [Picture("x", data, boxes=boxes)])
    assert [d.key for d, _ in got] == ["x::box0", "x::box1"]
    saved = encoded(np.asarray(Image.fromarray(PIXELS).crop((3, 4, 40, 33))), "PNG")
    np.testing.assert_array_equal(got[0][1], rows(pillow(), [Picture("y", saved)])[0][1])
    np.testing.assert_array_equal(got[1][1], resize(crop(PIXELS, boxes[1]), BILINEAR))


def test_each_box_of_a_bad_picture_has_its_row():
    got = rows(pillow(), [Picture("x", b"text", boxes=(Box(0, 0, 1, 1), Box(1, 1, 2, 2)))])
    assert [(d.key, d.status) for d, _ in got] == [("x::box0", "not_an_image"), ("x::box1", "not_an_image")]


def test_boxes_that_cannot_be_cut():
    boxes = (Box(60, 0, 70, 9), Box(-3000, -3000, 3000, 3000), Box(0, 0, 5, 5))
    options = Options(max_pixels=100_000)
    got = rows(pillow(options=options), [Picture("x", encoded(PIXELS), boxes=boxes)])
    assert [d.status for d, _ in got] == [Status.BAD_INPUT, Status.TOO_LARGE, Status.OK]
    assert got[0][0].reason == "the box 60,0,70,9 touches no pixel of the picture, 60 x 40"
    assert "36,000,000 pixels; max_pixels allows 100,000" in got[1][0].reason


def test_pictures_are_kept_only_where_asked():
    picture = Picture("x", encoded(PIXELS, "PNG"))
    assert rows(pillow(), [picture])[0][0].rgb is None
    np.testing.assert_array_equal(rows(pillow(), [picture], keep_rgb=True)[0][0].rgb, PIXELS)


@given(readable=st.lists(st.booleans(), max_size=40), size=st.integers(1, 9))
def test_batches_are_full_and_in_order(readable, size):
    pixels = np.zeros((3, 2, 2), np.uint8)
    given_rows = [(Decoded(f"{i}", None), pixels + i if ok else None) for i, ok in enumerate(readable)]
    batches = list(grouped(given_rows, size))
    assert [row.key for batch in batches for row in batch.rows] == [f"{i}" for i in range(len(readable))]
    counts = [sum(len(part.places) for part in batch.parts) for batch in batches]
    assert sum(counts) == sum(readable)
    assert all(count == size for count in counts[:-1])
    for batch in batches:
        for part in batch.parts:
            for place, row in zip(part.places, part.pixels, strict=True):
                assert int(batch.rows[place].key) == row[0, 0, 0]


def test_a_folder_of_broken_files_streams():
    batches = grouped(((Decoded(f"{i}", None), None) for i in range(10**9)), 8)
    assert len(next(batches).rows) == MAX_ROWS


def test_threads_keep_order_and_content():
    """The same rows from several threads, boxes and bad pictures among them; and giving up midway ends the threads."""
    data = encoded(PIXELS, "PNG")
    pictures = [Picture(f"{i}", data if i % 5 else b"bad", boxes=(Box(0, 0, 9 + i, 9),) * (i % 3)) for i in range(40)]
    several = PillowDecoder(BILINEAR, Options(), untimed, threads=4)
    one, four = rows(pillow(), pictures), rows(several, pictures)
    assert [d for d, _ in one] == [d for d, _ in four]
    for (_, a), (_, b) in zip(one, four, strict=True):
        np.testing.assert_array_equal(a, b)
    before = threading.active_count()
    batches = several.batches(pictures, 4, keep_rgb=False)
    next(batches)
    batches.close()
    assert threading.active_count() == before
