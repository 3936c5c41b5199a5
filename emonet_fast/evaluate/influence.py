"""How much one row moves a rank figure: what resamples of many rows are computed by, without ranking each anew.

With F the influence, a resample that draws row k c_k times has, to the first order in 1 / N,

    figure of the resample = figure + sum_k c_k F_k / sum_k c_k

Sources: Hampel (1974) for influence; the ranks' own change is part of it, as in Croux and Dehon (2010) for Spearman's
correlation, here for mid-ranks, so that ties are right; DeLong, DeLong and Clarke-Pearson (1988) for the AUC.
"""

import numpy as np

from .metrics import Bools, Floats


def spearman_influence(x: Floats, y: Floats) -> Floats:
    """[N] of Spearman's correlation of x [N] and y [N], mean ranks for ties; NaN where one side is constant."""
    u, v = _centred(x), _centred(y)
    uu, vv, uv = float(np.mean(u * u)), float(np.mean(v * v)), float(np.mean(u * v))
    if uu <= 0 or vv <= 0:
        return np.full(len(x), np.nan)
    rho = uv / np.sqrt(uu * vv)
    of_uv = u * v + _above(x, v) + _above(y, u) - 3 * uv
    of_uu = u * u + 2 * _above(x, u) - 3 * uu
    of_vv = v * v + 2 * _above(y, v) - 3 * vv
    influence: Floats = of_uv / np.sqrt(uu * vv) - rho / 2 * (of_uu / uu + of_vv / vv)
    return influence


def auc_influence(scores: Floats, positive: Bools) -> Floats:
    """[N] of the area under the ROC curve, ties counted half; NaN without positives or without negatives."""
    n, p = len(scores), int(positive.sum())
    if not 0 < p < n:
        return np.full(n, np.nan)
    weight = np.where(positive, 0.0, n / (n - p))
    beaten = float(weight.sum()) / n - _above(scores, weight)  # share of negatives below a row, ties half
    beating = _above(scores, np.where(positive, n / p, 0.0))  # share of positives above a row
    auc = float(beaten[positive].mean())
    influence: Floats = np.where(positive, (beaten - auc) * n / p, (beating - auc) * n / (n - p))
    return influence


def _centred(values: Floats) -> Floats:
    """[N] the share of rows below each one, ties half, less its mean of a half."""
    return 0.5 - _above(values, np.ones(len(values)))


def _above(values: Floats, weights: Floats) -> Floats:
    """[N] the mean over all rows of the weights of rows with a higher value than this one; equal ones count half."""
    levels, group = np.unique(values, return_inverse=True)
    of_level = np.bincount(group, weights, minlength=len(levels))
    upto = np.cumsum(of_level)
    above: Floats = ((upto[-1] - upto + of_level / 2) / len(values))[group] if len(levels) else np.zeros(0)
    return above
