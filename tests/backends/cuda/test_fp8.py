"""FP8's certificate, measured on a tiny model with the emulated scaled product."""

import pytest
import torch

from emonet_fast.backends.cuda.fp8 import certify, collect, refine
from emonet_fast.backends.cuda.linear import dequantised
from emonet_fast.backends.cuda.operations import PlainOperations
from emonet_fast.backends.cuda.weights import load, mixed, refined
from emonet_fast.checkpoint.layers import layer_names
from emonet_fast.engines.fidelity import gate_fp8, measure
from emonet_fast.errors import BackendError

from ...comparing import EMOTIONS
from .making import engine, random_pixels, scored


def test_the_certificate_tells_what_the_engine_does(tiny, device):
    """Its figures are those of the engine that is then used: kept layers in bf16, the others with what was refined."""
    pixels, calibration = random_pixels(tiny, 64, seed=1), random_pixels(tiny, 16, seed=2)
    found = certify(tiny, device, calibration, pixels, PlainOperations)
    assert gate_fp8(found.fidelity).passed
    assert 0 < len(found.keep) < len(list(layer_names(2))), "a model this narrow needs some layers in bf16, not all"
    refined_layers = set(layer_names(2)) - set(found.keep)
    assert set(found.tensors) == {f"{name}.{kind}" for name in refined_layers for kind in ("weight", "bias")}
    assert sorted(found.sensitivity) == sorted(layer_names(2))
    costs = [found.sensitivity[name] for name in found.keep]
    assert costs == sorted(costs, reverse=True)
    want = scored(engine(tiny, device, "fp32", 16), pixels, device)
    tensors = {name: torch.from_numpy(values) for name, values in found.tensors.items()}
    kept = engine(tiny, device, "fp8", 16, plain=True, keep=frozenset(found.keep), tensors=tensors)
    again = measure(want, scored(kept, pixels, device), EMOTIONS)
    assert again.cosine_min == pytest.approx(found.fidelity.cosine_min, abs=1e-6)


def test_too_few_pictures_are_no_certificate(tiny, device):
    with pytest.raises(BackendError, match="measured on 8 pictures, fewer than 64"):
        certify(tiny, device, random_pixels(tiny, 4, seed=2), random_pixels(tiny, 8, seed=1), PlainOperations)


def test_layers_can_be_changed_under_an_engine(tiny, device):
    pixels = random_pixels(tiny, 3, seed=2)
    e = engine(tiny, device, "fp8", 4, plain=True)
    everything = frozenset(layer_names(2))
    before = scored(e, pixels, device)[1]
    e.use(mixed(load(tiny, device, "bf16"), load(tiny, device, "fp8"), everything))
    after = scored(e, pixels, device)[1]
    bf16 = scored(engine(tiny, device, "bf16", 4, plain=True), pixels, device)[1]
    assert abs(before - bf16).max() > 0
    torch.testing.assert_close(torch.from_numpy(after), torch.from_numpy(bf16), rtol=0, atol=0)


def test_refined_layers_cost_less(tiny, device):
    """On the pictures that they were made from: the mean output's error falls to the bias's float32 rounding, and the
    error's energy trace(E C E^T) below that of rounding to nearest."""
    exact, rough = load(tiny, device, "fp32"), load(tiny, device, "fp8")
    moments = collect(engine(tiny, device, "fp32", 16), random_pixels(tiny, 32, seed=5), device)
    better = refined(rough, refine(exact, rough, dict(moments)))
    for name in layer_names(2):
        i, part = name.split(".")
        true, mean = getattr(exact.blocks[int(i)], part), moments[name].mean
        means, energies = [], []
        for weights in (rough, better):
            layer = getattr(weights.blocks[int(i)], part)
            error = true.weight - dequantised(layer)
            means.append((error @ mean + true.exact_bias - layer.exact_bias).abs().max().item())
            energies.append(((error @ moments[name].covariance) * error).sum().item())
        assert means[1] < 1e-5 < 1e-4 < means[0], name
        assert energies[1] < 0.6 * energies[0], name
