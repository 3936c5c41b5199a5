"""EmoNet-Face HQ: agreement of a model with experts, by the paper's definitions and, beside them, by ours.

Source: `statistics/analysis-hq.ipynb` of LAION-AI/emonet-face; published figures: the paper (NeurIPS 2025).
"""

from dataclasses import dataclass, replace

import numpy as np

from ..optional import need
from .agreement import compared_kappas, folds, held_out_levels, pairwise_kappa, rater_agreement, resampled_agreement
from .align import align
from .annotations import Ratings
from .metrics import (
    BOOTSTRAPS,
    SEED,
    Floats,
    Interval,
    alpha_of_sums,
    alpha_raters,
    count_chunks,
    difference_interval,
    mean_known,
    median_known,
    ratio,
    rounded,
    spearman,
    spearman_weighted,
    truncated,
    unit_sums,
)
from .predictions import Predictions

MODEL = -1  # the model's place among the raters: the last


@dataclass(frozen=True, slots=True)
class Comparison:
    """The kappas of a rater with the humans against the kappas of the humans among them, as published.

    Args:
        rater: name of the rater.
        human: whether the rater is a human, who is then compared with the other humans.
        difference: mean of the rater's kappas minus mean of the humans' kappas.
        interval: 95% interval of the difference.
        p: of Mann and Whitney's two-sided test.
    """

    rater: str
    human: bool
    difference: float
    interval: Interval
    p: float


@dataclass(frozen=True, slots=True)
class HqFigures:
    """The figures of HQ for R raters with the model last, N images, 40 emotions and B resamples of images.

    Args:
        ratings: who rated what, the model among them.
        kappa: [40, R, R] kappa of each pair of raters after truncation.
        agreement: [R, 40] mean kappa of each rater with the (other) humans.
        humans: [40] mean agreement of the humans among them.
        rounded: [40] the model's agreement with rounding instead of truncation.
        kappa_b: [B, 40] the model's agreement in each resample.
        human_kappa_b: [B, 40] the humans' agreement in each resample.
        rho: [R, 40] Spearman of each rater against the median of the (other) humans.
        rho_b: [B, 40] the model's Spearman in each resample.
        alpha: [40] Krippendorff's alpha of the humans.
        alpha_b: [B, 40] alpha in each resample.
        calibrated: [40] the model's agreement after calibration on the other folds.
        dropped: [40] share of the model's pairs that truncation drops.
        comparisons: every rater against the humans, the largest difference first.
        notes: what a reader must know.
    """

    ratings: Ratings
    kappa: Floats
    agreement: Floats
    humans: Floats
    rounded: Floats
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

    def overall_kappa(self) -> tuple[float, float, float]:
        """Mean over emotions of the model's kappa, of the humans' kappa, and of the model's kappa with rounding."""
        model, humans, rounded = (float(mean_known(v)) for v in (self.agreement[MODEL], self.humans, self.rounded))
        return model, humans, rounded


