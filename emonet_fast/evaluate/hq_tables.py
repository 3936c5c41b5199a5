"""The figures of HQ as a result: what is shown, in which order, and whose definition it is."""

import re
from itertools import chain

import numpy as np

from .agreement import heat_map
from .charts import Pictures, dots_png, heat_map_png
from .hq import MODEL, HqFigures
from .metrics import CORRELATION, across, interval, known, mean_interval, mean_known, percentiles
from .predictions import NAMES
from .result import Cell, Chart, Figure, Result, Table, noted

# Krippendorff alpha of the experts for an emotion: how much there is for a model to agree with.
RELIABILITY = (("alpha >= 0.3", 0.3, np.inf), ("0.1 <= alpha < 0.3", 0.1, 0.3), ("alpha < 0.1", -np.inf, 0.1))
_PUBLISHED_KAPPA = "Large 0.179, Small 0.145, Gemini 2.5 Pro 0.171, Hume 0.110"
_PUBLISHED_RHO = "Large 0.394, Small 0.336, Hume 0.334, Gemini 2.5 Pro 0.278"
_PUBLISHED_HUMANS = "0.184"


def hq_result(figures: HqFigures, source: str) -> Result:
    """Everything of `hq_figures` to show. source: where the predictions came from."""
    ratings = figures.ratings
    facts = {
        "predictions": source,
        "annotations": ratings.source,
        "images": str(len(ratings.images)),
        "humans": str(int(ratings.human.sum())),
        "other raters": str(len(ratings.raters) - 1 - int(ratings.human.sum())),
        "resamples": str(len(figures.kappa_b)),
    }
    result = Result(
        "hq",
        "EmoNet-Face HQ: agreement with experts",
        facts,
        _overall(figures),
        (_emotions(figures), _reliability(figures), _raters(figures), _comparisons(figures), _ours(figures)),
        _charts(figures),
        figures.notes,
    )
    return noted(result)


def _overall(figures: HqFigures) -> tuple[Figure, ...]:
    model, humans, near = figures.overall_kappa()
    rho = figures.rho[MODEL]
    people = figures.rho[figures.ratings.human]
    bounds = [percentiles(figures.alpha_b[:, e]) for e in range(len(NAMES))]
    alpha_interval = tuple(float(mean_known(np.array([b[i] for b in bounds]))) for i in range(2))
    comparison = next(c for c in figures.comparisons if c.rater == figures.ratings.raters[MODEL])
    return (
        Figure("kappa", "Weighted kappa, model with humans", model,
               across(figures.agreement[MODEL], figures.kappa_b, CORRELATION), "paper", _PUBLISHED_KAPPA),
        Figure(
            "kappa_humans", "Weighted kappa, humans among them", humans,
            across(figures.humans, figures.human_kappa_b, CORRELATION), "paper", _PUBLISHED_HUMANS,
        ),
        Figure(
            "kappa_difference", "Mean kappa of the model's pairs minus the humans' pairs",
            comparison.difference, comparison.interval, "paper",
        ),
        Figure("mann_whitney_p", "p of the Mann-Whitney test of that difference", comparison.p, origin="paper"),
        Figure(
            "spearman", "Spearman with the median human", float(mean_known(rho)),
            mean_interval(rho[list(figures.ratings.order)], len(figures.rho_b)), "paper", _PUBLISHED_RHO,
        ),
        Figure("alpha", "Krippendorff alpha of the humans", float(mean_known(figures.alpha)),
               (alpha_interval[0], alpha_interval[1]), "paper"),
        Figure("spearman_humans", "Spearman of a human with the median of the others", float(mean_known(people))),
        Figure("kappa_rounded", "Kappa with rounding instead of truncation", near),
        Figure("kappa_calibrated", "Kappa after calibration, on held-out folds", float(mean_known(figures.calibrated))),
        Figure("dropped", "Share of pairs that the paper's rule drops", float(mean_known(figures.dropped)), digits=4),
    )  # fmt: skip


def _emotions(figures: HqFigures) -> Table:
    ours = (
        (figures.agreement[MODEL], figures.kappa_b),
        (figures.humans, figures.human_kappa_b),
        (figures.rho[MODEL], figures.rho_b),
    )
    rows: list[tuple[Cell, ...]] = []
    for e in _by_alpha(figures):
        cells = [(float(value[e]), *interval(value[e], resampled[:, e], CORRELATION)) for value, resampled in ours]
        cells.append((float(figures.alpha[e]), *percentiles(figures.alpha_b[:, e])))
        rows.append((NAMES[e], *chain(*cells)))
    names = ("kappa", "humans' kappa", "Spearman", "humans' alpha")
    columns = ("emotion", *(c for n in names for c in (n, f"{n} low", f"{n} high")))
    lead = (
        "Highest alpha first. Intervals: resamples of images, 95%. The figures are the paper's definitions; it "
        "gives intervals for alpha only, the others are ours."
    )
    return Table("emotions", "Each emotion", lead, columns, tuple(rows), "paper", brief=False)


