"""The figures of Binary, any-hit and demographics as results: what is shown, and whose definition it is."""

import numpy as np

from .any_hit import CUTOFF, AnyHitFigures
from .binary import MEASURES, BinaryFigures, Detection, overall_shares
from .charts import Pictures, dots_png, grouped_png, stacked_png
from .demographics import CAVEAT, DemographicFigures
from .metrics import NO_INTERVAL, SHARE, Floats, Ints, across, interval, mean_known, ratio
from .predictions import NAMES
from .result import Cell, Chart, Figure, Result, Table, noted

_LABELS = {
    "auc": "ROC AUC",
    "average_precision": "Average precision",
    "best_f1": "F1 at the best threshold",
    "fixed_f1": "F1 at the fixed threshold",
}
_PUBLISHED_HITS = {"FERD": "0.7829 (152 images)", "AffectNet": "0.7572 (31,002 images)"}


def binary_result(figures: BinaryFigures, source: str) -> Result:
    """Everything of `binary_figures` to show. source: where the predictions came from."""
    answers = figures.answers
    facts = {
        "predictions": source,
        "annotations": answers.source,
        "images": str(len(answers.images)),
        "annotators": str(answers.annotators),
        "answers": str(answers.answers),
        "fixed threshold": f"{figures.fixed:g}",
        "pairs without a majority": str(figures.ties),
    }
    sets = (("clear", "triple-positive against true-negative pairs", figures.clear), ("all", "all pairs", figures.all))
    macro = [
        Figure(
            f"{slug}_{m}", f"{_LABELS[m]}, macro, {name}", float(mean_known(d.value[m])),
            across(d.value[m], d.resampled[m], SHARE),
        )
        for slug, name, d in sets
        for m in MEASURES
    ]  # fmt: skip
    shares = overall_shares(figures.agreement)
    agreement = [
        Figure(s, f"Annotators' pairs: {s}", shares[s], origin="paper", digits=6)
        for s in ("agreement", "partial", "disagreement")
    ]
    tables = [agreement_rows(figures.agreement), *(_detection(slug, name, d) for slug, name, d in sets)]
    notes = figures.notes
    if figures.ties:
        notes = (*notes, f"{figures.ties} pairs with as many yes as no count as negative among all pairs")
    return noted(Result(
        "binary", "EmoNet-Face Binary: finding what experts see", facts, (*macro, *agreement), tuple(tables),
        _binary_charts(figures), notes,
    ))  # fmt: skip


def agreement_rows(agreement: dict[str, Ints]) -> Table:
    """The annotators' agreement of each emotion, the least agreed first, and of all."""
    rows: list[tuple[Cell, ...]] = []
    for e in _by(ratio(agreement["agreement"], agreement["pairs"])):
        shares = overall_shares({kind: counts[e] for kind, counts in agreement.items()})
        rows.append((NAMES[e], int(agreement["pairs"][e]), *shares.values()))
    rows.append(("all", int(agreement["pairs"].sum()), *overall_shares(agreement).values()))
    lead = (
        "Pairs of image and emotion with more than one answer. Two or three equal answers agree, 2:1 is partial, "
        "1:1 disagrees, more than three answers are other."
    )
    columns = ("emotion", *agreement)
    return Table("agreement", "Agreement of the annotators", lead, columns, tuple(rows), "paper", digits=6, brief=False)


def _detection(slug: str, name: str, detection: Detection) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for e in _by(-np.nan_to_num(detection.value["auc"], nan=-1.0)):
        cells: list[Cell] = [NAMES[e], int(detection.positives[e]), int(detection.negatives[e])]
        for m in MEASURES:
            cells += [
                float(detection.value[m][e]),
                *interval(detection.value[m][e], detection.resampled[m][:, e], SHARE),
            ]
        rows.append((*cells, float(detection.threshold[e])))
    measures = ("AUC", "AP", "best F1", "fixed F1")
    columns = ("emotion", "positive", "negative", *(c for m in measures for c in (m, f"{m} low", f"{m} high")))
    lead = (
        "Highest AUC first. Intervals: resamples of the emotion's pairs, 95%. The best F1 has its threshold chosen on "
        "the same pairs, so it flatters."
    )
    return Table(
        f"detection_{slug}", f"Each emotion, {name}", lead, (*columns, "best threshold"), tuple(rows), brief=False
    )


def _binary_charts(figures: BinaryFigures) -> tuple[Chart, ...]:
    agreement = figures.agreement
    pairs = agreement["pairs"]
    labels = {"agreement": "agreement", "partial": "partial 2:1", "disagreement": "disagreement 1:1", "other": "other"}
    shares = {label: ratio(agreement[kind], pairs) for kind, label in labels.items()}
    order = _by(-np.nan_to_num(shares["agreement"], nan=-1.0))

    def stacked() -> Pictures:
        parts = [(label, v[order]) for label, v in shares.items() if np.nansum(v) > 0]
        return stacked_png([NAMES[e] for e in order], parts, [f"n = {int(pairs[e])}" for e in order])

    def auc() -> Pictures:
        value, resampled = figures.clear.value["auc"], figures.clear.resampled["auc"]
        at = [e for e in _by(-np.nan_to_num(value, nan=-1.0)) if not np.isnan(value[e])]
        label = "ROC AUC, triple-positive against true-negative pairs, 95% interval"
        intervals = [interval(value[e], resampled[:, e], SHARE) for e in at]
        return dots_png([NAMES[e] for e in at], intervals, {"AUC": value[at]}, label, 0.5)

    return (
        Chart("auc", "ROC AUC of each emotion", "ROC AUC of each emotion with its interval; 0.5 is chance", auc),
        Chart("agreement", "Agreement of the annotators", "Shares of agreement for each emotion", stacked, "paper"),
    )


