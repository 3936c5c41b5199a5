"""Looks of faces by hand: what they hold, what they do not notice, and that they tell people apart."""

import numpy as np
import pytest

from emonet_fast.faces.looks import looks_of
from emonet_fast.records import Face


def test_a_look_by_hand():
    """8 x 8 means of the box, less their mean over all colours, then 4 levels for each number; of length 1."""
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    means = rgb[4:36, 10:42].reshape(8, 4, 8, 4, 3).mean(axis=(1, 3))
    values = np.round(means).ravel()
    expected = np.append(values - values.mean(), 4 * np.sqrt(192))
    found = looks_of(rgb, [Face(10, 4, 32, 32)])[0]
    # A mean that lies between two levels may be rounded either way: 1 level in 193 numbers.
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), rtol=0, atol=1 / np.linalg.norm(expected))


def test_brightness_and_size_do_not_count():
    rgb = np.random.default_rng(0).integers(0, 64, (8, 8, 3), dtype=np.uint8).repeat(16, 0).repeat(16, 1)
    bright, small = (rgb + 40).astype(np.uint8), np.ascontiguousarray(rgb[::2, ::2])
    first = looks_of(rgb, [Face(0, 0, 128, 128)])[0]
    for other, side in ((bright, 128), (small, 64)):
        assert first @ looks_of(other, [Face(0, 0, side, side)])[0] == pytest.approx(1, abs=1e-12)


def test_boxes_over_the_edge_and_faces_without_contrast():
    """Noise of a level is no look; a box beside the picture has a flat one; no faces give no looks."""
    grey = np.random.default_rng(0).integers(100, 102, (50, 50, 3), dtype=np.uint8)
    flat = np.append(np.zeros(192), 1.0)
    found = looks_of(grey, [Face(-20, -20, 40, 40), Face(45, 45, 1000, 1000), Face(200, 0, 10, 10), Face(9, 9, 0.2, 9)])
    assert (found @ flat > 0.99).all()
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    assert looks_of(grey, []).shape == (0, 193)
