"""EmoNet-Face HQ: agreement of a model with experts, by the paper's own definitions and beside them ours.

Source: `statistics/analysis-hq.ipynb` of LAION-AI/emonet-face; published figures: the paper (NeurIPS 2025).
"""

from dataclasses import dataclass, replace

import numpy as np

from ..optional import need
from .agreement import (
    Pairwise,
    human_agreement,
    human_human,
    model_human,
    pairwise_kappa,
    rater_agreement,
    resampled_agreement,
)
from .align import align
from .annotations import Ratings
from .calibrate import folds, held_out_levels
from .metrics import (
    Floats,
    alpha_of_sums,
    alpha_raters,
    interval_alpha,
    mean_known,
    median_known,
    rounded,
    spearman,
    spearman_weighted,
    truncated,
    unit_sums,
)
from .predictions import Predictions
from .resample import BOOTSTRAPS, SEED, Interval, count_chunks, difference_interval

Intervals = tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A rater's kappas with humans against the kappas of humans among them, as published.

    difference of the means, its interval, and the two-sided p of Mann and Whitney's test.
    """

    rater: str
    human: bool
    difference: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class HqFigures:
    """Everything that is computed; R raters with the model last, 40 emotions, B resamples of images.

    values [R, N, 40]; median [N, 40] of the humans; pairs and pairs_rounded: kappas after truncation and rounding;
    kappa_b, human_kappa_b, rho_b [B, 40]; rho [R, 40] against the median of the (other) humans; alpha [40] and
    alpha_b [B, 40]; calibrated [40]; dropped [40]: share of the model's pairs that truncation drops.
    """

    ratings: Ratings
    values: Floats
    pairs: Pairwise
    pairs_rounded: Pairwise
    kappa_b: Floats
    human_kappa_b: Floats
    rho: Floats
    rho_b: Floats
    alpha: Floats
    alpha_b: Floats
    calibrated: Floats
    dropped: Floats
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]

    @property
    def model(self) -> int:
        """The model's place among the raters."""
        return len(self.ratings.raters) - 1


def evaluate_hq(
    predictions: Predictions,
    ratings: Ratings,
    *,
    name: str = "predictions",
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
) -> HqFigures:
    """Compare predictions with the raters of HQ.

    name: what the model is called among the raters. bootstraps: resamples for each interval.

    Raises:
        DataError: the predictions lack images or emotions, or do not fit the images (see `align`).
        MissingPackageError: scipy is not installed (extra `eval`).
    """
    need("scipy", "emonet-fast evaluate hq")
    ratings = _sorted(ratings)
    aligned = align(predictions, ratings.images, partial)
    joined = _with_model(ratings, aligned.values, name)
    levels = truncated(joined.values)
    pairs = pairwise_kappa(levels)
    kappa_b, human_b, rho_b = _resampled(joined, levels, bootstraps)
    alpha, alpha_b = _alphas(ratings, bootstraps)
    return HqFigures(
        ratings=joined,
        values=joined.values,
        pairs=pairs,
        pairs_rounded=pairwise_kappa(rounded(joined.values)),
        kappa_b=kappa_b,
        human_kappa_b=human_b,
        rho=_spearmans(joined),
        rho_b=rho_b,
        alpha=alpha,
        alpha_b=alpha_b,
        calibrated=_calibrated(joined),
        dropped=_dropped(joined, levels),
        comparisons=_comparisons(joined, pairs, bootstraps),
        notes=(*ratings.notes, *aligned.notes),
    )


def _sorted(ratings: Ratings) -> Ratings:
    """Images by name, as pandas sorts them in the notebook: resamples draw places, so their order counts.

    Images that no human rated are left out there, too.
    """
    rated = ~np.isnan(ratings.values[ratings.human]).all(axis=(0, 2))
    order = sorted(np.flatnonzero(rated).tolist(), key=lambda i: str(ratings.images[i]))
    return replace(
        ratings, images=tuple(ratings.images[i] for i in order), values=np.ascontiguousarray(ratings.values[:, order])
    )


def _with_model(ratings: Ratings, values: Floats, name: str) -> Ratings:
    while name in ratings.raters:
        name += " (predictions)"
    return replace(
        ratings,
        raters=(*ratings.raters, name),
        human=np.append(ratings.human, False),
        values=np.concatenate([ratings.values, values[None]]),
    )


def _resampled(ratings: Ratings, levels: Floats, bootstraps: int) -> tuple[Floats, Floats, Floats]:
    """[B, 40] of the model's kappa, the humans' kappa and the model's Spearman: the same draws for every emotion."""
    images, emotions = levels.shape[1:]
    model = len(ratings.raters) - 1
    median = median_known(ratings.values[ratings.human], axis=0)
    kappa, human, rho = ([] for _ in range(3))
    for counts in count_chunks(np.random.default_rng(SEED), images, bootstraps):
        both = [resampled_agreement(levels[:, :, e], ratings.human, model, counts) for e in range(emotions)]
        kappa.append(np.stack([k for k, _ in both], axis=1))
        human.append(np.stack([h for _, h in both], axis=1))
        rho.append(np.stack([_rho(ratings.values[model, :, e], median[:, e], counts) for e in range(emotions)], axis=1))
    return np.concatenate(kappa), np.concatenate(human), np.concatenate(rho)


