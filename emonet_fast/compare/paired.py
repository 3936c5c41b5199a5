"""Figures of two sets of predictions on the same pictures, and their differences, with one bootstrap for both.

A resample draws units (pictures, or the people or sources that they are of) and takes the same ones for A and for B.
More than 4,000 units are first dealt at random into 4,000 groups, which are drawn in their place; then, and with more
than 4,000 pictures, ranks are not formed anew: each figure moves by its rows' influence. So the work does not grow with
the number of resamples times pictures.
"""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ..evaluate.calibration import error_of_sums, gaps
from ..evaluate.demographics import holm
from ..evaluate.influence import auc_influence, spearman_influence
from ..evaluate.metrics import (
    CORRELATION,
    ERROR,
    LEVELS,
    NO_INTERVAL,
    SEED,
    SHARE,
    Bools,
    Floats,
    Interval,
    Ints,
    across,
    count_chunks,
    interval,
    kappa_of_sums,
    known,
    mean_known,
    ratio,
    rounded,
    spearman,
    spearman_weighted,
)
from ..evaluate.predictions import SLUGS
from ..evaluate.ranking import curve, roc_auc
from .joined import SideBySide

MOST = 4000
_FORTY = len(SLUGS)


class Draws:
    """Resamples of units, the same for every figure.

    Args:
        unit: [N] the number of each row's unit.
        bootstraps: B.

    Attributes:
        exact: whether ranks are formed anew in each resample.
    """

    def __init__(self, unit: Ints, bootstraps: int) -> None:
        rng = np.random.default_rng(SEED)
        units = int(unit.max(initial=-1)) + 1
        if units > MOST:
            unit, units = rng.permutation(np.arange(units) % MOST)[unit], MOST
        self.exact = len(unit) <= MOST
        self._unit, self._units, self.bootstraps = unit, units, bootstraps
        self._counts = np.concatenate(list(count_chunks(rng, units, bootstraps)))

    def of_rows(self, rows: Bools) -> Floats:
        """[B, n] how often each of the n marked rows is drawn."""
        return self._counts[:, self._unit[rows]]

    def sums(self, rows: Bools, columns: Floats) -> Floats:
        """[B, c] sums over what is drawn, of columns [n, c] of the n marked rows."""
        unit = self._unit[rows]
        return self._counts @ np.stack([np.bincount(unit, c, minlength=self._units) for c in columns.T], axis=1)

    def means(self, rows: Bools, column: Floats) -> Floats:
        """[B] means over what is drawn, of a column [n]."""
        total, n = self.sums(rows, np.stack([column, np.ones(len(column))], axis=1)).T
        return ratio(total, n)


# The figure of predictions [n] and truth [n], and [B] of its resamples; rows: which of all N they are.
_Measure = Callable[[Floats, Floats, Bools, Draws], tuple[float, Floats]]


def _spearman(x: Floats, t: Floats, rows: Bools, draws: Draws) -> tuple[float, Floats]:
    value = spearman(x, t)
    if draws.exact:
        return value, spearman_weighted(x, t, draws.of_rows(rows))
    return value, np.clip(value + draws.means(rows, spearman_influence(x, t)), -1, 1)


def _auc(x: Floats, t: Floats, rows: Bools, draws: Draws) -> tuple[float, Floats]:
    positive = t > 0.5
    value = float(roc_auc(curve(x, positive, np.ones((1, len(x)))))[0])
    if draws.exact:
        return value, roc_auc(curve(x, positive, draws.of_rows(rows)))
    return value, np.clip(value + draws.means(rows, auc_influence(x, positive)), 0, 1)


def _error(x: Floats, t: Floats, rows: Bools, draws: Draws) -> tuple[float, Floats]:
    gap = np.abs(x - t)
    return float(gap.mean()), draws.means(rows, gap)


def _kappa(x: Floats, t: Floats, rows: Bools, draws: Draws) -> tuple[float, Floats]:
    a, b = rounded(x), rounded(t)
    columns = np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=1)
    return float(kappa_of_sums(columns.sum(axis=0))), kappa_of_sums(draws.sums(rows, columns))


