"""Scores and errors by the age, gender and ethnicity in the prompts that the faces were generated from (ours).

These columns are what an image generator was told, not measured attributes of anybody. A difference between groups
may come from the generator, from the experts or from the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from ..datasets import DataSet, Kind
from ..errors import DataError
from ..optional import need
from .align import ImageId, align
from .annotations import binary_from_dataset, hq_from_dataset
from .metrics import BOOTSTRAPS, SEED, Floats, Interval, count_chunks, interval, known, mean_known
from .predictions import SLUGS, Predictions
from .ranking import best_f1, curve

Texts = npt.NDArray[np.str_]
COLUMNS = ("age", "gender", "ethnicity")
CAVEAT = (
    "Age, gender and ethnicity are parameters of the prompts that these faces were generated from, not measured "
    "attributes of anybody."
)


@dataclass(frozen=True, slots=True)
class Group:
    """One measure of the images with one value of one column, against the rest of the column.

    Args:
        column: age, gender or ethnicity.
        value: of that column.
        measure: "score" or "error".
        n: number of images.
        mean: of the group.
        interval: 95% interval of the mean.
        difference: mean of the group minus mean of the rest.
        difference_interval: 95% interval of the difference.
        p: of Mann and Whitney's two-sided test against the rest.
        p_holm: p corrected for all groups, columns and measures.
    """

    column: str
    value: str
    measure: str
    n: int
    mean: float
    interval: Interval
    difference: float
    difference_interval: Interval
    p: float
    p_holm: float = float("nan")


@dataclass(frozen=True, slots=True)
class EmotionTest:
    """One emotion, column and measure: the largest difference of group means and Kruskal and Wallis' test.

    Args:
        column: age, gender or ethnicity.
        emotion: place of the emotion among the 40.
        measure: "score" or "error".
        lowest: group with the lowest mean.
        highest: group with the highest mean.
        spread: difference of these two means.
        p: of the test.
        p_holm: p corrected for all emotions, columns and measures.
    """

    column: str
    emotion: int
    measure: str
    lowest: str
    highest: str
    spread: float
    p: float
    p_holm: float = float("nan")


_Test = TypeVar("_Test", Group, EmotionTest)


@dataclass(frozen=True, slots=True)
class DemographicFigures:
    """The figures of the demographic columns.

    Args:
        source: the data set.
        images: number of its images.
        error_is: what an error is, in words; "" for a data set without experts, where only scores are compared.
        groups: every measure of every value of every column.
        tests: every emotion of every column and measure, the smallest corrected p first.
        notes: what a reader must know.
    """

    source: str
    images: int
    error_is: str
    groups: tuple[Group, ...]
    tests: tuple[EmotionTest, ...]
    notes: tuple[str, ...]


def demographic_figures(
    predictions: Predictions, data: DataSet, *, partial: bool = False, bootstraps: int = BOOTSTRAPS
) -> DemographicFigures:
    """Compare scores and errors between groups; raises DataError when the data set has none of the columns."""
    need("scipy", "emonet-fast evaluate demographics")
    ids: list[ImageId] = []
    columns: dict[str, list[str]] = {c: [] for c in COLUMNS}
    for record in data.records(images=False):
        ids.append(ImageId(record.file_name, record.key))
        for c in COLUMNS:
            columns[c].append(getattr(record.demographics, c))
    present = {c: np.array(v) for c, v in columns.items() if any(v)}
    if not present:
        raise DataError(f"{data.source} has no column {', '.join(COLUMNS)}; expected the published layout")
    scores, notes = align(predictions, ids, partial)
    errors, error_is = _errors(data, ids, scores)
    values = {"score": scores} | ({} if errors is None else {"error": errors})
    groups: list[Group] = []
    tests: list[EmotionTest] = []
    for column, texts in present.items():
        for measure, table in values.items():
            groups += _groups(column, texts, measure, np.asarray(mean_known(table, axis=1)), bootstraps)
            tests += _tests(column, texts, measure, table)
    lacking = [c for c in COLUMNS if c not in present]
    if lacking:
        notes = (f"the data set has no column {', '.join(lacking)}", *notes)
    tests = sorted(_corrected(tests), key=lambda t: (np.nan_to_num(t.p_holm, nan=2.0), np.nan_to_num(t.p, nan=2.0)))
    return DemographicFigures(data.source, len(ids), error_is, tuple(_corrected(groups)), tuple(tests), notes)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down corrected p values, in the same order; NaN stays and is not counted.

    The i-th smallest of m becomes the largest of (m - j + 1) p_j over j <= i, at most 1. Source: Holm (1979).
    """
    values = np.array(p, dtype=np.float64)
    at = np.flatnonzero(~np.isnan(values))
    order = at[np.argsort(values[at], kind="stable")]
    values[order] = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1.0)
    return list(values.tolist())


