"""What a probe run shows: figures, tables and charts, as those of evaluate."""

from collections.abc import Mapping, Sequence

import numpy as np

from ..evaluate import calibration
from ..evaluate.charts import Pictures, dots_png, panels_png
from ..evaluate.held_out import held_out_figures
from ..evaluate.metrics import Floats, Ints
from ..evaluate.result import Cell, Chart, Result, Table
from .cross import Probe

_PANELS = 12
_BRIEF = ("Spearman", "Spearman low", "Spearman high", "AUC", "kappa", "calibration slope", "calibration error")


def probe_result(
    probe: Probe, labels: Floats, scales: Sequence[tuple[float, float]], cluster: Ints, bootstraps: int,
    facts: dict[str, str], more: Sequence[Table] = (), notes: Sequence[str] = (),
) -> Result:  # fmt: skip
    """Everything of a cross-validated probe to show.

    Args:
        probe: what was made.
        labels: [M, H], NaN where there is none.
        scales: of each head.
        cluster: [M] the group of each row, over which intervals are.
        bootstraps: resamples of each interval.
        facts: what was learnt from.
        more: tables to show at the end.
        notes: what a reader must know.
    """
    names = list(probe.heads)
    figures, whole = held_out_figures(names, probe.predicted, labels, cluster, scales, "label", bootstraps)
    charts = heads_chart(whole), _panels(probe, names, labels)
    tables = _brief(whole, probe), whole, strengths_table(probe), *more
    return Result("probe", "Linear probes", facts, figures, tables, charts, (*probe.notes, *notes))


def _brief(whole: Table, probe: Probe) -> Table:
    """The figures that a terminal has room for."""
    shown = [column for column in _BRIEF if column in whole.columns]
    rows: list[tuple[Cell, ...]] = []
    for row, alpha in zip(whole.records(), probe.alpha.tolist(), strict=True):
        rows.append((row["head"], row["rows"], *(row[column] for column in shown), f"{alpha:.3g}"))
    columns = ("head", "labels", *(column.removeprefix("Spearman ") for column in shown), "alpha")
    lead = "Of predictions of rows that the fold's probe did not see. With a slope below 1 they reach too far."
    return Table("names", "Each head", lead, columns, tuple(rows))


def strengths_table(probe: Probe) -> Table:
    """The strength of each head, and of each fold's probe."""
    rows: list[tuple[Cell, ...]] = []
    for head, alpha, folds in zip(probe.heads, probe.alpha.tolist(), probe.folds_alpha.T.tolist(), strict=True):
        rows.append((head, alpha, *folds))
    columns = ("head", "alpha", *(f"fold {i + 1}" for i in range(len(probe.folds_alpha))))
    lead = "Alpha as scikit-learn's Ridge takes it: of the head, and of each fold's probe, chosen without that fold."
    return Table("strengths", "Strengths", lead, columns, tuple(rows), digits=4, brief=False)


def heads_chart(whole: Table) -> Chart:
    """AUC or Spearman of each head with its interval, of the table of held_out_figures."""
    figure = "AUC" if "AUC" in whole.columns else "Spearman"

    def draw() -> Pictures:
        known = [row for row in whole.records() if row[figure] is not None]
        known.sort(key=lambda row: -float(row[figure] or 0.0))
        low, value, high = (_floats(known, figure + end) for end in (" low", "", " high"))
        ends = list(zip(low.tolist(), high.tolist(), strict=True))
        chance = 0.5 if figure == "AUC" else 0.0
        return dots_png([str(row["head"]) for row in known], ends, {figure: value}, f"{figure}, 95% interval", chance)

    return Chart("heads", f"{figure} of each head", f"{figure} of each head with its interval", draw)


def _floats(rows: Sequence[Mapping[str, Cell]], column: str) -> Floats:
    return np.array([np.nan if row[column] is None else row[column] for row in rows], dtype=np.float64)


def _panels(probe: Probe, names: Sequence[str], labels: Floats) -> Chart:
    """Of the heads with the most labels."""
    counts = (~np.isnan(labels)).sum(axis=0)
    chosen = sorted(np.argsort(-counts, kind="stable")[:_PANELS].tolist())

    def draw() -> Pictures:
        series = []
        for h in chosen:
            at = ~np.isnan(labels[:, h])
            p, y = probe.predicted[at, h], labels[at, h]
            series.append({"rows": (p, y), "mean of ten bins": calibration.reliability_curve(p, y)[:2]})
        return panels_png([names[h] for h in chosen], series, ("prediction", "label"), joined=False)

    more = f", of {len(chosen)} of {len(names)} heads" if len(chosen) < len(names) else ""
    words = "Labels over predictions, and their means in ten bins; points on the grey line are right"
    return Chart("panels", f"Labels over predictions{more}", words, draw)