def hq_figures(
    predictions: Predictions,
    ratings: Ratings,
    *,
    name: str = "predictions",
    partial: bool = False,
    bootstraps: int = BOOTSTRAPS,
) -> HqFigures:
    """Compare predictions with the raters of HQ. name: what the model is called among the raters."""
    need("scipy", "emonet-fast evaluate hq")
    ratings = _sorted(ratings)
    scores, notes = align(predictions, ratings.images, partial)
    joined = _with_model(ratings, scores, name)
    human = joined.human
    levels = truncated(joined.values)
    kappa = pairwise_kappa(levels)
    agreement = rater_agreement(kappa, human)
    kappa_b, human_b, rho_b = _resampled(joined, levels, bootstraps)
    alpha, alpha_b = _alphas(ratings, bootstraps)
    return HqFigures(
        ratings=joined,
        kappa=kappa,
        agreement=agreement,
        humans=np.asarray(mean_known(agreement[human], axis=0)),
        rounded=rater_agreement(pairwise_kappa(rounded(joined.values)), human)[MODEL],
        kappa_b=kappa_b,
        human_kappa_b=human_b,
        rho=_spearmans(joined),
        rho_b=rho_b,
        alpha=alpha,
        alpha_b=alpha_b,
        calibrated=_calibrated(joined, levels),
        dropped=_dropped(joined, levels),
        comparisons=_comparisons(joined, kappa, bootstraps),
        notes=(*ratings.notes, *notes),
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
    emotions = range(levels.shape[2])
    humans, model, scores = levels[ratings.human], levels[MODEL], ratings.values[MODEL]
    median = median_known(ratings.values[ratings.human], axis=0)
    kappa, human, rho = [], [], []
    for counts in count_chunks(np.random.default_rng(SEED), levels.shape[1], bootstraps):
        both = [resampled_agreement(humans[:, :, e], model[:, e], counts) for e in emotions]
        kappa.append(np.stack([of_model for of_model, _ in both], axis=1))
        human.append(np.stack([among for _, among in both], axis=1))
        rho.append(np.stack([spearman_weighted(scores[:, e], median[:, e], counts) for e in emotions], axis=1))
    return np.concatenate(kappa), np.concatenate(human), np.concatenate(rho)


def _spearmans(ratings: Ratings) -> Floats:
    """[R, 40] of each rater against the median human; of a human against the median of the others (ours)."""
    out = []
    for r, values in enumerate(ratings.values):
        others = ratings.human & (np.arange(len(ratings.raters)) != r)
        median = median_known(ratings.values[others], axis=0)
        out.append([spearman(values[:, e], median[:, e]) for e in range(values.shape[1])])
    return np.array(out)


def _alphas(ratings: Ratings, bootstraps: int) -> tuple[Floats, Floats]:
    """Alpha of the humans [40] and its resamples [B, 40]: one generator for all emotions, in the published order."""
    humans = ratings.values[ratings.human]
    emotions = humans.shape[2]
    alpha, resampled = np.full(emotions, np.nan), np.full((bootstraps, emotions), np.nan)
    rng = np.random.default_rng(SEED)
    for e in ratings.order:
        kept = alpha_raters(humans[:, :, e])
        if len(kept) < 2:
            continue  # the notebook draws nothing for it either
        sums = unit_sums(kept)
        alpha[e] = alpha_of_sums(sums.sum(axis=0))
        drawn = [alpha_of_sums(counts @ sums) for counts in count_chunks(rng, len(sums), bootstraps)]
        resampled[:, e] = np.concatenate(drawn)
    return alpha, resampled


def _calibrated(ratings: Ratings, levels: Floats) -> Floats:
    """[40] kappa of the model with humans after calibration on the other folds."""
    fold = folds(levels.shape[1])
    calibrated = levels.copy()
    for e in range(levels.shape[2]):
        calibrated[MODEL, :, e] = held_out_levels(ratings.values[MODEL, :, e], levels[ratings.human, :, e], fold)
    return np.asarray(rater_agreement(pairwise_kappa(calibrated), ratings.human)[MODEL])


def _dropped(ratings: Ratings, levels: Floats) -> Floats:
    """[40] share of (image, human) pairs with both ratings that have no level after truncation."""
    rated = ~np.isnan(ratings.values)
    kept = ~np.isnan(levels)
    pairs = (rated[MODEL] & rated[ratings.human]).sum(axis=(0, 1))
    used = (kept[MODEL] & kept[ratings.human]).sum(axis=(0, 1))
    return 1.0 - ratio(used, pairs)


def _comparisons(ratings: Ratings, kappa: Floats, bootstraps: int) -> tuple[Comparison, ...]:
    """Every model against all pairs of humans; every human against the pairs without that human."""
    from scipy.stats import mannwhitneyu

    out = []
    for r, rater in enumerate(ratings.raters):
        with_humans, among = compared_kappas(kappa, ratings, r)
        enough = len(with_humans) > 1 and len(among) > 1
        p = float(mannwhitneyu(with_humans, among, alternative="two-sided").pvalue) if enough else float("nan")
        difference = float(mean_known(with_humans) - mean_known(among))
        bounds = difference_interval(with_humans, among, bootstraps)
        out.append(Comparison(rater, bool(ratings.human[r]), difference, bounds, p))
    return tuple(sorted(out, key=lambda c: -np.nan_to_num(c.difference, nan=-9.0)))
