"""How a layer's int8 form is chosen: against exact values, and against what it must beat."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.engines.gptq import Rounding
from emonet_fast.engines.int8 import BETWEEN_PICTURES, LayerInputs, best_range, choose_layer, covariance_of, smoothings
from emonet_fast.graph.int8 import nearest_int8

TOKENS = 64


def inputs(width: int, seed: int = 0, massive: bool = False, pictures: int = 4):
    """Pictures' inputs [pictures, TOKENS, width] that vary together, with a mean; `massive`: one huge channel."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(width, width)) * np.geomspace(1, 0.05, width) / np.sqrt(width)
    x = rng.normal(size=(pictures, TOKENS, width)) @ mixing + rng.normal(size=width)
    if massive:
        x[:, 3, 5] += 300.0 + rng.normal(size=pictures)
    return x.astype(np.float32)


def seen_of(x, exact=None):
    means = x.mean(axis=1)
    wanted = (x if exact is None else exact).mean(axis=(0, 1))
    seen = LayerInputs(len(x), TOKENS, wanted, means - means.mean(axis=0))
    for number, one in enumerate(x):
        seen.add(number, one)
    return seen


def linears(width: int, seed: int = 1, out: int = 48):
    rng = np.random.default_rng(seed)
    return {"w": (rng.normal(size=(out, width)).astype(np.float32), rng.normal(size=out).astype(np.float32))}