def _calibration(x: Floats, t: Floats, rows: Bools, draws: Draws) -> tuple[float, Floats]:
    columns = gaps(x, t)
    return float(error_of_sums(columns.sum(axis=0))), error_of_sums(draws.sums(rows, columns))


@dataclass(frozen=True, slots=True)
class Measured:
    """A figure that is compared.

    Args:
        slug: its name in JSON.
        label: its name for a reader.
        better: 1 where more is better, -1 where less is.
        measure: computes it.
        ends: its lowest and highest value.
    """

    slug: str
    label: str
    better: int
    measure: _Measure
    ends: Interval


SPEARMAN = Measured("spearman", "Spearman", 1, _spearman, CORRELATION)
AUC = Measured("auc", "ROC AUC", 1, _auc, SHARE)
MAE = Measured("mae", "Mean absolute error", -1, _error, ERROR)
KAPPA = Measured("kappa", "Weighted kappa (rounded)", 1, _kappa, CORRELATION)
ECE = Measured("calibration_error", "Calibration error", -1, _calibration, ERROR)
KINDS = (SPEARMAN, AUC, KAPPA, MAE, ECE)


@dataclass(frozen=True, slots=True)
class Difference:
    """A figure of A and of B, and B less A.

    Args:
        a, b: the figures; NaN where undefined.
        a_interval, b_interval, interval: 95% of each, and of b - a.
        p: two-sided, of b - a; see `_p`.
        p_holm: corrected for all heads of the figure; NaN for a mean over heads.
    """

    a: float
    b: float
    a_interval: Interval
    b_interval: Interval
    interval: Interval
    p: float
    p_holm: float = float("nan")


@dataclass(frozen=True, slots=True)
class Compared:
    """One kind of figure.

    Args:
        kind: which.
        heads: K gaps, with NaN where the figure says nothing of a head's truth.
        mean: over the heads in which both are defined.
    """

    kind: Measured
    heads: tuple[Difference, ...]
    mean: Difference


@dataclass(frozen=True, slots=True)
class Likeness:
    """How far B's values are from A's, without a truth.

    Args:
        spearman: [K] correlation of A and B, and its intervals.
        gap: [K] mean absolute difference, and its intervals.
        shift: [K] mean of B - A.
        spread: [K] standard deviation of A.
        same_strongest: share of pictures with the same strongest of the 40 emotions, and its interval; None where not
            all are there.
        mean_spearman: over heads, and its interval.
        distance: [N] mean over heads of |B - A| / spread.
    """

    spearman: tuple[Floats, tuple[Interval, ...]]
    gap: tuple[Floats, tuple[Interval, ...]]
    shift: Floats
    spread: Floats
    same_strongest: tuple[float, Interval] | None
    mean_spearman: tuple[float, Interval]
    distance: Floats


def agreement(joined: SideBySide, draws: Draws) -> Likeness:
    """How A and B agree."""
    a, b, every = joined.a, joined.b, np.ones(len(joined.a), dtype=bool)
    kinds = []
    for kind in (SPEARMAN, MAE):
        value, drawn = _each(kind, a, b, draws)
        kinds.append((value, drawn, tuple(interval(v, d, kind.ends) for v, d in zip(value, drawn.T, strict=True))))
    (rho, of_rho, rho_intervals), (gap, _, gap_intervals) = kinds
    spread = a.std(axis=0)
    same = (a[:, :_FORTY].argmax(axis=1) == b[:, :_FORTY].argmax(axis=1)).astype(np.float64)
    strongest = float(same.mean()), interval(float(same.mean()), draws.means(every, same), SHARE)
    distance = mean_known(np.where(spread > 0, np.abs(b - a) / np.where(spread > 0, spread, 1.0), np.nan), axis=1)
    return Likeness(
        (rho, rho_intervals), (gap, gap_intervals), (b - a).mean(axis=0), spread,
        strongest if joined.taxonomys else None,
        (float(mean_known(rho)), across(rho, of_rho, CORRELATION)), np.nan_to_num(distance),
    )  # fmt: skip


