"""The border's arithmetic: a resize that repeats the edge, corrected, is one that drops what lies outside."""

import math

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from emonet_fast.decoders.dali import border


def weights(n: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """[size, n] of the triangle filter by both rules, from their definitions: repeated edge, dropped outside."""
    stretch = max(n / size, 1.0)
    reach = math.ceil(stretch) + 1
    pixel = np.arange(-reach, n + reach)
    centre = (np.arange(size)[:, None] + 0.5) * n / size
    every = np.clip(1 - np.abs(pixel + 0.5 - centre) / stretch, 0, None)
    every /= every.sum(axis=1, keepdims=True)
    repeated = np.zeros((size, n))
    np.add.at(repeated.T, np.clip(pixel, 0, n - 1), every.T)
    inside = every[:, (pixel >= 0) & (pixel < n)]
    return repeated, inside / inside.sum(axis=1, keepdims=True)


@settings(deadline=None)
@given(n=st.integers(1, 900), size=st.integers(2, 120), seed=st.integers(0, 9))
def test_corrected_repeat_is_drop(n, size, seed):
    repeated, dropped = weights(n, size)
    x = np.random.default_rng(seed).uniform(0, 255, n)
    got, weight = repeated @ x, border.outside(n, size)
    got[0] = (got[0] - weight * x[0]) / (1 - weight)
    got[-1] = (got[-1] - weight * x[-1]) / (1 - weight)
    np.testing.assert_allclose(got, dropped @ x, atol=1e-9)


def test_known_weights():
    assert border.outside(100, 384) == border.outside(384, 384) == 0
    # s = 2: the triangle at -1.5, -0.5, 0.5, ... from centre 1 has weights 1/4, 3/4, 3/4, 1/4; the first lies outside
    assert border.outside(768, 384) == 0.125


@settings(deadline=None, max_examples=60)
@given(width=st.integers(1, 200), height=st.integers(1, 400), size=st.sampled_from([24, 64]), seed=st.integers(0, 9))
@example(width=64, height=66, size=64, seed=0)
@example(width=96, height=128, size=64, seed=0)
@example(width=96, height=129, size=64, seed=0)
def test_the_order_of_the_axes_is_pillows(width, height, size, seed):
    """The rule is Pillow's behaviour: whoever changes it there is found out here."""
    noise = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))
    between = (width, size) if border.rows_first(height, width, size) else (size, height)
    by_hand = noise.resize(between, Image.Resampling.BILINEAR).resize((size, size), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(np.asarray(noise.resize((size, size), Image.Resampling.BILINEAR)), by_hand)
