"""Boxes out of large JPEGs by the cutter: places under every orientation, and the decoder's rows beside Pillow's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageOps

from emonet_fast.decoders.dali import cutting
from emonet_fast.decoders.dali.cutting import cut, to_stored, to_upright
from emonet_fast.decoders.dali.regions import small_regions
from emonet_fast.decoders.dali.triage import triage
from emonet_fast.options import Options
from emonet_fast.records import Box, Picture

from .making import dali, encoded, furthest, pillow, rows


def tagged(orientation: int) -> Image.Exif:
    tag = Image.Exif()
    tag[0x0112] = orientation
    return tag


@given(data=st.data(), orientation=st.integers(1, 8))
def test_boxes_go_where_pillow_puts_their_pixels(data, orientation):
    width, height = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    stored = np.arange(width * height, dtype=np.uint16).reshape(height, width)
    image = Image.fromarray(stored)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    high, wide = upright.shape
    left, top = data.draw(st.integers(0, wide - 1)), data.draw(st.integers(0, high - 1))
    box = Box(left, top, data.draw(st.integers(left + 1, wide)), data.draw(st.integers(top + 1, high)))
    there = to_stored(box, wide, high, orientation)
    want = upright[box.top : box.bottom, box.left : box.right]
    assert sorted(stored[there.top : there.bottom, there.left : there.right].ravel()) == sorted(want.ravel())
    assert to_upright(there, wide, high, orientation) == box


@pytest.fixture(scope="module")
def frames(photos) -> list[Picture]:
    """The same large frame in every orientation, with two near boxes; and pictures that are not cut."""
    frame = Image.fromarray(photos[0]).resize((1280, 720))
    boxes = (Box(900, 300, 1100, 500), Box(1000, 200, 1150, 420))
    found = []
    for i in range(1, 9):
        upright = boxes if i < 5 else tuple(Box(b.top, b.left, b.bottom, b.right) for b in boxes)
        found.append(Picture(f"{i}", encoded(frame, exif=tagged(i)), boxes=upright))
    found.append(Picture("progressive", encoded(frame, progressive=True), boxes=boxes))
    found.append(Picture("png", encoded(frame, "PNG"), boxes=boxes))
    found.append(Picture("over", encoded(frame), boxes=(Box(1200, 600, 1400, 800),)))
    return found


def test_boxes_that_are_cut_are_pillows(frames):
    pytest.importorskip("nvidia.dali")
    decoder = dali()
    assert furthest(rows(decoder, frames), rows(pillow(), frames)) == 0
    assert decoder.note() == ""


def test_what_is_cut_holds_the_boxes_and_little_more(frames):
    pytest.importorskip("emonet_fast._jpeg", reason="the JPEG cutter is not built: no C++ compiler")
    for frame in frames:
        samples = triage(frame, Options())
        regions = small_regions(samples)
        assert list(regions) == [0]
        found = cut(samples[0], regions[0])
        if frame.key in ("progressive", "png"):
            assert found is None
            continue
        held, region = found.held, regions[0]
        assert held.left <= region.left < region.right <= held.right
        assert held.top <= region.top < region.bottom <= held.bottom
        assert held.width <= region.width + 2 * 17
        assert held.height <= region.height + 2 * 17


def test_without_the_extension_dali_reads_the_whole_file(frames, monkeypatch):
    pytest.importorskip("nvidia.dali")
    monkeypatch.setattr(cutting, "_cutter", lambda: None)
    assert furthest(rows(dali(), frames[:2]), rows(pillow(), frames[:2])) == 0
