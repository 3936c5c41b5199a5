"""Every figure against the library that defines it, over random and degenerate data."""

import warnings
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emonet_fast.evaluate import agreement, metrics, ranking
from emonet_fast.evaluate.result import Figure, Result, Table, noted

from ..tolerances import SAME_FIGURE
from .made import interval_alpha

sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn (extra test) is not installed")
krippendorff = pytest.importorskip("krippendorff", reason="krippendorff (extra test) is not installed")
stats = pytest.importorskip("scipy.stats", reason="scipy (extra eval) is not installed")

QUICK = settings(max_examples=60, deadline=None)
NAN = float("nan")


def same(got: float, want: float) -> None:
    assert np.isnan(got) == np.isnan(want), (got, want)
    if not np.isnan(want):
        assert got == pytest.approx(want, abs=SAME_FIGURE, rel=0)


def quiet(function, *arguments, **named):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return function(*arguments, **named)


rating = st.sampled_from([NAN, 0.0, 1.0, 2.0, 3.0, 5.0, 7.0])
scale = st.one_of(rating, st.floats(-3, 9, width=32))


@st.composite
def two(draw, values=scale, most=30):
    n = draw(st.integers(1, most))
    pair = [draw(hnp.arrays(np.float64, n, elements=values)) for _ in range(2)]
    return pair[0], pair[1]


def kappa_by_sklearn(a, b):
    """As the notebook: truncate, drop through `labels`, NaN with fewer than 2 images."""
    both = ~(np.isnan(a) | np.isnan(b))
    x, y = a[both].astype(int), b[both].astype(int)
    inside = (x >= 0) & (x <= 7) & (y >= 0) & (y <= 7)
    if inside.sum() < 2:
        return NAN
    return quiet(sklearn.cohen_kappa_score, x, y, weights="quadratic", labels=list(range(8)))


@QUICK
@given(two())
@example((np.zeros(5), np.zeros(5)))  # both constant: undefined
@example((np.zeros(5), np.full(5, 3.0)))  # both constant and different: 0
@example((np.array([1.0, 2.0]), np.array([2.0, 1.0])))
@example((np.array([-0.9, 7.9, 3.0]), np.array([0.0, 7.0, 2.0])))  # truncation toward zero keeps both
@example((np.array([-1.0, 8.0, 3.0, 4.0]), np.array([0.0, 7.0, 2.0, 4.0])))  # both dropped
def test_kappa(pair):
    a, b = pair
    kappa = agreement.pairwise_kappa(metrics.truncated(np.stack([a, b]))[:, :, None])
    assert np.isnan(kappa[0, [0, 1], [0, 1]]).all()
    same(kappa[0, 0, 1], kappa_by_sklearn(a, b))
    same(kappa[0, 1, 0], kappa[0, 0, 1])


def test_truncated_and_rounded():
    values = np.array([-1.0, -0.99, -0.0, 0.5, 1.49, 1.5, 6.99, 7.99, 8.0, NAN])
    np.testing.assert_array_equal(metrics.truncated(values), [NAN, 0, 0, 0, 1, 1, 6, 7, NAN, NAN])
    np.testing.assert_array_equal(metrics.rounded(values), [0, 0, 0, 1, 1, 2, 7, 7, 7, NAN])


def alpha_by_krippendorff(ratings):
    kept = [r for r in ratings if np.count_nonzero(~np.isnan(r)) > 1]
    if len(kept) < 2:
        return NAN
    try:
        return float(krippendorff.alpha(reliability_data=np.array(kept), level_of_measurement="interval"))
    except ValueError:  # one single value, or no unit with two ratings
        return NAN


@st.composite
def table(draw):
    shape = draw(st.integers(1, 6)), draw(st.integers(1, 12))
    return draw(hnp.arrays(np.float64, shape, elements=st.one_of(rating, st.floats(0, 7, width=16))))


@QUICK
@given(table())
@example(np.full((3, 4), 2.0))  # everybody constant
@example(np.array([[1.0, 2.0, NAN], [1.0, 3.0, NAN], [NAN, NAN, 5.0]]))  # missing ratings
@example(np.array([[3.0], [4.0]]))  # one image
@example(np.array([[1.0, NAN], [NAN, 2.0], [1.0, 2.0]]))
@example(np.full((4, 30), 0.1))  # constant, and not exact in binary
def test_alpha(ratings):
    want = quiet(alpha_by_krippendorff, ratings)
    same(interval_alpha(ratings), want)


@QUICK
@given(two(values=st.one_of(st.floats(-5, 5, width=32), st.sampled_from([NAN, 0.0, 1.0, 2.5]))))
@example((np.ones(4), np.arange(4.0)))  # constant
@example((np.array([1.0]), np.array([2.0])))  # one image
@example((np.array([1.0, 2.0]), np.array([2.0, 1.0])))
@example((np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 2.0])))  # ties
def test_spearman(pair):
    x, y = pair
    both = ~(np.isnan(x) | np.isnan(y))
    want = quiet(stats.spearmanr, x[both], y[both]).statistic if both.sum() >= 2 else NAN
    same(metrics.spearman(x, y), float(want))


@st.composite
def detection(draw):
    n = draw(st.integers(1, 40))
    scores = draw(
        hnp.arrays(np.float64, n, elements=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-3, 9, width=32)))
    )
    return scores, draw(hnp.arrays(np.bool_, n))