def _rho(x: Floats, y: Floats, counts: Floats) -> Floats:
    known = ~(np.isnan(x) | np.isnan(y))
    if known.sum() < 2:
        return np.full(len(counts), np.nan)
    return spearman_weighted(x[known], y[known], counts[:, known])


def _spearmans(ratings: Ratings) -> Floats:
    """[R, 40] of each rater against the median human; of a human against the median of the others (ours)."""
    humans = np.flatnonzero(ratings.human).tolist()
    whole = median_known(ratings.values[humans], axis=0)
    out = []
    for r, mine in enumerate(ratings.values):
        others = [h for h in humans if h != r]
        median = whole if len(others) == len(humans) else _median_or_none(ratings.values[others], whole)
        out.append([spearman(mine[:, e], median[:, e]) for e in range(mine.shape[1])])
    return np.array(out)


def _median_or_none(values: Floats, like: Floats) -> Floats:
    return median_known(values, axis=0) if len(values) else np.full_like(like, np.nan)


def _alphas(ratings: Ratings, bootstraps: int) -> tuple[Floats, Floats]:
    """Alpha of the humans [40] and its resamples [B, 40]: one generator for all emotions, in the published order."""
    humans = ratings.values[ratings.human]
    emotions = humans.shape[2]
    alpha = np.array([interval_alpha(humans[:, :, e]) for e in range(emotions)])
    resampled = np.full((bootstraps, emotions), np.nan)
    rng = np.random.default_rng(SEED)
    for e in ratings.order:
        kept = alpha_raters(humans[:, :, e])
        if len(kept) < 2:
            continue  # the notebook draws nothing for it either
        sums = unit_sums(kept)
        drawn = [alpha_of_sums(counts @ sums) for counts in count_chunks(rng, len(sums), bootstraps)]
        resampled[:, e] = np.concatenate(drawn)
    return alpha, resampled


def _calibrated(ratings: Ratings) -> Floats:
    """[40] kappa of the model with humans after calibration on the other folds."""
    model = len(ratings.raters) - 1
    levels = truncated(ratings.values)
    fold = folds(levels.shape[1])
    humans = levels[ratings.human]
    moved = levels.copy()
    for e in range(levels.shape[2]):
        moved[model, :, e] = held_out_levels(ratings.values[model, :, e], humans[:, :, e], fold)
    return np.asarray(rater_agreement(pairwise_kappa(moved).kappa, ratings.human)[model])


def _dropped(ratings: Ratings, levels: Floats) -> Floats:
    """[40] share of (image, human) pairs with both ratings that have no level after truncation."""
    model = len(ratings.raters) - 1
    rated = ~np.isnan(ratings.values)
    kept = ~np.isnan(levels)
    pairs = (rated[model] & rated[ratings.human]).sum(axis=(0, 1)).astype(np.float64)
    used = (kept[model] & kept[ratings.human]).sum(axis=(0, 1))
    return np.where(pairs > 0, 1.0 - used / np.where(pairs > 0, pairs, 1.0), np.nan)


def _comparisons(ratings: Ratings, pairs: Pairwise, bootstraps: int) -> tuple[Comparison, ...]:
    """Every model against all pairs of humans; every human against the pairs without that human."""
    from scipy.stats import mannwhitneyu

    everybody = human_human(pairs.kappa, ratings.human, ratings.raters, ratings.order)
    out = []
    for r, rater in enumerate(ratings.raters):
        human = bool(ratings.human[r])
        mine = model_human(pairs.kappa, ratings.human, r, ratings.order)
        theirs = (
            human_human(pairs.kappa, ratings.human, ratings.raters, ratings.order, without=r) if human else everybody
        )
        enough = len(mine) > 1 and len(theirs) > 1
        p = float(mannwhitneyu(mine, theirs, alternative="two-sided").pvalue) if enough else float("nan")
        difference = float(mean_known(mine) - mean_known(theirs))
        out.append(Comparison(rater, human, difference, difference_interval(mine, theirs, bootstraps), p))
    return tuple(sorted(out, key=lambda c: -np.nan_to_num(c.difference, nan=-9.0)))


def overall_kappa(figures: HqFigures) -> tuple[float, float, float]:
    """Mean over emotions of the model's kappa, of the humans' and of the model's after rounding."""
    human = figures.ratings.human
    model = rater_agreement(figures.pairs.kappa, human)[figures.model]
    near = rater_agreement(figures.pairs_rounded.kappa, human)[figures.model]
    humans = human_agreement(figures.pairs.kappa, human)
    return float(mean_known(model)), float(mean_known(humans)), float(mean_known(near))
