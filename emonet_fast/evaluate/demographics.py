"""Ours: scores and errors by the age, gender and ethnicity that the prompts of the generated faces asked for.

These columns are what an image generator was told, not measured attributes of anybody; a difference between groups
may come from the generator, from the experts or from the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ..datasets import DataSet, Kind
from ..errors import DataError
from ..optional import need
from .align import ImageId, align
from .annotations import binary_from_dataset, hq_from_dataset
from .metrics import Floats, mean_known
from .predictions import SLUGS, Predictions
from .ranking import best_f1, curve
from .resample import BOOTSTRAPS, SEED, Interval, count_chunks, interval

Texts = npt.NDArray[np.str_]
COLUMNS = ("age", "gender", "ethnicity")
CAVEAT = (
    "Age, gender and ethnicity are parameters of the prompts that these faces were generated from, not measured "
    "attributes of anybody."
)


@dataclass(frozen=True, slots=True)
class Against:
    """One measure of a group: its mean and the difference from the rest of the column, both with intervals.

    p: Mann and Whitney's two-sided test against the rest; p_holm: corrected for all groups, columns and measures.
    """

    mean: float
    interval: Interval
    difference: float
    difference_interval: Interval
    p: float
    p_holm: float = float("nan")


@dataclass(frozen=True, slots=True)
class Group:
    """One value of one column: n images, and what they are against the rest by measure ("score", "error")."""

    column: str
    value: str
    n: int
    by: dict[str, Against]


@dataclass(frozen=True, slots=True)
class EmotionTest:
    """One emotion, column and measure: the largest difference of group means and Kruskal and Wallis' test."""

    column: str
    emotion: int
    measure: str
    lowest: str
    highest: str
    spread: float
    p: float
    p_holm: float


@dataclass(frozen=True, slots=True)
class DemographicFigures:
    """What an error is: `error_is`, "" for a data set without experts, where only scores are compared."""

    source: str
    images: int
    error_is: str
    groups: tuple[Group, ...]
    tests: tuple[EmotionTest, ...]
    notes: tuple[str, ...]


def evaluate_demographics(
    predictions: Predictions,
    data: DataSet,
    *,
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
) -> DemographicFigures:
    """Compare scores and errors between groups.

    Raises:
        DataError: the data set has none of the columns, or the predictions do not fit it (see `align`).
        MissingPackageError: scipy is not installed (extra `eval`).
    """
    need("scipy", "emonet-fast evaluate demographics")
    ids, columns = [], {c: [] for c in COLUMNS}  # type: tuple[list[ImageId], dict[str, list[str]]]
    for record in data.records(images=False):
        ids.append(ImageId(record.file_name, record.key))
        for c in COLUMNS:
            columns[c].append(getattr(record.demographics, c))
    present = {c: np.array(v) for c, v in columns.items() if any(v)}
    if not present:
        raise DataError(f"{data.source} has no column {', '.join(COLUMNS)}; expected the published layout")
    aligned = align(predictions, ids, partial)
    errors, error_is = _errors(data, ids, aligned.values)
    values = {"score": aligned.values} | ({} if errors is None else {"error": errors})
    groups = [g for c, of in present.items() for g in _groups(c, of, values, bootstraps)]
    tests = [t for c, of in present.items() for t in _tests(c, of, values)]
    lacking = [c for c in COLUMNS if c not in present]
    notes = [*([f"the data set has no column {', '.join(lacking)}"] if lacking else []), *aligned.notes]
    return DemographicFigures(
        data.source, len(ids), error_is, _corrected_groups(groups), _corrected_tests(tests), tuple(notes)
    )


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down corrected p values, in the order given; NaN stays and is not counted.

    The i-th smallest of m becomes the largest of (m - j + 1) p_j over j <= i, at most 1. Source: Holm (1979).
    """
    values = np.array(p, dtype=np.float64)
    at = np.flatnonzero(~np.isnan(values))
    order = at[np.argsort(values[at], kind="stable")]
    corrected = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)), 1.0)
    values[order] = corrected
    out: list[float] = values.tolist()
    return out


def _errors(data: DataSet, ids: list[ImageId], scores: Floats) -> tuple[Floats | None, str]:
    """[N, 40] error of each score, NaN where nobody judged it, and what it is."""
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


def _groups(column: str, of: Texts, values: dict[str, Floats], bootstraps: int) -> list[Group]:
    """Every value of a column against the rest, by each image's mean over emotions."""
    names = _sorted(of)
    by: dict[str, list[Against]] = {
        m: _against_rest(np.asarray(mean_known(v, axis=1)), of, names, bootstraps) for m, v in values.items()
    }
    return [
        Group(column, name, int((of == name).sum()), {m: found[i] for m, found in by.items()})
        for i, name in enumerate(names)
    ]


