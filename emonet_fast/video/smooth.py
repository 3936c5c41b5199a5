"""Exponential smoothing in time, not in frames.

    s(t) = s(t0) + (1 - exp(-(t - t0) / tau)) (x(t) - s(t0))        s(first) = x(first)

so that a variable frame rate changes nothing. After a gap longer than `gap` a curve begins anew.
"""

import math
from collections import OrderedDict

import numpy as np

from ..records import Float64Array

# Tracks that are remembered; the one that was not seen for the longest time goes first.
_MAX_TRACKS = 256


class Smoother:
    """Smooths the scores of each track.

    Args:
        tau: time constant in seconds, above 0.
        gap: seconds without a value after which a track begins anew.
    """

    def __init__(self, tau: float, gap: float) -> None:
        self._tau, self._gap = tau, gap
        self._last: OrderedDict[int, tuple[float, Float64Array]] = OrderedDict()

    def __call__(self, track: int, seconds: float, values: Float64Array) -> Float64Array:
        """The smoothed values [D] of a track at a time; `values` come back where it begins (anew)."""
        before = self._last.pop(track, None)
        smooth = np.asarray(values, np.float64)
        if before is not None and 0 <= seconds - before[0] <= self._gap:
            weight = -math.expm1(-(seconds - before[0]) / self._tau)
            smooth = before[1] + weight * (smooth - before[1])
        self._last[track] = (seconds, smooth)
        if len(self._last) > _MAX_TRACKS:
            self._last.popitem(last=False)
        return smooth
