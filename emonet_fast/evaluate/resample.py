"""Bootstrap: resamples of images or of values, and their 95% intervals. Every random number has a named seed.

Source of the seed and of what is resampled: `statistics/analysis-hq.ipynb` of LAION-AI/emonet-face, which draws 1000
resamples with `numpy.random.default_rng(42)`. `Generator.choice(values, n)` draws the same numbers as
`Generator.integers(0, n, n)`, and one call for 1000 resamples draws the same as 1000 calls.
"""

from collections.abc import Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from .metrics import Floats, known, mean_known

SEED = 42
BOOTSTRAPS = 1000
_CHUNK = 1 << 22  # counts held at a time: 32 MB of float64

Interval: TypeAlias = tuple[float, float]
NO_INTERVAL: Interval = (float("nan"), float("nan"))


def drawn_counts(rng: np.random.Generator, n: int, bootstraps: int) -> Floats:
    """[bootstraps, n] how often each of n items is drawn in n draws with replacement."""
    drawn: npt.NDArray[np.int64] = rng.integers(0, n, size=(bootstraps, n))
    flat = (drawn + n * np.arange(bootstraps)[:, None]).ravel()
    return np.bincount(flat, minlength=n * bootstraps).reshape(bootstraps, n).astype(np.float64)


def count_chunks(rng: np.random.Generator, n: int, bootstraps: int) -> Iterator[Floats]:
    """The rows of `drawn_counts` in pieces, so that memory stays bounded."""
    step = max(1, _CHUNK // max(n, 1))
    for start in range(0, bootstraps, step):
        yield drawn_counts(rng, n, min(step, bootstraps - start))


def interval(values: Floats) -> Interval:
    """The 2.5 and 97.5 percentiles of the resamples in which the figure is defined; NaN if it is in none."""
    defined = known(values)
    if len(defined) == 0:
        return NO_INTERVAL
    low, high = np.percentile(defined, [2.5, 97.5])
    return float(low), float(high)


def mean_interval(values: Floats, bootstraps: int) -> Interval:
    """95% interval of the mean of the known values by resampling them; NaN with fewer than 2."""
    defined = known(values)
    size = len(defined)
    if size < 2:
        return NO_INTERVAL
    rng = np.random.default_rng(SEED)
    step = max(1, _CHUNK // size)
    rows = [min(step, bootstraps - start) for start in range(0, bootstraps, step)]
    return interval(np.concatenate([defined[rng.integers(0, size, (n, size))].mean(axis=1) for n in rows]))


def difference_interval(a: Floats, b: Floats, bootstraps: int) -> Interval:
    """95% interval of mean(a) - mean(b); each resample draws from a, then from b, as the notebook does."""
    if len(a) == 0 or len(b) == 0:
        return NO_INTERVAL
    rng = np.random.default_rng(SEED)
    differences = [
        a[rng.integers(0, len(a), len(a))].mean() - b[rng.integers(0, len(b), len(b))].mean() for _ in range(bootstraps)
    ]
    return interval(np.array(differences))


def across(resampled: Floats) -> Interval:
    """The interval of a mean over columns: [bootstraps, K] resamples of K figures."""
    return interval(np.asarray(mean_known(resampled, axis=1))) if resampled.size else NO_INTERVAL