def output_error(layer, x, exact, linear):
    weight, bias = linear
    return np.stack([layer.product("w", one) for one in x]) - (exact @ weight.T + bias)


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 9), columns=st.integers(1, 200), seed=st.integers(0, 2**31))
def test_gptq_loses_to_rounding_to_nearest_in_no_layer(rows, columns, seed):
    """Of all outputs together; the damped covariance is what both are held to."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(400, columns)) @ (rng.normal(size=(columns, columns)) * np.geomspace(1, 0.01, columns))
    covariance = (x.T @ x / len(x)).astype(np.float32)
    weight = rng.normal(size=(rows, columns)).astype(np.float32)
    nearest, scales = nearest_int8(weight)
    codes = Rounding([covariance], lambda v: np.clip(np.rint(v), -127, 127), np)([weight], [scales])[0]
    assert np.abs(codes).max() <= 127
    damped = covariance + 0.01 * np.diagonal(covariance).mean() * np.eye(columns)

    def energy(rounded):
        error = (weight - rounded * scales[:, None]).astype(np.float64)
        return np.einsum("oi,ij,oj->", error, damped, error)

    assert energy(codes) <= energy(nearest) * 1.05 + 1e-12


def test_smoothing_leaves_the_product_as_it_is():
    x, (weight, _) = inputs(40, massive=True)[0], linears(40)["w"]
    tried = list(smoothings(np.abs(x).max(axis=0), np.abs(weight).max(axis=0)))
    assert tried[0] is None
    for s in tried[1:]:
        assert (s > 0).all()
        np.testing.assert_allclose((x / s) @ (weight * s).T, x @ weight.T, rtol=1e-3, atol=1e-3)


def test_few_massive_channels_come_down_and_the_others_stay():
    largest = np.array([1.0] * 99 + [50.0], np.float32)
    found = list(smoothings(largest, np.ones(100, np.float32)))[-1]
    np.testing.assert_allclose(found, [1.0] * 99 + [50 / largest.max() * found[-1]])
    assert found[-1] > 30


def best(values, low, high):
    return best_range(np.asarray(values, np.float32).reshape(2, -1, 1), np.ones(1, np.float32), low, high)


def test_a_range_without_outliers_clips_nothing():
    x = np.linspace(-1, 1, 2000)
    found = best([x, x], -1.0, 1.0)
    assert (found.scale, found.zero) == (pytest.approx(1 / 127), 0)
    assert found.error == pytest.approx((1 / 127) ** 2 / 12, rel=0.02)  # uniform within a step


def test_a_range_gives_up_what_hardly_ever_comes():
    """One value in 100,000 a fifth beyond: clipping it costs less than coarser steps for all the others would."""
    x = np.append(np.linspace(-0.5, 0.5, 99_999), 0.6)
    assert best([x, x], -0.6, 0.6).scale == pytest.approx(0.6 * 0.85 / 127)


def test_a_range_leaves_room_for_pictures_that_reach_further():
    """The others ended at 1. Here one picture has 1.5 in every eighth token: its mean would move."""
    x = np.linspace(-1, 1, 2000)
    further = np.where(np.arange(2000) % 8 == 0, 1.5, x)
    assert best([x, further], -1.0, 1.0).scale == pytest.approx(1.6 / 127)


def test_the_picture_that_suffers_most_sets_the_range():
    """Seven pictures end at 0.5, one has 0.7 twice among 10,000 tokens: for the mean error 0.85 of that would do."""
    x = np.tile(np.linspace(-0.5, 0.5, 10_000, dtype=np.float32)[:, None], (8, 1, 1))
    x[3, :2, 0] = 0.7, -0.7
    assert best_range(x, np.ones(1, np.float32), -0.7, 0.7).scale == pytest.approx(0.7 / 127)


def test_inputs_of_one_side_get_unsigned_codes():
    """GELU's outputs: down to -0.17 and far up. All of 256 codes are used, and 0 is one of them."""
    x = np.append(np.linspace(-0.17, 0, 100), np.linspace(0, 4, 900))
    found = best([x, x], -0.17, 4.0)
    assert found.scale == pytest.approx(4.17 / 255)
    assert found.zero == round(0.17 / (4.17 / 255))
    assert (found.rounded(np.zeros((1, 1), np.float32)) == 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_mild_inputs_are_left_as_they_are(seed):
    """Plain random inputs and weights."""
    x = np.random.default_rng(seed).normal(size=(8, TOKENS, 200)).astype(np.float32)
    assert choose_layer(linears(200, out=200), seen_of(x)).layer.smooth is None


def test_a_massive_channel_is_smoothed_and_mild_ones_keep_their_codes():
    weight, bias = linears(40)["w"]
    weight[:, 5] /= 300
    x = inputs(40, massive=True)
    chosen = choose_layer({"w": (weight, bias)}, seen_of(x))
    smooth = chosen.layer.smooth
    assert smooth is not None
    assert smooth[5] > 20 * np.median(smooth)
    plain = np.abs(x).max() / 127
    assert chosen.layer.input_scale < plain / 10
    error = output_error(chosen.layer, x, x, (weight, bias))
    assert np.sqrt((error**2).mean()) < 0.03 * (x @ weight.T).std()


def test_the_mean_of_the_output_is_that_of_float32():
    """Also where the layers before have moved the inputs."""
    exact = inputs(40)
    x = exact + np.float32(0.05) * np.random.default_rng(9).normal(size=40).astype(np.float32)
    linear = linears(40)
    error = output_error(choose_layer(linear, seen_of(x, exact)).layer, x, exact, linear["w"])
    np.testing.assert_allclose(error.mean(axis=(0, 1)), 0, atol=2e-5)


def test_each_output_has_a_scale_of_its_own():
    weight, bias = linears(40)["w"]
    weight[7] *= 1000
    layer = choose_layer({"w": (weight, bias)}, seen_of(inputs(40))).layer
    s = np.ones(40, np.float32) if layer.smooth is None else layer.smooth
    np.testing.assert_allclose(layer.scales["w"], np.abs(weight * s).max(axis=1) / 127, rtol=1e-6)


def test_what_whole_pictures_have_in_common_counts_more_in_the_covariance():
    x, others = inputs(20), inputs(20, seed=5, pictures=30).mean(axis=1)
    want = np.cov(x.reshape(-1, 20), rowvar=False, bias=True) + BETWEEN_PICTURES * np.cov(others, rowvar=False)
    got = covariance_of(x, x.mean(axis=(0, 1)), others - others.mean(axis=0))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-3)


def test_memory_is_bounded_by_rows(monkeypatch):
    monkeypatch.setattr("emonet_fast.engines.int8.ROWS", 40)
    x = inputs(20)
    seen = seen_of(x)
    assert seen.rows.shape == (4, 10, 20)
    np.testing.assert_array_equal(seen.low, x.min(axis=1))
    np.testing.assert_allclose(seen.means, x.mean(axis=1), rtol=1e-6)
    assert (seen.rows[0][:, None] == x[0]).all(axis=2).any(axis=1).all(), "rows are tokens of their picture"
