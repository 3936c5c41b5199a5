"""Calibration against scikit-learn, numpy's polynomial fit and sums written out."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.evaluate import calibration

SAME_FIGURE = 1e-9  # sums in float64 of a few hundred numbers of size 7

values = st.lists(st.integers(0, 28), min_size=2, max_size=60).map(lambda v: np.array(v) / 4)


@given(values, st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_line_of_a_resample_is_that_of_its_rows(predicted, seed):
    rng = np.random.default_rng(seed)
    observed = predicted + rng.standard_normal(len(predicted))
    drawn = rng.integers(0, len(predicted), (3, len(predicted)))
    counts = np.stack([np.bincount(d, minlength=len(predicted)) for d in drawn]).astype(float)
    slope, intercept = calibration.line(predicted, observed, counts)
    for b, rows in enumerate(drawn):
        if len(set(predicted[rows])) == 1:
            assert np.isnan(slope[b])
            assert np.isnan(intercept[b])
        else:
            assert (slope[b], intercept[b]) == pytest.approx(np.polyfit(predicted[rows], observed[rows], 1), abs=1e-8)


@given(st.integers(0, 2**32 - 1), st.integers(2, 12))
@settings(max_examples=40, deadline=None)
def test_bins_and_error_are_scikit_learns(seed, bins):
    sklearn = pytest.importorskip("sklearn.calibration", reason="scikit-learn (extra test) is not installed")
    rng = np.random.default_rng(seed)
    shares = rng.integers(0, 20, 200) / 19
    yes = (rng.random(200) < shares).astype(float)
    predicted, observed, n = calibration.reliability_curve(shares, yes, bins)
    want_observed, want_predicted = sklearn.calibration_curve(yes, shares, n_bins=bins, strategy="quantile")
    assert predicted == pytest.approx(want_predicted, abs=SAME_FIGURE)
    assert observed == pytest.approx(want_observed, abs=SAME_FIGURE)
    error = calibration.error(shares, yes, np.ones((1, 200)), bins)[0]
    assert error == pytest.approx(float((n * np.abs(want_predicted - want_observed)).sum() / 200), abs=SAME_FIGURE)


def test_perfect_and_shifted_predictions():
    truth = np.linspace(0, 7, 71)
    ones = np.ones((1, 71))
    assert [float(v[0]) for v in calibration.line(truth, truth, ones)] == pytest.approx([1, 0])
    assert calibration.error(truth, truth, ones)[0] == pytest.approx(0, abs=SAME_FIGURE)
    assert calibration.error(truth + 0.5, truth, ones)[0] == pytest.approx(0.5)
    assert [float(v[0]) for v in calibration.line(2 * truth + 1, truth, ones)] == pytest.approx([0.5, -0.5])


def test_without_rows_figures_are_undefined():
    none = np.zeros(0)
    assert np.isnan(calibration.error(none, none, np.ones((2, 0)))).all()
    assert np.isnan(np.concatenate(calibration.line(none, none, np.ones((2, 0))))).all()
