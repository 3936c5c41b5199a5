"""Quadratic weighted kappa of every pair of raters for every emotion, and its resamples over images.

Source: `statistics/analysis-hq.ipynb` of LAION-AI/emonet-face. The agreement of a rater for an emotion is the mean
over the humans (for a human: over the other humans). Undefined pairs are left out. The overall figure is the mean
over emotions.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from .annotations import Ratings
from .metrics import LEVELS, SEED, Bools, Floats, Ints, kappa_of_sums, known, mean_known

FOLDS = 5


def pairwise_kappa(levels: Floats) -> Floats:
    """[E, R, R] of levels [R, N, E]; NaN on the diagonal and for pairs with fewer than 2 images in common."""
    kappas = []
    for e in range(levels.shape[2]):
        a = levels[:, :, e]
        m = (~np.isnan(a)).astype(np.float64)
        a = np.where(m > 0, a, 0.0)
        s = a * a
        sums = np.stack([m @ m.T, a @ m.T, m @ a.T, s @ m.T, m @ s.T, a @ a.T], axis=-1)
        kappa = np.where(sums[..., 0] >= 2, kappa_of_sums(sums), np.nan)
        np.fill_diagonal(kappa, np.nan)
        kappas.append(kappa)
    return np.array(kappas)


def rater_agreement(kappa: Floats, human: Bools) -> Floats:
    """[R, E] mean over the (other) humans, from kappa [E, R, R]."""
    return np.asarray(mean_known(kappa[:, :, human], axis=2)).T


def heat_map(kappa: Floats) -> Floats:
    """[R, R] mean over emotions, 1 on the diagonal, as the paper draws it."""
    mean = np.asarray(mean_known(kappa, axis=0))
    np.fill_diagonal(mean, 1.0)
    return mean


def compared_kappas(kappa: Floats, ratings: Ratings, rater: int) -> tuple[Floats, Floats]:
    """The defined kappas of one rater with the (other) humans, and of all pairs of these humans, each pair once."""
    names, ordered = ratings.raters, kappa[list(ratings.order)]
    humans = [h for h in np.flatnonzero(ratings.human).tolist() if h != rater]
    pairs = np.array([(a, b) for a in humans for b in humans if names[a] < names[b]], dtype=np.int64).reshape(-1, 2)
    return known(ordered[:, rater, humans].T), known(ordered[:, pairs[:, 0], pairs[:, 1]].T)


def resampled_agreement(humans: Floats, model: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """For one emotion: [B] agreement of the model [N] with the humans [H, N], and [B] of the humans among them."""
    size = len(humans)
    first, second = np.triu_indices(size, k=1)
    a = np.concatenate([np.full(size, size), first])  # the model stands behind the humans
    b = np.concatenate([np.arange(size), second])
    kappa = _resampled_kappa(np.vstack([humans, model]), a, b, counts)
    square = np.full((len(counts), size, size), np.nan)
    square[:, first, second] = square[:, second, first] = kappa[:, size:]
    among = mean_known(mean_known(square, axis=2), axis=1)
    return np.asarray(mean_known(kappa[:, :size], axis=1)), np.asarray(among)


def _resampled_kappa(levels: Floats, a: Ints, b: Ints, counts: Floats) -> Floats:
    """[B, P] kappas of the pairs of raters a, b [P]: each sum over images is a product with the counts."""
    # Sums of whole numbers below 2^24 are exact in float32, whose products take half the time: 342,000 images.
    exact = np.float32 if counts.shape[1] * (LEVELS - 1) ** 2 < 2**24 else np.float64
    rated = ~np.isnan(levels.T)
    m: npt.NDArray[Any] = rated.astype(exact)
    x: npt.NDArray[Any] = np.where(rated, levels.T, 0.0).astype(exact)
    s = x * x
    drawn: npt.NDArray[Any] = counts.astype(exact)
    products = ((m, m), (x, m), (m, x), (s, m), (m, s), (x, x))
    sums = np.stack([(drawn @ (p[:, a] * q[:, b])).astype(np.float64) for p, q in products], axis=-1)
    return np.where(sums[..., 0] >= 2, kappa_of_sums(sums), np.nan)


def folds(n: int) -> Ints:
    """[n] fold of each image: equal sizes, shuffled with a fixed seed."""
    return np.random.default_rng(SEED).permutation(n) % FOLDS


def thresholds(scores: Floats, levels: Floats) -> Floats:
    """[7] where levels 1..7 begin, so that as large a share of scores [N] reaches a level as of the experts' levels.

    Infinite where no expert, or every expert, reaches the level.
    """
    known_levels = known(levels)
    rising = np.sort(scores)
    below = np.array([(known_levels < k).mean() for k in range(1, LEVELS)])
    at = np.minimum(np.ceil(below * len(rising)).astype(np.int64), len(rising) - 1)
    return np.where(below >= 1.0, np.inf, np.where(below <= 0.0, -np.inf, rising[at]))


def held_out_levels(scores: Floats, levels: Floats, fold: Ints) -> Floats:
    """[N] levels 0..7 of scores [N], calibrated on the other folds by the experts' levels [H, N]; NaN where unknown.

    Ours: truncation says little about a model that is right in order and wrong in scale.
    """
    out = np.full(len(scores), np.nan)
    scored = ~np.isnan(scores)
    rated = ~np.isnan(levels).all(axis=0) if len(levels) else np.zeros(len(scores), dtype=bool)
    for k in np.unique(fold).tolist():
        train = scored & rated & (fold != k)
        test = scored & (fold == k)
        if train.any():
            cuts = thresholds(scores[train], levels[:, train])
            out[test] = (scores[test][:, None] >= cuts).sum(axis=1)
    return out