def any_hit_result(figures: AnyHitFigures, source: str, labels: str) -> Result:
    """Everything of `any_hit_figures` to show. source, labels: where predictions and labels came from."""
    mapping, overall, per = figures.mapping, figures.overall(), figures.by_class()
    facts = {
        "predictions": source,
        "labels": labels,
        "mapping": mapping.name,
        "mapped heads": str(mapping.heads),
        "cutoff": f"{CUTOFF / mapping.heads:.4f}",
        "images": str(len(figures.true)),
        "source of the mapping": mapping.source,
    }
    ours = {
        "shuffled": "The same scores on shuffled images, same rule",
        "noise": "Random scores, same rule",
        "balanced_any_hit": "Any-hit accuracy, mean over classes",
        "argmax": "Accuracy of the strongest head",
        "balanced_argmax": "Balanced accuracy of the strongest head",
        "chance_argmax": "Chance, one of the classes",
    }
    bounds, published = figures.intervals, _PUBLISHED_HITS.get(mapping.name, "")
    values = [Figure("any_hit", "Any-hit accuracy", overall["any_hit"], bounds["any_hit"], "paper", published, 4)]
    values += [
        Figure(slug, label, overall[slug], bounds.get(slug, NO_INTERVAL), digits=4) for slug, label in ours.items()
    ]
    rows = tuple(
        (
            name, int(figures.counts[c]), len(emotions), float(per["any_hit"][c]), float(per["shuffled"][c]),
            float(figures.noise[c]), float(per["argmax"][c]), ", ".join(emotions),
        )
        for c, (name, emotions) in enumerate(mapping.classes.items())
    )  # fmt: skip
    lead = (
        "Any-hit asks whether any head of the class is above the cutoff, so classes with many heads are easy; the "
        "shuffled scores show how easy. Heads are the emotions mapped to the class."
    )
    columns = ("class", "images", "heads", "any-hit", "shuffled", "random", "argmax", "emotions")
    table = Table("classes", "Each class", lead, columns, rows, digits=4)

    def chart() -> Pictures:
        labels = {"any_hit": "any-hit", "argmax": "strongest head", "shuffled": "shuffled, any-hit"}
        return grouped_png(list(mapping.classes), [(n, np.nan_to_num(per[k])) for k, n in labels.items()])

    words = "For each class: any-hit accuracy, accuracy of the strongest head, any-hit of shuffled scores"
    charts = (Chart("classes", "Accuracy by class", words, chart),)
    title = f"Any-hit accuracy: {mapping.name}"
    return noted(Result("any-hit", title, facts, tuple(values), (table,), charts, figures.notes))


def demographics_result(figures: DemographicFigures, source: str) -> Result:
    """Everything of `demographic_figures` to show. source: where the predictions came from."""
    measures = [m for m in ("score", "error") if m == "score" or figures.error_is]
    facts = {"predictions": source, "data set": figures.source, "images": str(figures.images)}
    facts |= {"an error is": figures.error_is} if figures.error_is else {}
    tables = [_group_table(figures, m) for m in measures]
    rows = tuple(
        (t.column, NAMES[t.emotion], t.measure, t.lowest, t.highest, t.spread, t.p, t.p_holm) for t in figures.tests
    )
    lead = (
        "Kruskal-Wallis tests of all groups of a column, smallest corrected p first; p is corrected by Holm's method "
        "for all emotions, columns and measures together."
    )
    columns = ("column", "emotion", "measure", "lowest", "highest", "difference of means", "p", "p corrected")
    tests = Table("emotions", "Each emotion", lead, columns, rows, digits=4, brief=False)
    significant = tuple(
        Figure(
            f"significant_{kind.lower()}",
            f"{kind}: tests with corrected p < 0.05, of {len(of_kind)}",
            float(sum(test.p_holm < 0.05 for test in of_kind)),
            digits=0,
        )
        for kind, of_kind in (("Groups", figures.groups), ("Emotions", figures.tests))
    )
    return Result(
        "demographics", "Scores and errors by prompt parameters", facts, significant, (*tables, tests),
        tuple(_group_chart(figures, m) for m in measures), (CAVEAT, *figures.notes),
    )  # fmt: skip


def _group_table(figures: DemographicFigures, measure: str) -> Table:
    rows = tuple(
        (g.column, g.value, g.n, g.mean, *g.interval, g.difference, *g.difference_interval, g.p, g.p_holm)
        for g in figures.groups
        if g.measure == measure
    )
    lead = (
        f"{CAVEAT} Mean over emotions of each image's {measure}, 95% intervals over resampled images; Mann-Whitney "
        "tests against the rest of the column, corrected by Holm's method for all groups, columns and measures."
    )
    columns = (
        "column", "value", "images", "mean", "low", "high", "minus rest", "difference low", "difference high", "p",
        "p corrected",
    )  # fmt: skip
    return Table(f"groups_{measure}", f"Mean {measure} by group", lead, columns, rows)


def _group_chart(figures: DemographicFigures, measure: str) -> Chart:
    def draw() -> Pictures:
        groups = [g for g in figures.groups if g.measure == measure]
        names = [f"{g.column}: {g.value} ({g.n})" for g in groups]
        means = np.array([g.mean for g in groups])
        return dots_png(names, [g.interval for g in groups], {"mean": means}, f"mean {measure}, 95% interval")

    return Chart(
        f"groups_{measure}", f"Mean {measure} by group", f"Mean {measure} of each group with its interval", draw
    )


def _by(values: Floats) -> list[int]:
    return [int(e) for e in np.argsort(values, kind="stable")]
