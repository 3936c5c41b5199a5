"""Agreement and rank correlation, each for one pair of raters or one table of ratings; and their resamples.

Missing ratings are NaN, and so is a figure that is undefined (constant raters, nothing to compare). Sources: the
notebook `statistics/analysis-hq.ipynb` of LAION-AI/emonet-face for which figures, how they are averaged, and 1000 draws
of `default_rng(42)`; Cohen (1968) for the weighted kappa; Krippendorff (2011) for alpha; Spearman (1904).
"""

import math
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..records import Float64Array

Floats = Float64Array
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

Interval: TypeAlias = tuple[float, float]

LEVELS = 8  # ratings 0..7
SEED = 42
BOOTSTRAPS = 1000
NO_INTERVAL: Interval = (float("nan"), float("nan"))
# The lowest and highest value of a correlation or kappa, of a share, of an error; for `interval`.
CORRELATION, SHARE, ERROR = (-1.0, 1.0), (0.0, 1.0), (0.0, math.inf)
_CHUNK = 1 << 22  # counts held at a time: 32 MB of float64
_CACHED = 1 << 16  # numbers worked on at once: 0.5 MB


def truncated(values: Floats) -> Floats:
    """The paper's levels: truncated toward zero. What is then outside 0..7 has no level (NaN) and is dropped."""
    levels = np.trunc(values)
    return np.where((levels >= 0) & (levels < LEVELS), levels + 0.0, np.nan)  # + 0.0: no -0.0


def rounded(values: Floats) -> Floats:
    """Our levels: the nearest one, halves upward. Values outside move to 0 or 7, so nothing is dropped."""
    return np.clip(np.floor(values + 0.5), 0, LEVELS - 1)


def kappa_of_sums(sums: Floats) -> Floats:
    """Quadratic weighted kappa of two raters a and b, from sums over the images that both rated.

        kappa = 1 - sum_ij (i-j)^2 O_ij / sum_ij (i-j)^2 E_ij
              = 1 - n sum (a-b)^2 / (n sum a^2 + n sum b^2 - 2 sum a sum b)

    The second line follows from E_ij = n_i. n_.j / n. All sums are whole numbers, so the figure is exact up to
    one division; NaN where both raters gave one and the same level to everything, or nothing. sums: [..., 6], of 1, a,
    b, a^2, b^2 and ab.
    """
    n, sa, sb, saa, sbb, sab = np.moveaxis(sums, -1, 0)
    observed = n * (saa + sbb - 2 * sab)
    expected = n * saa + n * sbb - 2 * sa * sb
    return 1.0 - ratio(observed, expected)


def unit_sums(ratings: Floats) -> Floats:
    """[N, 4] for ratings [R, N]: per image with at least 2 ratings m, sum s, sum of squares q, disagreement.

    The disagreement is 2 (m q - s^2) / (m - 1), the squared differences of all ordered pairs over m - 1. The mean of
    all ratings is subtracted first: alpha does not change by it, and differences of sums stay exact enough.
    """
    rated = ~np.isnan(ratings)
    m = rated.sum(axis=0).astype(np.float64)
    centre = float(ratings[rated].mean()) if rated.any() else 0.0
    x = np.where(rated, ratings - centre, 0.0)
    s, q = x.sum(axis=0), (x * x).sum(axis=0)
    pairable = m >= 2
    gap = np.where(pairable, 2 * (m * q - s * s) / np.where(pairable, m - 1, 1.0), 0.0)
    return np.asarray(np.stack([m, s, q, np.maximum(gap, 0.0)], axis=1) * pairable[:, None])


def alpha_of_sums(sums: Floats) -> Floats:
    """Krippendorff's alpha at the interval level, from [..., 4] sums of `unit_sums` over images.

    alpha = 1 - (n - 1) sum of disagreements / (2 (n sum of squares - sum^2)); NaN where all ratings are equal.
    """
    n, s, q, gap = np.moveaxis(sums, -1, 0)
    expected = 2 * (n * q - s * s)
    # A resample of one single value leaves a rounding error of about 1e-16 of n q; real spread leaves far more.
    varies = expected > 1e-12 * n * q
    return 1.0 - ratio((n - 1) * gap, np.where(varies, expected, 0.0))


def alpha_raters(ratings: Floats) -> Floats:
    """The rows of [R, N] with at least 2 ratings: the notebook leaves other raters out."""
    return np.asarray(ratings[(~np.isnan(ratings)).sum(axis=1) >= 2])


def spearman(x: Floats, y: Floats) -> float:
    """Spearman's rank correlation of [N] and [N], mean ranks for ties; see `spearman_weighted`."""
    return float(spearman_weighted(x, y, np.ones((1, len(x))))[0])