def _by_alpha(figures: HqFigures) -> list[int]:
    return [int(e) for e in np.argsort(-np.nan_to_num(figures.alpha, nan=-9.0), kind="stable")]


def _reliability(figures: HqFigures) -> Table:
    columns = (figures.alpha, figures.humans, figures.agreement[MODEL], figures.rho[MODEL], figures.calibrated)
    rows: list[tuple[Cell, ...]] = []
    for name, low, high in RELIABILITY:
        at = (figures.alpha >= low) & (figures.alpha < high)
        means = [float(mean_known(c[at])) if at.any() else float("nan") for c in columns]
        rows.append((name, int(at.sum()), *means, ", ".join(NAMES[e] for e in np.flatnonzero(at).tolist())))
    lead = (
        "Where experts hardly agree there is little for a model to agree with: means over the emotions of each level."
    )
    titles = ("humans' alpha", "emotions", "alpha", "humans' kappa", "kappa", "Spearman", "calibrated kappa", "which")
    return Table("reliability", "By reliability of the experts", lead, titles, tuple(rows))


def _raters(figures: HqFigures) -> Table:
    rows = []
    for r, name in enumerate(figures.ratings.raters):
        agreement = figures.agreement[r]
        values = known(agreement)
        best = NAMES[int(np.nanargmax(agreement))] if len(values) else ""
        spread = float(values.std(ddof=1)) if len(values) > 1 else float("nan")
        middle = float(np.median(values)) if len(values) else float("nan")
        kind = "human" if figures.ratings.human[r] else "model"
        rho = float(mean_known(figures.rho[r]))
        rows.append((name, kind, float(mean_known(agreement)), spread, middle, rho, best))
    rows.sort(key=lambda row: -np.nan_to_num(row[2], nan=-9.0))
    lead = (
        "Mean, standard deviation and median over emotions of the kappa with all (other) humans; Spearman with the "
        "median of the (other) humans."
    )
    columns = ("rater", "kind", "kappa", "std", "median", "Spearman", "best emotion")
    return Table("raters", "Each rater", lead, columns, tuple(rows), "paper")


def _comparisons(figures: HqFigures) -> Table:
    rows = tuple(
        (c.rater, "human" if c.human else "model", c.difference, *c.interval, c.p) for c in figures.comparisons
    )
    lead = (
        "Kappas of a rater's pairs with humans minus those of the pairs of (other) humans: difference of means with "
        "its bootstrap interval, p of the two-sided Mann-Whitney test. A high p does not show that a rater is as good."
    )
    columns = ("rater", "kind", "difference", "low", "high", "p")
    return Table("comparisons", "Against the humans among them", lead, columns, rows, "paper", digits=4)


def _ours(figures: HqFigures) -> Table:
    measures = (figures.agreement[MODEL], figures.rounded, figures.calibrated, figures.dropped)
    rows: list[tuple[Cell, ...]] = [(NAMES[e], *(float(m[e]) for m in measures)) for e in _by_alpha(figures)]
    lead = (
        "Rounding moves values outside 0..7 to the ends and drops nothing. Calibration cuts the scores at the "
        "quantiles of the experts' levels on the other four of five folds."
    )
    columns = ("emotion", "truncated (paper)", "rounded", "calibrated, held out", "share dropped by truncation")
    return Table("beside_the_paper", "What the paper's kappa leaves out", lead, columns, tuple(rows), brief=False)


def _charts(figures: HqFigures) -> tuple[Chart, ...]:
    ratings = figures.ratings
    order = sorted(range(len(ratings.raters)), key=lambda r: (not ratings.human[r], _natural(ratings.raters[r])))
    names = [ratings.raters[r] for r in order]
    humans = int(ratings.human.sum())

    def heat() -> Pictures:
        return heat_map_png(heat_map(figures.kappa)[np.ix_(order, order)], names, humans)

    def emotions() -> Pictures:
        order = _by_alpha(figures)
        series = {
            "kappa of the model with humans, 95% interval": figures.agreement[MODEL],
            "kappa of humans among them": figures.humans,
            "Spearman with the median human": figures.rho[MODEL],
            "Krippendorff alpha of the humans": figures.alpha,
        }
        intervals = [interval(figures.agreement[MODEL][e], figures.kappa_b[:, e], CORRELATION) for e in order]
        return dots_png([NAMES[e] for e in order], intervals, {k: v[order] for k, v in series.items()}, reference=0)

    model, among, _ = figures.overall_kappa()
    words = f"Heat map of raters, humans first: humans among them {among:.2f}, the model with humans {model:.2f}"
    return (
        Chart("raters", "Mean weighted kappa of each pair of raters", words, heat, "paper"),
        Chart(
            "emotions", "Agreement for each emotion", "Kappa, alpha and Spearman of the 40 emotions", emotions, "paper"
        ),
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """A sort key by which human-2 comes before human-10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
