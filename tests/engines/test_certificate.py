"""Which layers are kept in bf16: against engines whose errors are known by construction."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.engines.certificate import Certificate, fill_keep, load_certificate, store_certificate
from emonet_fast.engines.fidelity import Fidelity, gate_fp8
from emonet_fast.errors import BackendError


def fidelity(distance: float, pictures: int = 64) -> Fidelity:
    """An engine whose embeddings lie `distance` (1 - cosine) off, and whose scores keep their order."""
    return Fidelity(pictures, 1 - distance, 1 - distance, 0.1, 0.1, 0.1, 0.1, 1.0, (0.999, 1.0), 1.0)


def additive(costs: dict[str, float], floor: float = 0.0):
    """Layers whose errors add up; `floor` is there even with all of them in bf16."""
    return lambda keep: fidelity(floor + sum(cost for name, cost in costs.items() if name not in keep))


@given(costs=st.lists(st.floats(0, 1e-3), min_size=1, max_size=40))
@settings(deadline=None)
def test_keeps_the_fewest_of_the_most_sensitive(costs):
    named = {f"{i}.fc2": cost for i, cost in enumerate(costs)}
    found = fill_keep(list(named), additive(named))
    assert gate_fp8(found.fidelity).passed
    ordered = sorted(costs, reverse=True)
    # The fewest by hand: drop the largest costs until what is left is within the bar.
    fewest = next(k for k in range(len(costs) + 1) if gate_fp8(additive(named)(frozenset(_largest(named, k)))).passed)
    assert len(found.keep) == fewest
    assert sorted((named[name] for name in found.keep), reverse=True) == pytest.approx(ordered[:fewest])


def _largest(costs: dict[str, float], k: int) -> list[str]:
    return sorted(costs, key=lambda name: -costs[name])[:k]


def test_nothing_is_kept_where_the_gate_holds_at_once():
    asked = []

    def evaluate(keep):
        asked.append(keep)
        return fidelity(1e-4)

    assert fill_keep(["0.qkv", "0.fc2"], evaluate) == Certificate((), fidelity(1e-4), {})
    assert asked == [frozenset()]


def test_an_engine_that_is_bad_without_fp8_is_refused():
    with pytest.raises(BackendError, match=r"even without it .*cosine.*use precision 'bf16'"):
        fill_keep(["0.qkv", "0.fc2"], additive({"0.qkv": 1e-5, "0.fc2": 1e-5}, floor=0.01))


def test_too_few_pictures_certify_nothing():
    assert gate_fp8(fidelity(0.0, pictures=63)).failures == ("measured on 63 pictures, fewer than 64",)
    assert gate_fp8(fidelity(0.0)).passed
    assert not gate_fp8(fidelity(float("nan"))).passed


def test_stored_and_read_again(tmp_path, caplog):
    path, key = tmp_path / "engines" / "fp8.safetensors", {"weights_hash": "sha256:1", "device": "H200"}
    tensors = {"0.qkv.bias": np.array([0.5, -1.25], np.float32), "0.qkv.weight": np.array([[126, 1]], np.uint8)}
    certificate = Certificate(("17.fc2",), fidelity(5e-4), {"17.fc2": 0.25, "0.qkv": np.float64(0.125)}, tensors)
    assert load_certificate(path, key) is None
    store_certificate(path, key, certificate)
    found = load_certificate(path, key)
    assert replace(found, tensors={}) == replace(certificate, tensors={})
    assert set(found.tensors) == set(tensors)
    for name, values in tensors.items():
        np.testing.assert_array_equal(found.tensors[name], values, strict=True)
    assert load_certificate(path, key | {"device": "H100"}) is None
    assert not caplog.records
    path.write_bytes(path.read_bytes()[:-3])
    assert load_certificate(path, key) is None
    assert "measured again" in caplog.text


def test_a_stored_certificate_below_the_bars_is_not_believed(tmp_path):
    path, key = tmp_path / "fp8.safetensors", {"weights_hash": "sha256:1"}
    store_certificate(path, key, Certificate((), fidelity(0.01), {}))
    assert load_certificate(path, key) is None
