"""The border's arithmetic: a resize that repeats the edge, corrected, is one that drops what lies outside."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

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