def _against_rest(values: Floats, of: Texts, names: list[str], bootstraps: int) -> list[Against]:
    """One for each name. Resamples draw images of all groups, the same ones for every group."""
    from scipy.stats import mannwhitneyu

    use = (of != "") & ~np.isnan(values)
    v, inside = values[use], np.stack([of[use] == name for name in names], axis=1)
    columns = np.concatenate([inside * v[:, None], inside], axis=1)
    rng = np.random.default_rng(SEED)
    sums = np.concatenate([c @ columns for c in count_chunks(rng, len(v), bootstraps)])
    total, n = sums[:, : len(names)], sums[:, len(names) :]
    with np.errstate(invalid="ignore", divide="ignore"):
        inner = total / n
        outer = (total.sum(axis=1, keepdims=True) - total) / (n.sum(axis=1, keepdims=True) - n)
    out = []
    for i in range(len(names)):
        mine, rest = v[inside[:, i]], v[~inside[:, i]]
        enough = min(len(mine), len(rest)) > 1
        p = float(mannwhitneyu(mine, rest, alternative="two-sided").pvalue) if enough else float("nan")
        mean, other = float(mean_known(mine)), float(mean_known(rest))
        out.append(Against(mean, interval(inner[:, i]), mean - other, interval(inner[:, i] - outer[:, i]), p))
    return out


def _tests(column: str, of: Texts, values: dict[str, Floats]) -> list[EmotionTest]:
    from scipy.stats import kruskal

    out = []
    for measure, table in values.items():
        for e in range(table.shape[1]):
            samples = {v: table[(of == v) & ~np.isnan(table[:, e]), e] for v in _sorted(of)}
            samples = {v: s for v, s in samples.items() if len(s)}
            if len(samples) < 2:
                continue
            means = {v: float(s.mean()) for v, s in samples.items()}
            low, high = min(means, key=means.__getitem__), max(means, key=means.__getitem__)
            whole = np.concatenate(list(samples.values()))
            same = whole.min() == whole.max()  # the test is undefined there, and scipy raises or gives NaN
            p = float("nan") if same else float(kruskal(*samples.values()).pvalue)
            out.append(EmotionTest(column, e, measure, low, high, means[high] - means[low], p, float("nan")))
    return out


def _corrected_groups(groups: list[Group]) -> tuple[Group, ...]:
    keys = [(g, m) for g in groups for m in g.by]
    for (g, m), p in zip(keys, holm([g.by[m].p for g, m in keys]), strict=True):
        g.by[m] = replace(g.by[m], p_holm=p)
    return tuple(groups)


def _corrected_tests(tests: list[EmotionTest]) -> tuple[EmotionTest, ...]:
    corrected = holm([t.p for t in tests])
    made = [replace(t, p_holm=p) for t, p in zip(tests, corrected, strict=True)]
    return tuple(sorted(made, key=lambda t: (np.nan_to_num(t.p_holm, nan=2.0), np.nan_to_num(t.p, nan=2.0))))


def _sorted(of: Texts) -> list[str]:
    """The column's values; numbers (ages) by size."""
    found = sorted(set(of.tolist()) - {""})
    return sorted(found, key=int) if all(v.isdigit() for v in found) else found