def _errors(data: DataSet, ids: list[ImageId], scores: Floats) -> tuple[Floats | None, str]:
    """[N, 40] error of each score, NaN where nobody judged it, and what an error is."""
    if data.kind == Kind.HQ:
        ratings = hq_from_dataset(data, partial=True)
        mean = np.asarray(mean_known(ratings.values, axis=0))
        return np.abs(scores - mean), "the absolute difference from the experts' mean rating, on the scale 0..7"
    if data.kind == Kind.BIG:
        return None, ""
    answers = binary_from_dataset(data)
    at = {image.key: i for i, image in enumerate(ids)}
    rows = np.array([at[image.key] for image in answers.images])[answers.image]
    truth = np.full(scores.shape, np.nan)
    truth[rows, answers.emotion] = 2 * answers.yes > answers.total
    out = np.full(scores.shape, np.nan)
    for e in range(len(SLUGS)):
        use = ~np.isnan(truth[:, e]) & ~np.isnan(scores[:, e])
        if use.any():
            s, yes = scores[use, e], truth[use, e] == 1
            _, threshold = best_f1(curve(s, yes, np.ones((1, len(s)))))
            out[use, e] = (s >= threshold[0]) != yes if yes.any() else np.nan
    return out, "the share of pairs decided otherwise than most experts, at each emotion's threshold of best F1"


def _groups(column: str, texts: Texts, measure: str, values: Floats, bootstraps: int) -> list[Group]:
    """Every value of a column against the rest, by values [N]. Resamples draw images of all groups together."""
    from scipy.stats import mannwhitneyu

    names = _sorted(texts)
    use = (texts != "") & ~np.isnan(values)
    v, inside = values[use], np.stack([texts[use] == name for name in names], axis=1)
    columns = np.concatenate([inside * v[:, None], inside], axis=1)
    rng = np.random.default_rng(SEED)
    sums = np.concatenate([c @ columns for c in count_chunks(rng, len(v), bootstraps)])
    total, n = sums[:, : len(names)], sums[:, len(names) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        inner = total / n
        outer = (total.sum(axis=1, keepdims=True) - total) / (n.sum(axis=1, keepdims=True) - n)
    out = []
    for i, name in enumerate(names):
        group, rest = v[inside[:, i]], v[~inside[:, i]]
        enough = min(len(group), len(rest)) > 1
        p = float(mannwhitneyu(group, rest, alternative="two-sided").pvalue) if enough else float("nan")
        mean, other = float(mean_known(group)), float(mean_known(rest))
        intervals = interval(mean, inner[:, i]), interval(mean - other, inner[:, i] - outer[:, i])
        size = int((texts == name).sum())
        out.append(Group(column, name, measure, size, mean, intervals[0], mean - other, intervals[1], p))
    return out


def _tests(column: str, texts: Texts, measure: str, table: Floats) -> list[EmotionTest]:
    from scipy.stats import kruskal

    out = []
    for e in range(table.shape[1]):
        samples = {v: s for v in _sorted(texts) if len(s := known(table[texts == v, e]))}
        if len(samples) < 2:
            continue
        means = {v: float(s.mean()) for v, s in samples.items()}
        low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
        whole = np.concatenate(list(samples.values()))
        same = whole.min() == whole.max()  # the test is then undefined, and scipy raises or gives NaN
        p = float("nan") if same else float(kruskal(*samples.values()).pvalue)
        out.append(EmotionTest(column, e, measure, low, high, means[high] - means[low], p))
    return out


def _corrected(tests: list[_Test]) -> list[_Test]:
    return [replace(t, p_holm=p) for t, p in zip(tests, holm([t.p for t in tests]), strict=True)]


def _sorted(texts: Texts) -> list[str]:
    """The values of a column; numbers (ages) by size."""
    values = sorted(set(texts.tolist()) - {""})
    return sorted(values, key=int) if all(v.isdigit() for v in values) else values
