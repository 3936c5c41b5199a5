"""The resize kernel's formula against Pillow: equal, bit for bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("triton", reason="Triton is not installed")
pytest.importorskip("PIL", reason="Pillow is not installed")

from emonet_fast.kernels.resize import FILTERS, reference, taps

from .test_resize import by_pillow, noise, order


@given(
    height=st.integers(1, 700), width=st.integers(1, 700), size=st.integers(1, 400), filter_=st.sampled_from([*FILTERS])
)
@settings(max_examples=150, deadline=None)
def test_the_formula_is_pillows(height, width, size, filter_):
    picture = noise(height, width, height * 1000 + width)
    got = reference(picture, size, filter_, rows_first=order(height, width, size))
    np.testing.assert_array_equal(got, by_pillow(picture, size, filter_))


@pytest.mark.parametrize("shape", [(1024, 1024), (1080, 1920), (1920, 1080), (4000, 3000), (512, 768)])
def test_the_formula_at_the_models_size(shape):
    picture = noise(*shape)
    got = reference(picture, 384, "bilinear", rows_first=order(*shape, 384))
    np.testing.assert_array_equal(got, by_pillow(picture, 384, "bilinear"))


@pytest.mark.parametrize("filter_", FILTERS)
@pytest.mark.parametrize("n", [1, 7, 383, 384, 385, 1024, 9999])
def test_sums_stay_in_int32(n, filter_):
    """What the kernel's sums may reach, for any pixels: all the positive taps at 255, or all the negative."""
    _, c = taps(n, 384, filter_)
    high = 255 * np.where(c > 0, c, 0).astype(np.int64).sum(axis=1) + 2**21
    low = 255 * np.where(c < 0, c, 0).astype(np.int64).sum(axis=1)
    assert high.max() < 2**31
    assert low.min() > -(2**31)
