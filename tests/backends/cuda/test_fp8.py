"""FP8's certificate, measured on a tiny model with the emulated scaled product."""

import pytest
import torch

from emonet_fast.backends.cuda.fp8 import certify
from emonet_fast.backends.cuda.operations import PlainOperations
from emonet_fast.backends.cuda.weights import layer_names
from emonet_fast.engines.fidelity import gate_fp8, measure
from emonet_fast.errors import BackendError

from ...comparing import EMOTIONS
from .making import engine, random_pixels, scored


def test_the_certificate_tells_what_the_engine_does(tiny, device):
    """What is kept is needed, and the figures are those of the engine that is then used."""
    pixels = random_pixels(tiny, 64, seed=1)
    found = certify(tiny, device, pixels, PlainOperations)
    assert gate_fp8(found.fidelity).passed
    assert 0 < len(found.keep) < len(list(layer_names(2))), "a model this narrow needs some layers in bf16, not all"
    assert sorted(found.sensitivity) == sorted(layer_names(2))
    costs = [found.sensitivity[name] for name in found.keep]
    assert costs == sorted(costs, reverse=True)
    want = scored(engine(tiny, device, "fp32", 16), pixels, device)
    kept = engine(tiny, device, "fp8", 16, plain=True, keep=frozenset(found.keep))
    again = measure(want, scored(kept, pixels, device), EMOTIONS)
    assert again.cosine_min == pytest.approx(found.fidelity.cosine_min, abs=1e-6)
    fewer = engine(tiny, device, "fp8", 16, plain=True, keep=frozenset(found.keep[:-1]))
    assert not gate_fp8(measure(want, scored(fewer, pixels, device), EMOTIONS)).passed


def test_too_few_pictures_are_no_certificate(tiny, device):
    with pytest.raises(BackendError, match="measured on 8 pictures, fewer than 64"):
        certify(tiny, device, random_pixels(tiny, 8, seed=1), PlainOperations)


def test_layers_can_be_changed_under_an_engine(tiny, device):
    from emonet_fast.backends.cuda.weights import load, mixed

    pixels = random_pixels(tiny, 3, seed=2)
    e = engine(tiny, device, "fp8", 4, plain=True)
    everything = frozenset(layer_names(2))
    before = scored(e, pixels, device)[1]
    e.use(mixed(load(tiny, device, "bf16"), load(tiny, device, "fp8"), everything))
    after = scored(e, pixels, device)[1]
    bf16 = scored(engine(tiny, device, "bf16", 4, plain=True), pixels, device)[1]
    assert abs(before - bf16).max() > 0
    torch.testing.assert_close(torch.from_numpy(after), torch.from_numpy(bf16), rtol=0, atol=0)