def spearman_weighted(x: Floats, y: Floats, counts: Floats) -> Floats:
    """[B] Spearman correlations of resamples of x [N], y [N]; counts [B, N]: how often each image was drawn.

    Images with a NaN are dropped. NaN with fewer than 2 images or where one side is constant.
    """
    both = ~(np.isnan(x) | np.isnan(y))
    if both.sum() < 2:
        return np.full(len(counts), np.nan)
    x, y, counts = x[both], y[both], counts[:, both]
    # A few resamples at a time: their tables then stay in the processor's cache (twice as fast).
    step = max(1, _CACHED // len(x))
    return np.concatenate([_spearman_weighted(x, y, counts[i : i + step]) for i in range(0, len(counts), step)])


def _spearman_weighted(x: Floats, y: Floats, counts: Floats) -> Floats:
    rx, ry = resampled_ranks(x, counts), resampled_ranks(y, counts)
    # Ranks of n draws have the mean (n + 1) / 2 with or without ties; exact, as ranks are halves.
    centre = (counts.sum(axis=1, keepdims=True) + 1) / 2
    rx -= centre
    ry -= centre
    weighted = counts * rx
    xy = np.einsum("bn,bn->b", weighted, ry)
    xx = np.einsum("bn,bn->b", weighted, rx)
    yy = np.einsum("bn,bn,bn->b", counts, ry, ry)
    varies = (xx > 0) & (yy > 0)
    rho = xy / np.sqrt(np.where(varies, xx, 1.0)) / np.sqrt(np.where(varies, yy, 1.0))
    return np.where(varies, np.clip(rho, -1.0, 1.0), np.nan)


def resampled_ranks(values: Floats, counts: Floats) -> Floats:
    """[B, N] mean ranks, from 1, that each value of [N] has within each resample."""
    _, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(group[order]) > 0])
    drawn = np.add.reduceat(counts[:, order], starts, axis=1)
    upto = np.cumsum(drawn, axis=1)
    ranks: Floats = (upto - (drawn - 1) / 2)[:, group]
    return ranks


def ratio(top: npt.NDArray[Any], bottom: npt.NDArray[Any]) -> Floats:
    """top / bottom; NaN where bottom is not above 0."""
    return np.asarray(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), np.nan))


def known(values: Floats) -> Floats:
    """The values that are not NaN, flat."""
    return np.asarray(values[~np.isnan(values)], dtype=np.float64)


def mean_known(values: Floats, axis: int | tuple[int, ...] | None = None) -> Any:
    """Mean over what is not NaN; NaN where nothing is. (`numpy.nanmean` without its warning.)"""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.nanmean(values, axis=axis)


def median_known(values: Floats, axis: int) -> Floats:
    """Median over what is not NaN; NaN where nothing is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmedian(values, axis=axis))


def count_chunks(rng: np.random.Generator, n: int, bootstraps: int) -> Iterator[Floats]:
    """[B, n] how often each of n items is drawn in n draws with replacement, in pieces of `bootstraps` resamples.

    One call draws the same numbers as one `Generator.choice(values, n)` for each resample, as the notebook has it.
    """
    step = max(1, _CHUNK // max(n, 1))
    for start in range(0, bootstraps, step):
        rows = min(step, bootstraps - start)
        flat = rng.integers(0, n, size=(rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(flat.ravel(), minlength=n * rows).reshape(rows, n).astype(np.float64)


def percentiles(values: Floats) -> Interval:
    """The paper's interval: percentiles 2.5 and 97.5 of the resamples in which the figure is defined; NaN without."""
    defined = known(values)
    if len(defined) == 0:
        return NO_INTERVAL
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def interval(value: float, resampled: Floats, ends: Interval = (-math.inf, math.inf)) -> Interval:
    """Our 95% interval of a figure: percentiles of its resamples, whose median is moved onto the figure; NaN without.

    A resample repeats images and so has fewer different ones, which shifts kappas by more than their spread: 0.293
    stood in an interval of 0.251 to 0.277. Efron's corrections (BC, BCa) hold such a figure no better, and shrink to
    its resamples' end: 0.771 got 0.774 to 0.775.

    ends: the lowest and highest value that the figure can have; the move would else give a correlation above 1.
    """
    defined = known(resampled)
    if len(defined) == 0 or np.isnan(value):
        return NO_INTERVAL
    low, middle, high = np.percentile(defined, [2.5, 50, 97.5])
    return float(max(value + (low - middle), ends[0])), float(min(value + (high - middle), ends[1]))


def mean_interval(values: Floats, bootstraps: int) -> Interval:
    """95% interval of the mean of the known values by resampling them; NaN with fewer than 2."""
    defined = known(values)
    size = len(defined)
    if size < 2:
        return NO_INTERVAL
    rng = np.random.default_rng(SEED)
    step = max(1, _CHUNK // size)
    rows = [min(step, bootstraps - start) for start in range(0, bootstraps, step)]
    return percentiles(np.concatenate([defined[rng.integers(0, size, (n, size))].mean(axis=1) for n in rows]))


def difference_interval(a: Floats, b: Floats, bootstraps: int) -> Interval:
    """95% interval of mean(a) - mean(b); each resample draws from a, then from b, as the notebook does."""
    if len(a) == 0 or len(b) == 0:
        return NO_INTERVAL
    rng = np.random.default_rng(SEED)
    differences = [
        a[rng.integers(0, len(a), len(a))].mean() - b[rng.integers(0, len(b), len(b))].mean() for _ in range(bootstraps)
    ]
    return percentiles(np.array(differences))


def across(value: Floats, resampled: Floats, ends: Interval = (-math.inf, math.inf)) -> Interval:
    """The interval of the mean over K figures [K], of which there are resamples [bootstraps, K]. ends: see interval."""
    return interval(float(mean_known(value)), np.asarray(mean_known(resampled, axis=1)), ends)
