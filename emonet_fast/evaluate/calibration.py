"""Whether predictions mean what they say: the line through truth over prediction, and the mean gap between them.

Resamples come as counts, as in `ranking`. The bins are those of scikit-learn's `calibration_curve` with the strategy
"quantile", the error is the expected calibration error of Naeini, Cooper and Hauskrecht (2015) over them, and the line
is that of least squares. All three suit shares (0..1, beside yes and no) and ratings (0..7) alike.
"""

import numpy as np

from .metrics import Floats, Ints, ratio

BINS = 10


def line(predicted: Floats, observed: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """[B] slopes and [B] intercepts of observed over predicted; perfect ones are 1 and 0, NaN where predictions are
    constant.

    Args:
        predicted: [N] predictions.
        observed: [N] the truth, on their scale.
        counts: [B, N] how often each resample draws each row; ones for the sample itself.
    """
    centre = predicted.mean() if len(predicted) else 0.0
    x = predicted - centre
    n, sx, sy, sxx, sxy = (counts @ np.stack([np.ones_like(x), x, observed, x * x, x * observed], axis=1)).T
    spread = n * sxx - sx * sx
    # Rounding of a constant leaves about 1e-16 of n sxx.
    slope = ratio(n * sxy - sx * sy, np.where(spread > 1e-12 * n * sxx, spread, 0.0))
    return slope, ratio(sy - slope * sx, n) - slope * centre


def bins_of(predicted: Floats, bins: int = BINS) -> Ints:
    """[N] the bin of each prediction: as many rows in each as equal predictions allow, which share one."""
    edges = np.quantile(predicted, np.linspace(0, 1, bins + 1)) if len(predicted) else np.zeros(bins + 1)
    return np.searchsorted(edges[1:-1], predicted)


def reliability_curve(predicted: Floats, observed: Floats, bins: int = BINS) -> tuple[Floats, Floats, Floats]:
    """Mean prediction, mean truth, and rows of each bin that has some, by rising prediction."""
    at = bins_of(predicted, bins)
    n, sx, sy = (np.bincount(at, weights, minlength=bins) for weights in (None, predicted, observed))
    filled = n > 0
    return sx[filled] / n[filled], sy[filled] / n[filled], n[filled].astype(np.float64)


def error(predicted: Floats, observed: Floats, counts: Floats, bins: int = BINS) -> Floats:
    """[B] expected calibration error: the mean over rows of |mean prediction - mean truth| of the row's bin; NaN
    without rows. The bins are those of the sample. Takes what `line` does."""
    return error_of_sums(counts @ gaps(predicted, observed, bins))


def gaps(predicted: Floats, observed: Floats, bins: int = BINS) -> Floats:
    """[N, 1 + bins]: for each row 1, and prediction less truth in the place of its bin; `error` is of sums of these."""
    inside = bins_of(predicted, bins)[:, None] == np.arange(bins)
    return np.concatenate([np.ones((len(predicted), 1)), inside * (predicted - observed)[:, None]], axis=1)


def error_of_sums(sums: Floats) -> Floats:
    """The expected calibration error of [..., 1 + bins] sums of `gaps` over rows."""
    return ratio(np.abs(sums[..., 1:]).sum(axis=-1), sums[..., 0])
