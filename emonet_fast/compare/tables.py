"""What comparisons and leaks look like: figures, tables, charts and pictures of a Result."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from ..evaluate.calibration import line, reliability_curve
from ..evaluate.charts import Pictures, dots_png, panels_png
from ..evaluate.metrics import SEED, Floats
from ..evaluate.predictions import SLUGS
from ..evaluate.result import Cell, Chart, Figure, Gallery, Result, Table, show
from .joined import SideBySide
from .leaks import Leaks, LeakSide
from .paired import ECE, SPEARMAN, Compared, Difference, Draws, Likeness

_WORST = 100  # rows of the table of pictures
_CARDS = 24  # pictures on the page
_DOTS = 400  # of a panel


def comparison_result(joined: SideBySide, draws: Draws, agreed: Likeness, compared: Sequence[Compared]) -> Result:
    """Everything of a comparison to show."""
    order = _worst(agreed.distance)
    facts = joined.facts | {
        "drawn in a resample": f"{int(joined.unit.max()) + 1} of {joined.unit_name}",
        "ranks of a resample": "formed anew" if draws.exact else "moved by the influence of each row",
    }
    figures = [
        Figure("agreement_spearman", "A with B: Spearman, mean over heads", *agreed.mean_spearman),
    ]
    if agreed.same_strongest is not None:
        label = "A with B: same strongest emotion, share of pictures"
        figures.append(Figure("same_strongest", label, *agreed.same_strongest))
    for one in compared:
        mean = one.mean
        parts = [("a", "A", mean.a, mean.a_interval), ("b", "B", mean.b, mean.b_interval)]
        parts += [("difference", "B − A", mean.b - mean.a, mean.interval)]
        figures += [Figure(f"{one.kind.slug}_{s}", f"{one.kind.label}, mean: {n}", v, i) for s, n, v, i in parts]
    tables = [_summary(compared)] if compared else []
    tables += [_head_table(one, joined) for one in compared]
    tables += [_calibration_table(joined)] if any(one.kind is ECE for one in compared) else []
    tables += [_agreement_table(agreed, joined), _worst_table(joined, agreed, order[:_WORST])]
    title = "Two sets of predictions" + (" beside the truth" if compared else "")
    return Result(
        "compare", title, facts, tuple(figures), tuple(tables), _charts(joined, agreed, compared), joined.notes,
        (_worst_gallery(joined, agreed, order[:_CARDS]),),
    )  # fmt: skip


def _summary(compared: Sequence[Compared]) -> Table:
    rows = []
    for one in compared:
        clear = [(g.b - g.a) * one.kind.better for g in one.heads if g.p_holm < 0.05]
        rows.append((one.kind.label, *_cells(one.mean), sum(d < 0 for d in clear), sum(d > 0 for d in clear)))
    lead = (
        "Means over the heads in which both are defined, and in how many heads one is clearly better: p below "
        "0.05 after Holm's correction for all heads. More is better, but for errors. p is two-sided: the difference "
        "over the standard deviation of its resamples, by the normal distribution."
    )
    columns = ("figure", "A", "B", "B − A", "low", "high", "p", "A clearly better", "B clearly better")
    return Table("summary", "Which is better", lead, columns, tuple(rows))


def _cells(gap: Difference) -> tuple[Cell, ...]:
    return (gap.a, gap.b, gap.b - gap.a, *gap.interval, gap.p)


def _head_table(one: Compared, joined: SideBySide) -> Table:
    assert joined.truth is not None  # noqa: S101 - there is a figure of it
    n = (~np.isnan(joined.truth)).sum(axis=0)
    order = sorted(range(len(one.heads)), key=lambda k: (_last(one.heads[k].p_holm), -abs(_gap(one.heads[k]))))
    rows = [
        (joined.names[k], int(n[k]), *_cells(one.heads[k]), one.heads[k].p_holm)
        for k in order
        if not np.isnan(_gap(one.heads[k])) or one.heads[k].a == one.heads[k].a
    ]
    lead = (
        "Smallest corrected p first. Paired resamples: the same pictures for A and for B; 95% intervals of the "
        "difference; p corrected by Holm's method for all heads."
    )
    columns = ("head", "pictures", "A", "B", "B − A", "low", "high", "p", "p corrected")
    return Table(f"heads_{one.kind.slug}", f"{one.kind.label} of each head", lead, columns, tuple(rows), brief=False)


def _calibration_table(joined: SideBySide) -> Table:
    assert joined.truth is not None  # noqa: S101 - there is a figure of it
    rows: list[tuple[Cell, ...]] = []
    for k, name in enumerate(joined.names):
        t = joined.truth[:, k]
        at = ~np.isnan(t)
        lines = [line(x[at, k], t[at], np.ones((1, int(at.sum())))) for x in (joined.a, joined.b)]
        if at.any():
            rows.append((name, *(float(part[0]) for both in lines for part in both)))
    lead = (
        "The line of least squares through the truth over the predictions: perfect ones have slope 1 and intercept 0. "
        "A slope below 1 says that high scores are too high and low ones too low."
    )
    columns = ("head", "A slope", "A intercept", "B slope", "B intercept")
    return Table("calibration", "Calibration of each head", lead, columns, tuple(rows), brief=False)


def _agreement_table(agreed: Likeness, joined: SideBySide) -> Table:
    rho, gap = agreed.spearman, agreed.gap
    rows = [
        (
            joined.names[k], float(rho[0][k]), *rho[1][k], float(gap[0][k]), *gap[1][k],
            float(gap[0][k] / agreed.spread[k]) if agreed.spread[k] > 0 else None, float(agreed.shift[k]),
        )
        for k in np.argsort(np.nan_to_num(rho[0], nan=-2), kind="stable").tolist()
    ]  # fmt: skip
    lead = (
        "A beside B without any truth, the least agreed head first: rank correlation, mean absolute difference with "
        "its 95% interval, the same over the standard deviation of A, and the mean of B − A."
    )
    columns = ("head", "Spearman", "low", "high", "difference", "low ", "high ", "of A's spread", "mean B − A")
    return Table("agreement", "Agreement of A and B", lead, columns, tuple(rows), brief=False)


def _worst_table(joined: SideBySide, agreed: Likeness, order: Sequence[int]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for i in order:
        k = _farthest(joined, agreed, i)
        truth = None if joined.truth is None else float(joined.truth[i, k])
        cells: tuple[Cell, ...] = (joined.keys[i], float(agreed.distance[i]), joined.names[k], float(joined.a[i, k]),
                                   float(joined.b[i, k]))  # fmt: skip
        rows.append(cells if joined.truth is None else (*cells, truth))
    lead = (
        f"The {_WORST} pictures at most whose values differ most: the mean over heads of the difference over A's "
        "standard deviation, and the head in which it is largest."
    )
    columns = ("picture", "difference", "head", "A", "B") + (() if joined.truth is None else ("truth",))
    return Table("pictures", "Pictures that disagree most", lead, columns, tuple(rows), brief=False)


def _worst_gallery(joined: SideBySide, agreed: Likeness, order: Sequence[int]) -> Gallery:
    cards = []
    for i in order:
        k = _farthest(joined, agreed, i)
        lines = {
            "picture": joined.keys[i],
            "difference": f"{show(float(agreed.distance[i]), 2)} standard deviations",
            joined.names[k]: f"A {show(float(joined.a[i, k]), 2)}, B {show(float(joined.b[i, k]), 2)}"
            + ("" if joined.truth is None else f", truth {show(float(joined.truth[i, k]), 2)}"),
        }
        if joined.taxonomys:
            strongest = (joined.names[int(values[i, : len(SLUGS)].argmax())] for values in (joined.a, joined.b))
            lines["strongest"] = "A {}, B {}".format(*strongest)
        cards.append(((joined.keys[i],), lines))
    lead = "The mean over heads of the difference over A's standard deviation, and the head where it is largest."
    return Gallery("pictures", "Pictures that disagree most", lead, tuple(cards))


def _charts(joined: SideBySide, agreed: Likeness, compared: Sequence[Compared]) -> tuple[Chart, ...]:
    charts = [Chart("scatter", "B over A", "A's and B's values of each head, a dot a picture", partial(_dots, joined))]
    main = next((one for one in compared if one.kind is SPEARMAN), compared[0] if compared else None)
    if main is not None:
        words = f"B less A in {main.kind.label} of each head, with 95% intervals; 0 is no difference"
        charts.insert(
            0, Chart("differences", f"{main.kind.label}: B less A", words, partial(_differences, joined, main))
        )
    if joined.truth is not None and any(one.kind is ECE for one in compared):
        words = "Mean truth over mean prediction of tenths of the pictures, for each head"
        charts.append(Chart("calibration", "Truth over prediction", words, partial(_reliability, joined)))
    return tuple(charts)


def _dots(joined: SideBySide) -> Pictures:
    n = len(joined.keys)
    at = np.sort(np.random.default_rng(SEED).choice(n, min(n, _DOTS), replace=False))
    series = [{"pictures": (joined.a[at, k], joined.b[at, k])} for k in range(len(joined.names))]
    return panels_png(joined.names, series, ("A", "B"), joined=False, one_scale=joined.one_scale)


def _reliability(joined: SideBySide) -> Pictures:
    assert joined.truth is not None  # noqa: S101 - see _charts
    series = []
    for k in range(len(joined.names)):
        at = ~np.isnan(joined.truth[:, k])
        curves = {
            n: reliability_curve(x[at, k], joined.truth[at, k])[:2] for n, x in (("A", joined.a), ("B", joined.b))
        }
        series.append(curves)
    return panels_png(joined.names, series, ("mean prediction", "mean truth"), joined=True, one_scale=joined.one_scale)


def _differences(joined: SideBySide, one: Compared) -> Pictures:
    gaps = [_gap(g) for g in one.heads]
    order = [k for k in np.argsort(gaps, kind="stable").tolist()[::-1] if not np.isnan(gaps[k])]
    names, intervals = [joined.names[k] for k in order], [one.heads[k].interval for k in order]
    label = f"{one.kind.label}, B less A, 95% interval"
    return dots_png(names, intervals, {"B - A": np.array([gaps[k] for k in order])}, label, 0.0)


def _gap(gap: Difference) -> float:
    return gap.b - gap.a


def _last(value: float) -> float:
    """For sorting: NaN after everything."""
    return 2.0 if np.isnan(value) else value


def _worst(distance: Floats) -> list[int]:
    return [int(i) for i in np.argsort(-distance, kind="stable")[:_WORST]]


def _farthest(joined: SideBySide, agreed: Likeness, row: int) -> int:
    spread = np.where(agreed.spread > 0, agreed.spread, np.inf)
    return int(np.argmax(np.abs(joined.b[row] - joined.a[row]) / spread))


def leaks_result(found: Leaks, a: LeakSide, b: LeakSide, notes: Sequence[str]) -> Result:
    """Everything of a search for leaks to show."""
    rows_b = found.rows[1]
    figures = [
        Figure("same_keys", "Keys in both", float(len(found.same_keys)), digits=0),
        Figure("pairs", "Pairs of near-duplicates", float(found.pairs), digits=0),
        Figure("equal", "of which the embeddings are equal", float(found.equal), digits=0),
        Figure("b_rows", "Rows of B with a near-duplicate in A", float(found.b_rows), digits=0),
        Figure("b_share", "the same as a share of B", found.b_rows / rows_b if rows_b else float("nan"), digits=4),
        Figure("a_rows", "Rows of A with a near-duplicate in B", float(found.a_rows), digits=0),
    ]
    for column, (shared, known) in found.label_rows.items():
        label = f"Rows of B whose {column} is in A too, of {known} that have one"
        figures.append(Figure(f"{column}_rows", label, float(shared), digits=0))
    pairs = tuple((a.keys[i], b.keys[j], c) for i, j, c in found.worst)
    lead = f"Cosines of {found.threshold:g} and more: the most similar {len(pairs)} of {found.pairs} pairs."
    tables = [Table("pairs", "Near-duplicates", lead, ("A", "B", "cosine"), pairs, digits=5, brief=False)]
    if found.label_rows:
        shared_rows = tuple((one.column, one.label, one.a, one.b) for one in found.labels)
        lead = "Labels that rows of both parts have, those with most rows of B first."
        columns = ("column", "label", "rows of A", "rows of B")
        tables.insert(0, Table("labels", "People and sources in both", lead, columns, shared_rows, brief=False))
    cards = tuple(
        ((a.keys[i], b.keys[j]), {"A": a.keys[i], "B": b.keys[j], "cosine": show(c, 5)})
        for i, j, c in found.worst[:_CARDS]
    )
    facts = {"A": a.name, "B": b.name, "rows of A": str(found.rows[0]), "rows of B": str(rows_b),
             "near-duplicates from cosine": f"{found.threshold:g}"}  # fmt: skip
    return Result(
        "leaks", "What two parts of a data set share", facts, tuple(figures), tuple(tables), (), tuple(notes),
        (Gallery("pairs", "The most similar pairs", "A on the left, B on the right.", cards),),
    )  # fmt: skip
