"""What scores of held-out rows are worth, head by head: order, error, calibration, agreement; each with an interval.

A resample draws whole clusters (a person, a source, a picture and its duplicates), so that intervals do not take rows
that are alike for independent ones. Labels may be means of annotators.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import calibration
from .metrics import (
    CORRELATION,
    ERROR,
    SEED,
    SHARE,
    Floats,
    Interval,
    across,
    count_chunks,
    interval,
    kappa_of_sums,
    mean_known,
    ratio,
)
from .metrics import spearman_weighted as spearman
from .ranking import curve, roc_auc
from .result import Cell, Figure, Table

RESAMPLES = 200
# What a score is: a label, the log-odds of yes, or a number of which only the order means something.
MEANINGS = ("label", "log-odds", "order")
_COUNTS = 1 << 22  # of rows held at a time: 32 MB
# (scores, labels, [B, N] counts) -> [B]
Measure = Callable[[Floats, Floats, Floats], Floats]


def held_out_figures(
    names: Sequence[str],
    scores: Floats,
    labels: Floats,
    clusters: Any,
    scales: Sequence[tuple[float, float]],
    meaning: str = "label",
    resamples: int = RESAMPLES,
) -> tuple[tuple[Figure, ...], Table]:
    """Figures of H heads: each head's in the table, their means over the heads as single ones.

    Spearman for every head; the area under the ROC curve (more yes than no against more no than yes) where labels are
    shares of yes (scale 0..1); the mean absolute error, the slope of labels over scores and the calibration error where
    a score means a label or log-odds; quadratic weighted kappa of whole levels within the scale.

    Args:
        names: of the heads.
        scores: [N, H].
        labels: [N, H], NaN where there is none.
        clusters: [N] whole numbers: rows of one number are drawn together.
        scales: of each head, the lowest and highest label.
        meaning: one of MEANINGS.
        resamples: how many draws the intervals are of.
    """
    _, at = np.unique(np.asarray(clusters), return_inverse=True)
    drawn: dict[str, Floats] = {}
    value: dict[str, Floats] = {}
    for h in range(len(names)):
        known = ~np.isnan(labels[:, h])
        given = np.asarray(scores[known, h], np.float64), np.asarray(labels[known, h], np.float64)
        for title, measure in _measures(scales[h], meaning).items():
            whole, parts = _measured(measure, *given, at[known], resamples)
            value.setdefault(title, np.full(len(names), np.nan))[h] = whole
            drawn.setdefault(title, np.full((resamples, len(names)), np.nan))[:, h] = parts
    titles = [title for title in _TITLES if title in value and not np.isnan(value[title]).all()]
    rows: list[tuple[Cell, ...]] = []
    for h, name in enumerate(names):
        cells: list[Cell] = [name, int((~np.isnan(labels[:, h])).sum())]
        for title in titles:
            cells += [float(value[title][h]), *interval(float(value[title][h]), drawn[title][:, h], _TITLES[title])]
        rows.append(tuple(cells))
    columns = ("head", "rows", *(f"{title}{end}" for title in titles for end in ("", " low", " high")))
    figures = tuple(
        Figure(
            title.replace(" ", "_"),
            f"{title}, mean over heads",
            float(mean_known(value[title])),
            across(value[title], drawn[title], _TITLES[title]),
        )
        for title in titles
    )
    lead = f"Intervals of 95% from {resamples} resamples of {len(set(at.tolist()))} clusters of rows."
    return figures, Table("heads", "Heads on held-out rows", lead, columns, tuple(rows), brief=False)


# In the order to show, with the lowest and highest value of each.
_TITLES: Mapping[str, Interval] = {
    "Spearman": CORRELATION, "AUC": SHARE, "mean absolute error": ERROR, "calibration slope": (-np.inf, np.inf),
    "calibration error": ERROR, "kappa": CORRELATION,
}  # fmt: skip


def _measures(scale: tuple[float, float], meaning: str) -> Mapping[str, Measure]:
    found: dict[str, Measure] = {"Spearman": spearman}
    if scale == (0.0, 1.0):
        found["AUC"] = _auc
    if meaning == "order":
        return found

    def predicted(scores: Floats) -> Floats:
        return scores if meaning == "label" else scale[0] + (scale[1] - scale[0]) / (1 + np.exp(-scores))

    found["mean absolute error"] = lambda s, y, n: ratio(n @ np.abs(predicted(s) - y), n.sum(axis=1))
    found["calibration slope"] = lambda s, y, n: calibration.line(predicted(s), y, n)[0]
    found["calibration error"] = lambda s, y, n: calibration.error(predicted(s), y, n)
    found["kappa"] = lambda s, y, n: _kappa(scale, predicted(s), y, n)
    return found


def _auc(scores: Floats, labels: Floats, counts: Floats) -> Floats:
    told = labels != 0.5
    return roc_auc(curve(scores[told], labels[told] > 0.5, counts[:, told])) if told.any() else counts[:, 0] * np.nan


def _kappa(scale: tuple[float, float], scores: Floats, labels: Floats, counts: Floats) -> Floats:
    a, b = (np.clip(np.floor(values + 0.5), *scale) for values in (scores, labels))
    return kappa_of_sums(counts @ np.stack([np.ones_like(a), a, b, a * a, b * b, a * b], axis=1))


def _measured(measure: Measure, scores: Floats, labels: Floats, at: Any, resamples: int) -> tuple[float, Floats]:
    if not len(scores):
        return float("nan"), np.full(resamples, np.nan)
    clusters = int(at.max()) + 1
    whole = float(measure(scores, labels, np.ones((1, len(scores))))[0])
    chunks = count_chunks(np.random.default_rng(SEED), clusters, resamples)
    few = max(1, _COUNTS // len(at))
    parts = (counts[i : i + few, at] for counts in chunks for i in range(0, len(counts), few))
    return whole, np.concatenate([measure(scores, labels, counts) for counts in parts])