def compare(joined: SideBySide, draws: Draws, step: Callable[[int, int], None]) -> list[Compared]:
    """Every kind of figure that says something of the truth of a head. step: as of splits.Step, by figures."""
    assert joined.truth is not None  # noqa: S101 - run.py joins it first
    out = []
    for done, kind in enumerate(KINDS):
        fits = np.array([_fits(kind, joined, k) for k in range(len(joined.heads))])
        if fits.any():
            truth = np.where(fits, joined.truth, np.nan)
            out.append(_compared(kind, _each(kind, joined.a, truth, draws), _each(kind, joined.b, truth, draws)))
        step(done + 1, len(KINDS))
    return out


def _fits(kind: Measured, joined: SideBySide, k: int) -> bool:
    """Whether a kind of figure says something of head k: levels need ratings, errors need one scale."""
    assert joined.truth is not None and joined.scales is not None  # noqa: S101, PT018 - see compare
    truth, (low, high) = known(joined.truth[:, k]), joined.scales[k]
    shares = high <= 1
    if kind is AUC:
        return shares and len(truth) > 0
    if kind is SPEARMAN:
        return not (shares and bool(np.isin(truth, (0, 1)).all()))
    if kind is KAPPA:
        return (low, high) == (0, LEVELS - 1)
    both = np.stack([joined.a[:, k], joined.b[:, k]])
    return not shares or (both.min() >= 0 and both.max() <= 1)


def _each(kind: Measured, x: Floats, t: Floats, draws: Draws) -> tuple[Floats, Floats]:
    """[K] figures of x [N, K] beside t [N, K], and [B, K] of the resamples; NaN where t is nowhere known."""
    pairs = []
    for k in range(x.shape[1]):
        rows = ~np.isnan(t[:, k])
        if rows.any():
            pairs.append(kind.measure(x[rows, k], t[rows, k], rows, draws))
        else:
            pairs.append((float("nan"), np.full(draws.bootstraps, np.nan)))
    values, drawn = zip(*pairs, strict=True)
    return np.array(values), np.stack(drawn, axis=1)


def _compared(kind: Measured, a: tuple[Floats, Floats], b: tuple[Floats, Floats]) -> Compared:
    gaps_of = [_gap(kind, a[0][k], b[0][k], a[1][:, k], b[1][:, k]) for k in range(len(a[0]))]
    corrected = holm([gap.p for gap in gaps_of])
    both = ~(np.isnan(a[0]) | np.isnan(b[0]))
    if not both.any():
        mean = Difference(np.nan, np.nan, NO_INTERVAL, NO_INTERVAL, NO_INTERVAL, np.nan)
    else:
        of_a, of_b = (np.asarray(mean_known(v[1][:, both], axis=1)) for v in (a, b))
        mean = _gap(kind, float(a[0][both].mean()), float(b[0][both].mean()), of_a, of_b)
    return Compared(kind, tuple(replace(g, p_holm=p) for g, p in zip(gaps_of, corrected, strict=True)), mean)


def _gap(kind: Measured, a: float, b: float, of_a: Floats, of_b: Floats) -> Difference:
    gap, drawn = b - a, of_b - of_a
    return Difference(
        float(a), float(b), interval(a, of_a, kind.ends), interval(b, of_b, kind.ends), interval(gap, drawn),
        _p(float(gap), known(drawn)),
    )  # fmt: skip


def _p(gap: float, drawn: Floats) -> float:
    """Two-sided p of a difference: by the normal distribution, over the resamples' standard deviation.

    A share of the resamples could not be below 2 / B, and then no head of 40, corrected by Holm's method, would differ.
    NaN where the difference does not vary at all.
    """
    spread = float(drawn.std(ddof=1)) if len(drawn) > 1 else 0.0
    if not spread > 0 or math.isnan(gap):
        return float("nan")
    # Never 0: what is shown is then "<0.001", as for any p that small.
    return max(math.erfc(abs(gap) / spread / math.sqrt(2)), sys.float_info.min)
