"""The times of frames: what the stream says, always going on.

Times are FFmpeg's best effort (`guess_correct_pts` of libavcodec/decode.c, as ffprobe shows it): presentation times, or
decoding times where those are missing or go back more often. AVI has no presentation times.
"""

import math
from fractions import Fraction

from .frames import Faults

DEFAULT_STEP = Fraction(1, 25)  # seconds between frames whose rate nobody says
# A step back beyond this, and beyond some frames, is a new beginning (clips that were joined), else one wrong time.
_BACK = Fraction(1, 4)
_FRAMES_BACK = 4


class Clock:
    """Gives each frame a time after that of the frame before. What it has to change is counted in `faults`.

    Args:
        step: seconds between two frames, until two times are known.
        faults: counts times that were estimated, and restarts.
    """

    def __init__(self, step: Fraction, faults: Faults) -> None:
        self._step, self._faults = step, faults
        self._last: Fraction | None = None
        self._shift = Fraction(0)  # what is added since the last restart
        self._latest: list[int | None] = [None, None]  # pts and dts
        self._wrong = [0, 0]

    def next(self, pts: int | None, dts: int | None, base: Fraction) -> int:
        """The time of the next frame in units of `base`, from its presentation and decoding times in the same units."""
        stamp = self._best(pts, dts)
        if stamp is None:
            at = Fraction(0) if self._last is None else self._last + self._step
            self._faults.estimated += 1
        else:
            at = self._going_on(stamp * base + self._shift, base)
        ticks = round(at / base)
        self._last = ticks * base
        return ticks

    def _best(self, pts: int | None, dts: int | None) -> int | None:
        for i, (stamp, other) in enumerate(((pts, dts), (dts, pts))):
            latest = self._latest[i]
            if stamp is not None:
                self._wrong[i] += latest is not None and stamp <= latest
                self._latest[i] = stamp
            elif other is not None:
                self._latest[i] = other
        return pts if pts is not None and (dts is None or self._wrong[0] <= self._wrong[1]) else dts

    def _going_on(self, at: Fraction, base: Fraction) -> Fraction:
        last = self._last
        if last is None:
            return at
        if at > last:
            self._step = at - last
            return at
        if last - at > max(_BACK, _FRAMES_BACK * self._step):
            self._faults.restarts += 1
            # In whole ticks, so that the times that follow stay exact.
            shift = math.ceil((last + self._step - at) / base) * base
            self._shift += shift
            return at + shift
        self._faults.estimated += 1
        return (math.floor(last / base) + 1) * base
