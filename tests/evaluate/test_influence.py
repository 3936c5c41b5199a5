"""Influences against what leaving one row out does, and against resamples that are ranked anew."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.evaluate.influence import auc_influence, spearman_influence
from emonet_fast.evaluate.metrics import count_chunks, spearman, spearman_weighted
from emonet_fast.evaluate.ranking import curve, roc_auc


def sample(seed, n, levels=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    y = 0.6 * x + rng.standard_normal(n)
    return (np.round(x * levels) / levels, np.round(y * levels) / levels) if levels else (x, y)


def auc(scores, positive):
    return float(roc_auc(curve(scores, positive, np.ones((1, len(scores)))))[0])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0, 1, 3]))
@settings(max_examples=20, deadline=None)
def test_an_influence_is_the_change_by_one_row(seed, levels):
    n = 300
    x, y = sample(seed, n, levels)
    positive = y > 0.3
    rows = range(0, n, 37)
    left_out = [np.delete(np.arange(n), k) for k in rows]
    # (n - 1) times the change is the influence up to terms of 1 / n, whose factors lie about 10
    for influence, figure, other in (
        (spearman_influence(x, y), spearman, y),
        (auc_influence(x, positive), auc, positive),
    ):
        assert influence.mean() == pytest.approx(0, abs=1e-12)
        want = [(n - 1) * (figure(x, other) - figure(x[at], other[at])) for at in left_out]
        assert influence[list(rows)] == pytest.approx(want, abs=10 / n)


@pytest.mark.parametrize("levels", [0, 2])
def test_resamples_by_influence_are_those_of_new_ranks(levels):
    x, y = sample(5, 3000, levels)
    counts = np.concatenate(list(count_chunks(np.random.default_rng(1), 3000, 150)))
    exact = spearman_weighted(x, y, counts)
    linear = spearman(x, y) + counts @ spearman_influence(x, y) / 3000
    # What is left is of second order: 1 / sqrt(N) = 2% of the spread, and some
    assert np.std(exact - linear) < 0.06 * np.std(exact)


def test_undefined_without_spread_or_a_class():
    same = np.ones(5)
    assert np.isnan(spearman_influence(same, np.arange(5.0))).all()
    assert np.isnan(auc_influence(np.arange(5.0), same > 0)).all()