@QUICK
@given(detection(), st.sampled_from([-1.0, 0.5, 1.0, 20.0]))
@example((np.zeros(6), np.array([1, 0, 1, 0, 0, 0], bool)), 1.0)  # constant scores
@example((np.arange(4.0), np.ones(4, bool)), 1.0)  # no negatives
@example((np.arange(4.0), np.zeros(4, bool)), 1.0)  # no positives
@example((np.array([1.0]), np.array([True])), 1.0)  # one image
def test_detection(pair, threshold):
    scores, positive = pair
    at = ranking.curve(scores, positive, np.ones((1, len(scores))))
    some, none = positive.any(), not positive.all()
    same(ranking.roc_auc(at)[0], sklearn.roc_auc_score(positive, scores) if some and none else NAN)
    same(ranking.average_precision(at)[0], sklearn.average_precision_score(positive, scores) if some else NAN)
    flagged = scores >= threshold
    same(ranking.f1_at(at, threshold)[0], sklearn.f1_score(positive, flagged, zero_division=0) if some else NAN)
    best, place = ranking.best_f1(at)
    if some:
        every = [sklearn.f1_score(positive, scores >= t) for t in np.unique(scores)]
        same(best[0], max(every))
        same(sklearn.f1_score(positive, scores >= place[0]), max(every))
    else:
        assert np.isnan(best[0])
        assert np.isnan(place[0])


@QUICK
@given(detection(), st.integers(0, 2**32 - 1))
def test_a_resample_by_counts_is_the_resample(pair, seed):
    """Counts give what the drawn items themselves give, for every figure that is resampled by counts."""
    scores, positive = pair
    drawn = np.random.default_rng(seed).integers(0, len(scores), len(scores))
    counts = np.bincount(drawn, minlength=len(scores))[None].astype(float)
    one = np.ones((1, len(scores)))
    by_counts = ranking.curve(scores, positive, counts)
    itself = ranking.curve(scores[drawn], positive[drawn], one)
    for figure in (ranking.roc_auc, ranking.average_precision, lambda c: ranking.best_f1(c)[0]):
        same(figure(by_counts)[0], figure(itself)[0])
    other = scores.round()[::-1].copy()
    got = metrics.spearman_weighted(scores, other, counts)[0]
    same(got, metrics.spearman(scores[drawn], other[drawn]) if len(scores) > 1 else NAN)


@QUICK
@given(table(), st.integers(0, 2**32 - 1))
def test_alpha_of_a_resample(ratings, seed):
    kept = metrics.alpha_raters(ratings)
    if len(kept) < 2:
        return
    drawn = np.random.default_rng(seed).integers(0, kept.shape[1], kept.shape[1])
    counts = np.bincount(drawn, minlength=kept.shape[1]).astype(float)
    got = metrics.alpha_of_sums(counts @ metrics.unit_sums(kept))
    want = metrics.alpha_of_sums(metrics.unit_sums(kept[:, drawn]).sum(axis=0))
    same(float(got), float(want))


def percentile_by_scipy(resamples):
    made = SimpleNamespace(bootstrap_distribution=resamples)
    done = stats.bootstrap(([0.0, 1.0],), np.mean, method="percentile", n_resamples=0, bootstrap_result=made)
    return done.confidence_interval


@QUICK
@given(hnp.arrays(np.float64, st.integers(2, 200), elements=st.floats(-5, 5, width=16)), st.floats(-5, 5))
@example(np.full(3, 0.25), 0.5)
def test_intervals_are_scipys_and_ours_hold_their_figure(resamples, value):
    """The paper's are scipy's percentiles; ours are those of the resamples around the figure."""
    with_undefined = np.r_[resamples, NAN]
    want = percentile_by_scipy(resamples)
    np.testing.assert_allclose(metrics.percentiles(with_undefined), want, rtol=0, atol=SAME_FIGURE)
    moved = percentile_by_scipy(resamples - np.median(resamples) + value)
    low, high = metrics.interval(value, with_undefined)
    np.testing.assert_allclose([low, high], moved, rtol=0, atol=SAME_FIGURE)
    assert low <= value <= high


def test_no_interval_without_resamples():
    for value, resamples in ((0.5, np.full(3, NAN)), (NAN, np.ones(3)), (0.5, np.zeros(0))):
        assert np.isnan(metrics.interval(value, resamples)).all()
    assert np.isnan(metrics.percentiles(np.full(3, NAN))).all()


def test_an_interval_beside_its_figure_is_told():
    figures = (Figure("a", "Kappa", 0.293, (0.251, 0.277)), Figure("b", "Spearman", 0.5, (0.4, 0.6)))
    rows = (("Awe", 0.3, 0.4, 0.5, 1.0), ("Fear", 0.45, 0.4, 0.5, NAN), ("Pain", NAN, NAN, NAN, NAN))
    table = Table("t", "T", "", ("emotion", "alpha", "alpha low", "alpha high", "other"), rows)
    result = noted(Result("hq", "T", {}, figures, (table,), notes=("first",)))
    assert result.notes[0] == "first"
    assert result.notes[1].startswith("the paper's intervals of Kappa; alpha (Awe) lie beside the figure itself")
    assert noted(replace(result, figures=figures[1:], tables=(), notes=())).notes == ()
