"""Probes against scikit-learn: the same coefficients, the same choices, the same predictions of rows left out."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from emonet_fast.errors import DataError
from emonet_fast.probes.cross import STRENGTHS, cross_validate
from emonet_fast.probes.ridge import Parts, from_rows

NAN = float("nan")


def made(rows, width, targets, seed=0):
    """Unit rows about a common direction, as embeddings lie, and noisy targets of them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((rows, width)) * np.geomspace(1, 0.01, width) * 0.3 + rng.standard_normal(width)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    y = (x - x.mean(axis=0)) @ rng.standard_normal((width, targets)) * 10 + rng.standard_normal((rows, targets)) + 3
    return x, y, rng.uniform(0.5, 2, rows)


@pytest.mark.parametrize(("rows", "width"), [(60, 40), (300, 40), (30, 90)])
@pytest.mark.parametrize("alpha", [1e-4, 0.1, 30.0])
def test_the_coefficients_are_those_of_scikit_learn(rows, width, alpha):
    x, y, weights = made(rows, width, 3)
    fold = np.arange(rows) % 3
    parts = Parts(x, y, weights, fold, 3)
    for without in ((), (1,), (0, 2)):
        at = ~np.isin(fold, without)
        expected = Ridge(alpha=alpha, solver="svd").fit(x[at].astype(np.float64), y[at], sample_weight=weights[at])
        coefficients, intercepts = parts.without(*without).head([alpha] * 3)
        np.testing.assert_allclose(coefficients, expected.coef_, rtol=1e-8, atol=1e-8 * np.abs(expected.coef_).max())
        np.testing.assert_allclose(intercepts, expected.intercept_, rtol=1e-8, atol=1e-8)
        predicted = parts.without(*without).predict(x, [alpha])[0]
        np.testing.assert_allclose(predicted, expected.predict(x), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize(("rows", "width"), [(60, 40), (30, 90)])
def test_no_strength_is_least_squares_of_the_smallest_norm(rows, width):
    x, y, weights = made(rows, width, 2)
    expected = LinearRegression().fit(x.astype(np.float64), y, sample_weight=weights)
    for spectrum in (Parts(x, y, weights, np.zeros(rows, int), 1).without(), from_rows(x, y, weights)):
        coefficients, _ = spectrum.head([0.0, 0.0])
        if rows > width:
            np.testing.assert_allclose(coefficients, expected.coef_, rtol=1e-6)
        predicted = spectrum.predict(x, [0.0])[0]
        np.testing.assert_allclose(predicted, expected.predict(x.astype(np.float64)), rtol=1e-6, atol=1e-6)


def nested(x, y, weights, fold, strengths):
    """The slow, obvious way: a Ridge for each strength, fold and inner fold."""
    folds = np.unique(fold)

    def fit(at, strength):
        ridge = Ridge(alpha=strength * weights[at].sum(), solver="svd")
        return ridge.fit(x[at], y[at], sample_weight=weights[at])

    def loss(at, held, strength):
        return (weights[held] * (fit(at, strength).predict(x[held]) - y[held]) ** 2).sum()

    predicted, chosen = np.empty(len(y)), []
    for f in folds:
        inner = [sum(loss((fold != f) & (fold != g), fold == g, s) for g in folds if g != f) for s in strengths]
        chosen.append(strengths[int(np.argmin(inner))])
        predicted[fold == f] = fit(fold != f, chosen[-1]).predict(x[fold == f])
    whole = [sum(loss(fold != f, fold == f, s) for f in folds) for s in strengths]
    best = strengths[int(np.argmin(whole))]
    return predicted, chosen, best * weights.sum(), fit(np.ones(len(y), bool), best)


def test_cross_validation_is_nested():
    x, y, weights = made(120, 30, 3, seed=1)
    y[:, 2] = (y[:, 2] > 3).astype(float)
    targets, row_weights = y.astype(np.float32), np.tile(weights.astype(np.float32)[:, None], 3)
    targets[::7, 1] = NAN  # another set of rows than the others
    fold = np.arange(120) % 4
    strengths = STRENGTHS[::3]
    probe = cross_validate(x, targets, row_weights, ["a", "b", "c"], fold, strengths)
    for column, name in enumerate("abc"):
        at = ~np.isnan(targets[:, column])
        x64, y64 = x[at].astype(np.float64), targets[at, column].astype(np.float64)
        predicted, chosen, alpha, ridge = nested(x64, y64, row_weights[at, 0].astype(np.float64), fold[at], strengths)
        np.testing.assert_allclose(probe.predicted[at, column], predicted, rtol=1e-7, atol=1e-7)
        assert np.isnan(probe.predicted[~at, column]).all()
        assert probe.alpha[column] == pytest.approx(alpha)
        shares = [a / row_weights[at & (fold != f), 0].sum() for f, a in enumerate(probe.folds_alpha[:, column])]
        np.testing.assert_allclose(shares, chosen, rtol=1e-6)
        ((weight, bias),) = probe.heads[name]
        assert weight.shape == (1, 30)
        assert weight.dtype == bias.dtype == np.float32
        np.testing.assert_allclose(weight[0], ridge.coef_, rtol=1e-5, atol=1e-6 * np.abs(ridge.coef_).max())


def test_two_folds_take_the_middle_strength():
    x, y, _ = made(40, 10, 1)
    ones = np.ones((40, 1), np.float32)
    probe = cross_validate(x, y.astype(np.float32), ones, ["a"], np.arange(40) % 2, (1e-4, 1e-2, 1.0))
    np.testing.assert_allclose(probe.folds_alpha[:, 0], [0.2, 0.2])


def test_what_cannot_be_told_is_said():
    x, _, _ = made(100, 30, 1)
    fold = np.arange(100) % 4
    # What folds say of each other is wrong.
    y = (x @ np.ones(30) * np.where(fold % 2, 1, -1)).astype(np.float32)[
        :, None
    ]  # what folds say of each other is wrong
    y -= y.mean()
    probe = cross_validate(x, y, np.ones_like(y), ["a"], fold)
    assert "the strongest penalty was best for a" in probe.notes[0]


@pytest.mark.parametrize(
    ("targets", "fault"),
    [
        ([NAN] * 12, "a has no labels"),
        ([0.0] * 12, "a has the label 0 alone"),
        ([1.0, 2.0, 3.0] + [NAN] * 9, "a has labels in one fold alone"),
    ],
)
def test_names_that_cannot_be_learnt(targets, fault):
    x, _, _ = made(12, 5, 1)
    values = np.array(targets, np.float32)[:, None]
    with pytest.raises(DataError, match=fault):
        cross_validate(x, values, np.ones((12, 1), np.float32), ["a"], np.arange(12) // 3)
