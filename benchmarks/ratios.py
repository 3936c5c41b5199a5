"""Ratios of times with their intervals, by bootstrap of the rounds.

Contestants that were timed in turns share their rounds: round i of one is divided by round i of the other, so that what
drifts (clocks, heat, other programs) cancels, and whole rounds are drawn. Others are drawn each by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

RESAMPLES = 4000
INTERVAL = 0.95
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Ratio:
    """How many times as fast as its baseline a benchmark is; above 1 is faster.

    Args:
        value: the ratio.
        low: the lower end of the bootstrap's 95%.
        high: the upper end.
        quartiles: of the single rounds' ratios; where rounds are not shared, low and high.
    """

    value: float
    low: float
    high: float
    quartiles: tuple[float, float]

    def record(self) -> dict[str, float]:
        figures = {"value": self.value, "low": self.low, "high": self.high}
        figures |= {"q1": self.quartiles[0], "q3": self.quartiles[1]}
        return {name: round(value, 6) for name, value in figures.items()}


def ratio(baseline: Sequence[float], own: Sequence[float], *, paired: bool, quantile: float = 0.5) -> Ratio:
    """baseline / own, both in seconds, one value a round. paired: round i of both ran side by side.

    quantile 0.5: the median of the rounds' ratios where paired, else the ratio of medians. Another: the ratio of that
    quantile of either side; a low one looks at the rounds that nothing disturbed.

    Raises:
        ValueError: when there are no rounds, rounds of no time, or paired ones of different number.
    """
    drawn = draws(baseline, own, paired=paired, quantile=quantile)
    low, high = interval(drawn)
    a, b = (np.asarray(values, np.float64) for values in (baseline, own))
    if not paired or quantile != 0.5:
        return Ratio(float(np.quantile(a, quantile) / np.quantile(b, quantile)), low, high, (low, high))
    q1, q3 = (float(q) for q in np.quantile(a / b, (0.25, 0.75)))
    return Ratio(float(np.median(a / b)), low, high, (q1, q3))


def draws(
    baseline: Sequence[float], own: Sequence[float], *, paired: bool, quantile: float = 0.5, seed: int = 0
) -> Float64:
    """[RESAMPLES] ratios as `ratio` says, of rounds drawn with replacement: the same of both sides where paired."""
    a, b = (np.asarray(values, np.float64) for values in (baseline, own))
    if not len(a) or not len(b) or not (np.isfinite(a).all() and np.isfinite(b).all()) or min(a.min(), b.min()) <= 0:
        raise ValueError("expected at least one round on either side, all of more than 0 seconds")
    if paired and len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} rounds came; expected as many on both sides of paired ones")
    rng = np.random.default_rng(seed)
    picked = rng.integers(0, len(a), (RESAMPLES, len(a)))
    others = picked if paired else rng.integers(0, len(b), (RESAMPLES, len(b)))
    if paired and quantile == 0.5:
        medians: Float64 = np.median((a / b)[picked], axis=1)
        return medians
    return np.quantile(a[picked], quantile, axis=1) / np.quantile(b[others], quantile, axis=1)


def interval(drawn: Float64) -> tuple[float, float]:
    """The middle INTERVAL of the draws."""
    tail = (1 - INTERVAL) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    return float(low), float(high)
