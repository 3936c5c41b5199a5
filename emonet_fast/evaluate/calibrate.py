"""Calibration (ours): scores become the experts' levels by thresholds from other images.

Truncated raw scores say little about a model that is right in order and wrong in scale. So the scores of each fold
are cut at thresholds that give, on the other folds, the experts' own shares of levels.
"""

import numpy as np
import numpy.typing as npt

from .metrics import LEVELS, Floats
from .resample import SEED

FOLDS = 5


def folds(n: int) -> npt.NDArray[np.int64]:
    """[n] fold of each image: equal sizes, shuffled with a fixed seed."""
    return np.random.default_rng(SEED).permutation(n) % FOLDS


def thresholds(scores: Floats, levels: Floats) -> Floats:
    """[7] where levels 1..7 begin, so that as large a share of the scores reaches a level as of the experts' levels.

    Args:
        scores: [N].
        levels: any shape, NaN where an expert gave no level.

    Returns:
        Thresholds; infinite where no expert, or every expert, reaches the level.
    """
    known = levels[~np.isnan(levels)]
    rising = np.sort(scores)
    below = np.array([(known < k).mean() for k in range(1, LEVELS)])
    at = np.minimum(np.ceil(below * len(rising)).astype(np.int64), len(rising) - 1)
    return np.where(below >= 1.0, np.inf, np.where(below <= 0.0, -np.inf, rising[at]))


def held_out_levels(scores: Floats, levels: Floats, fold: npt.NDArray[np.int64]) -> Floats:
    """[N] levels 0..7 of scores, calibrated on the other folds; NaN without a score or without experts.

    Args:
        scores: [N], NaN where there is none.
        levels: [H, N] of the experts, NaN where they gave none.
        fold: [N] fold of each image.
    """
    out = np.full(len(scores), np.nan)
    known = ~np.isnan(scores)
    rated = ~np.isnan(levels).all(axis=0) if len(levels) else np.zeros(len(scores), dtype=bool)
    for k in np.unique(fold).tolist():
        train = known & rated & (fold != k)
        test = known & (fold == k)
        if train.any():
            cuts = thresholds(scores[train], levels[:, train])
            out[test] = (scores[test][:, None] >= cuts).sum(axis=1)
    return out
