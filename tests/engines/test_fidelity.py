"""Fidelity figures against independent computations, and gates at their bars."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.engines.fidelity import Fidelity, gate_bf16, gate_bf16_alone, gate_fp32, measure, spearman, worst

stats = pytest.importorskip("scipy.stats", reason="scipy comes with the extra demo")
GOOD = Fidelity(64, 1.0, 1.0, 1e-4, 1e-5, 1e-4, 1e-5, 0.5, (0.9999, 0.999), 1.0)

values = st.lists(st.integers(-5, 5), min_size=3, max_size=40)


@given(st.data())
def test_spearman_equals_scipy(data):
    a = data.draw(values)
    b = data.draw(st.lists(st.integers(-5, 5), min_size=len(a), max_size=len(a)))
    got = spearman(np.array(a, float), np.array(b, float))
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert np.isnan(got)
    else:
        assert got == pytest.approx(stats.spearmanr(a, b).statistic, abs=1e-12)


def test_measure_by_hand():
    embedding = np.array([[3.0, 4.0], [1.0, 0.0]])
    turned = np.array([[4.0, 3.0], [2.0, 0.0]])
    raw = np.array([[1.0, 2.0, 9.0], [3.0, 2.5, 9.0]])
    other = np.array([[1.0, 2.2, 9.0], [2.0, 2.5, 9.0]])
    found = measure((embedding, raw), (turned, other), emotions=[0, 1])
    assert found.cosine_min == pytest.approx(24 / 25)
    assert found.cosine_mean == pytest.approx((24 / 25 + 1) / 2)
    assert found.max_error == pytest.approx(1.0)
    assert found.rms_error == pytest.approx(np.sqrt((0.2**2 + 1) / 6))
    # spreads of the heads: 1, 0.25 and none, which does not count
    assert found.max_relative == pytest.approx(1.0)
    assert found.rms_relative == pytest.approx(np.sqrt((1 + 0.8**2) / 4))
    assert found.spread_min == 0
    assert found.top1_agreement == 0.5  # the second row's strongest moved from head 0 to head 1


def test_gate_fp32_at_its_bars():
    assert gate_fp32(GOOD).passed
    assert "cosine" in gate_fp32(replace(GOOD, cosine_min=0.9999989)).failures[0]
    assert "1e-3" in gate_fp32(replace(GOOD, max_error=1.01e-3)).failures[0]
    assert not gate_fp32(replace(GOOD, max_error=float("nan"))).passed


def test_gate_bf16_at_its_bars():
    theirs = replace(GOOD, rms_error=1e-2, max_error=5e-2)
    assert gate_bf16(replace(GOOD, rms_error=2e-2, max_error=1e-1), theirs).passed
    assert "rms_error" in gate_bf16(replace(GOOD, rms_error=2.1e-2), theirs).failures[0]
    assert "max_error" in gate_bf16(replace(GOOD, max_error=1.1e-1), theirs).failures[0]
    assert "Spearman" in gate_bf16(replace(GOOD, spearman=(1.0, 0.9979)), theirs).failures[0]
    few = gate_bf16(replace(GOOD, pictures=63, spearman=(1.0, 0.5)), theirs)
    assert few.passed
    assert "needs 64 pictures, had 63" in few.unproved[0]


def test_the_worst_of_several_is_taken_figure_by_figure():
    rng = np.random.default_rng(0)
    want = (rng.standard_normal((64, 8)), rng.standard_normal((64, 2)))
    far = (want[0], want[1] + [0.5, 0.0])
    other = (want[0] + 0.1, want[1].copy())
    other[1][[0, 1], 1] = other[1][[1, 0], 1]  # two pictures change places
    one, two = measure(want, far, [0, 1]), measure(want, other, [0, 1])
    both = worst([one, two])
    assert (both.cosine_min, both.max_error) == (two.cosine_min, max(one.max_error, two.max_error))
    assert both.spearman == (1.0, two.spearman[1])
    assert two.spearman[1] < 1.0
    broken = measure(want, (np.full((64, 8), np.nan), want[1]), [0, 1])
    for order in ([one, broken], [broken, one]):
        assert not gate_bf16_alone(worst(order)).passed
