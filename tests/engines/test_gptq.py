"""Rounding with regard to the inputs: against rounding to nearest, and against trying every rounding."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.backends.cuda.linear import nearest_e4m3
from emonet_fast.engines.gptq import Rounding
from emonet_fast.engines.moments import BETWEEN_PICTURES, MomentsCollector
from emonet_fast.graph.quantise import to_e4m3


def round_weights(weight, scale, covariance):
    return Rounding([covariance], nearest_e4m3, torch)([weight], [scale])[0].to(torch.float8_e4m3fn)


def energy(weight, scale, codes, covariance):
    """trace(E C E^T) of each row, float64."""
    error = weight.double() - codes.double() * scale.double().unsqueeze(1)
    return ((error @ covariance.double()) * error).sum(1)


def case(rows: int, columns: int, seed: int, samples: int = 4000):
    """Weights, their row scales, and the covariance of inputs that vary together."""
    made = torch.Generator().manual_seed(seed)
    weight = torch.randn(rows, columns, generator=made)
    mixing = torch.randn(columns, columns, generator=made) * torch.logspace(0, -1.5, columns)
    x = torch.randn(samples, columns, generator=made) @ mixing.t()
    return weight, weight.abs().amax(1) / 448.0, x.t() @ x / samples


@settings(deadline=None, max_examples=25)
@given(rows=st.integers(1, 9), columns=st.integers(1, 300), seed=st.integers(0, 2**31))
def test_codes_are_weights_of_e4m3(rows, columns, seed):
    """Any shape, also around the block of 128 columns; independent inputs are rounded to nearest."""
    weight, scale, covariance = case(rows, columns, seed, samples=50)
    codes = round_weights(weight, scale, covariance)
    assert codes.dtype == torch.float8_e4m3fn
    assert codes.shape == weight.shape
    assert torch.isfinite(codes.float()).all()
    plain = round_weights(weight, scale, torch.diag(torch.rand(columns) + 0.1))
    nearest = (weight / scale.unsqueeze(1)).clamp(-448, 448).to(torch.float8_e4m3fn)
    torch.testing.assert_close(plain.float(), nearest.float(), rtol=0, atol=0)


def test_error_of_the_output_falls():
    weight, scale, covariance = case(64, 200, seed=3)
    nearest = (weight / scale.unsqueeze(1)).to(torch.float8_e4m3fn)
    ours = energy(weight, scale, round_weights(weight, scale, covariance), covariance)
    assert (ours < energy(weight, scale, nearest, covariance)).all()
    assert ours.sum() < 0.3 * energy(weight, scale, nearest, covariance).sum()


def test_close_to_the_best_of_all_roundings():
    """Of 3^5 neighbours on the grid of e4m3; a greedy search may miss the best, not by much on average."""
    weight, scale, covariance = case(20, 5, seed=11)
    codes = round_weights(weight, scale, covariance)
    bits = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float()
    grid = torch.unique(bits[torch.isfinite(bits)])
    nearest = torch.searchsorted(grid, weight / scale.unsqueeze(1)).clamp(1, len(grid) - 2)
    best = torch.full((20,), torch.inf, dtype=torch.float64)
    for steps in itertools.product((-1, 0, 1), repeat=5):
        best = torch.minimum(best, energy(weight, scale, grid[nearest + torch.tensor(steps)], covariance))
    assert energy(weight, scale, codes, covariance).sum() <= 2.0 * best.sum()


@pytest.mark.parametrize("covariance", [torch.zeros(4, 4), torch.ones(4, 4)])
def test_inputs_without_variance_or_of_one_direction(covariance):
    weight = torch.tensor([[0.5, -1.0, 3.0, 0.26]])
    codes = round_weights(weight, torch.tensor([3.0 / 448]), covariance).float()
    assert (codes * 3.0 / 448 - weight).abs().max() <= 3.0 / 16, "within a step or two of e4m3"


def test_layers_together_get_the_codes_that_they_get_alone():
    """To the bit; on a GPU all layers of one shape are rounded at once."""
    cases = [case(20, 300, seed=seed) for seed in range(3)]
    weights, scales, covariances = zip(*cases, strict=True)
    together = Rounding(iter(covariances), nearest_e4m3, torch)(weights, scales)
    for codes, one in zip(together, cases, strict=True):
        assert torch.equal(codes, round_weights(*one).float())


def test_numpy_and_pytorch_round_alike():
    """The same steps; sums in another order move a value that lies nearly between two codes."""
    weight, scale, covariance = case(32, 300, seed=5)
    rounding = Rounding([covariance.numpy()], lambda v: to_e4m3(v, 1.0).astype(np.float32), np)
    (ours,) = rounding([weight.numpy()], [scale.numpy()])
    theirs = round_weights(weight, scale, covariance).float().numpy()
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous, "files keep arrays as they lie in memory"
    assert np.mean(ours != theirs) < 0.01
    both = [energy(weight, scale, torch.from_numpy(codes), covariance).sum().item() for codes in (ours, theirs)]
    assert both[0] == pytest.approx(both[1], rel=0.02)


@pytest.mark.parametrize("of", [torch.from_numpy, np.asarray])
def test_moments_of_batches_with_a_massive_activation(of):
    """Channel 0 lies at a thousand times its deviation; float64 numpy says what is right."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 1, (6, 10, 5)) + rng.normal(0, 0.5, (6, 1, 5))  # pictures, tokens, channels
    x[..., 0] += 1000.0
    collector = MomentsCollector(tokens=10)
    for batch in (x[:4], x[4:]):
        collector.add(of(batch.reshape(-1, 5).astype(np.float32)))
    found = collector.moments()
    rows, means = x.reshape(-1, 5), x.mean(1)
    want = np.cov(rows.T, bias=True) + BETWEEN_PICTURES * np.cov(means.T)
    np.testing.assert_allclose(np.asarray(found.mean), rows.mean(0), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(np.asarray(found.covariance), want, rtol=1e-3, atol=1e-3)
