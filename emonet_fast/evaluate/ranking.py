"""How well scores tell positives from negatives: ROC AUC, average precision, F1, for many resamples at once.

Definitions are those of scikit-learn (`roc_auc_score`, `average_precision_score`, `f1_score`); the tests compare with
them. Resamples come as counts, so that scores are sorted once, not once for each resample.
"""

from dataclasses import dataclass

import numpy as np

from .metrics import Bools, Floats, ratio


@dataclass(frozen=True, slots=True)
class Curve:
    """Counts of B resamples at T thresholds, the highest threshold first.

    Args:
        true: [B, T] true positives.
        false: [B, T] false positives.
        thresholds: [T].
    """

    true: Floats
    false: Floats
    thresholds: Floats


def curve(scores: Floats, positive: Bools, counts: Floats) -> Curve:
    """Cumulative counts by falling score [N], one threshold for each distinct score.

    counts: [B, N] how often each resample draws each item; ones for the sample itself.
    """
    order = np.argsort(-scores, kind="stable")
    falling = scores[order]
    starts = np.flatnonzero(np.r_[True, falling[1:] != falling[:-1]])
    drawn = counts[:, order]
    hits = positive[order]
    true = np.cumsum(np.add.reduceat(drawn * hits, starts, axis=1), axis=1)
    false = np.cumsum(np.add.reduceat(drawn * ~hits, starts, axis=1), axis=1)
    return Curve(true, false, falling[starts])


def roc_auc(at: Curve) -> Floats:
    """[B] area under the ROC curve, ties counted half; NaN without positives or without negatives."""
    p, n = at.true[:, -1], at.false[:, -1]
    steps = np.diff(at.false, axis=1, prepend=0.0)
    middle = at.true - np.diff(at.true, axis=1, prepend=0.0) / 2
    return ratio((steps * middle).sum(axis=1), p * n)


def average_precision(at: Curve) -> Floats:
    """[B] sum over thresholds of (recall gained) times precision; NaN without positives."""
    gained = np.diff(at.true, axis=1, prepend=0.0)
    flagged = at.true + at.false
    precision = at.true / np.where(flagged > 0, flagged, 1.0)
    return ratio((gained * precision).sum(axis=1), at.true[:, -1])


def f1_curve(at: Curve) -> Floats:
    """[B, T] F1 = 2 TP / (flagged + positives) at each threshold (score >= threshold); NaN without positives."""
    p = at.true[:, -1:]
    return ratio(2 * at.true, np.where(p > 0, at.true + at.false + p, 0.0))


def best_f1(at: Curve) -> tuple[Floats, Floats]:
    """[B] the highest F1 and [B] its threshold, the highest one of equals; NaN without positives."""
    f1 = f1_curve(at)
    place = np.argmax(np.nan_to_num(f1, nan=-1.0), axis=1)
    best = np.take_along_axis(f1, place[:, None], axis=1)[:, 0]
    return best, np.where(np.isnan(best), np.nan, at.thresholds[place])


def f1_at(at: Curve, threshold: float) -> Floats:
    """[B] F1 of the rule score >= threshold; 0 where nothing is flagged, NaN without positives."""
    flagged = int((at.thresholds >= threshold).sum())
    if flagged == 0:
        return np.where(at.true[:, -1] > 0, 0.0, np.nan)
    return f1_curve(at)[:, flagged - 1]
