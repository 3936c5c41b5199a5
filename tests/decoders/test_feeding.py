"""Rows to pipeline inputs: pure arithmetic, no DALI."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.decoders.dali import definition as names
from emonet_fast.decoders.dali.definition import Definition
from emonet_fast.decoders.dali.feeding import PLACEHOLDER, inputs, rows_of
from emonet_fast.decoders.dali.triage import Sample
from emonet_fast.records import Box, Picture

from .making import BILINEAR

WIDTH, HEIGHT = 300, 200


@st.composite
def boxes(draw):
    """Boxes that touch a picture of WIDTH x HEIGHT."""
    left, top = draw(st.integers(-50, WIDTH - 1)), draw(st.integers(-50, HEIGHT - 1))
    right = draw(st.integers(max(left, 0) + 1, WIDTH + 80))
    return Box(left, top, right, draw(st.integers(max(top, 0) + 1, HEIGHT + 80)))


@settings(deadline=None)
@given(per_picture=st.lists(st.lists(boxes(), min_size=1, max_size=4), min_size=1, max_size=4))
def test_what_is_cut_from_what_is_decoded_is_the_box(per_picture):
    samples = []
    for i, some in enumerate(per_picture):
        data = b"picture %d" % i
        picture = Picture(f"{i}", data, boxes=tuple(some))
        samples += [Sample(f"{i}", picture, data, WIDTH, HEIGHT, box) for box in some]
    fed = inputs(samples, Definition(BILINEAR, None, len(samples), 1, rows=rows_of(samples)))
    assert {len(values) for values in fed.values()} == {len(samples)}
    coordinates = np.stack(np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), indexing="ij"), axis=-1)
    for i, sample in enumerate(samples):
        first = int(fed[names.PICK][i])
        assert samples[first].data is sample.data
        assert (fed[names.ENCODED][i] is PLACEHOLDER) == (first != i)
        y, x = fed[names.DECODE_START][first]
        h, w = fed[names.DECODE_SHAPE][first]
        decoded = coordinates[y : y + h, x : x + w]
        assert decoded.shape[:2] == (h, w)  # inside the picture
        y, x = fed[names.CROP_START][i]
        h, w = fed[names.CROP_SHAPE][i]
        part = sample.box.inside(WIDTH, HEIGHT)
        got = decoded[y : y + h, x : x + w]
        want = coordinates[part.top : part.bottom, part.left : part.right]
        np.testing.assert_array_equal(got, want)
        if names.SHIFT in fed:
            height, width = fed[names.EXTENT][i]
            assert (height, width) == (sample.box.height, sample.box.width)
            dx, dy = fed[names.SHIFT][i][:, 2]
            assert (dx, dy) == (sample.box.left - part.left, sample.box.top - part.top)
        else:
            assert part == sample.box


def test_a_small_region_is_decoded_alone_and_a_large_one_whole():
    picture = Picture("x", b"x")

    def shape(box: Box) -> list[int]:
        sample = Sample("x", picture, b"x", 1920, 1080, box)
        return list(inputs([sample], Definition(BILINEAR, None, 1, 1, rows=names.INSIDE))[names.DECODE_SHAPE][0])

    assert shape(Box(700, 300, 1100, 700)) == [400, 400]
    assert shape(Box(10, 10, 1900, 1000)) == [1080, 1920]
