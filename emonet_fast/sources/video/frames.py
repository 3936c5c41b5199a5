"""What every source of video gives: frames with their true time, and which of them are sampled."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ...records import UInt8Array
from .cuts import CutFinder

# Ticks of this share of a cell, or smaller, are roundings of times.
_FINE = 8


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame.

    Args:
        index: how many frames were decoded before it.
        pts: its time in units of `time_base`, exactly as the stream says it; it need not begin at 0. Where the stream
            says none, it continues the frame before.
        time_base: seconds of one unit.
        rgb: gives [H, W, 3] uint8 RGB, upright, with square pixels; it converts at each call.
        chosen: whether the frame is sampled, so scored; the others are for an overlay only.
        scene: frames between two cuts have one number; 0 everywhere where no cuts are looked for.
        arrived: time.perf_counter() at which the frame was decoded.
    """

    index: int
    pts: int
    time_base: Fraction
    rgb: Callable[[], UInt8Array]
    chosen: bool = True
    scene: int = 0
    arrived: float = field(default_factory=time.perf_counter)

    @property
    def time(self) -> Fraction:
        """Seconds, exact."""
        return self.pts * self.time_base

    @property
    def seconds(self) -> float:
        """Seconds, rounded to a float."""
        return float(self.time)


@dataclass(frozen=True, slots=True)
class Sound:
    """A packet of the audio that belongs to the frames around it, as PyAV gave it."""

    packet: Any


@dataclass(slots=True)
class Faults:
    """What went wrong while a source was read.

    Args:
        broken: packets that could not be decoded.
        dropped: frames of a live source that were too old.
        estimated: frames without a time of their own, or with one that is not after the frame before.
        restarts: how often the times began anew, as of clips that were joined; they go on instead.
        ended: why reading stopped early; "" at a true end.
        notes: what else whoever reads the rows must know.
    """

    broken: int = 0
    dropped: int = 0
    estimated: int = 0
    restarts: int = 0
    ended: str = ""
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Fact:
    """What was decided about a video's pixels.

    Args:
        text: for people and metadata.
        noted: whether a run says it; what most videos have stands in the metadata alone.
    """

    text: str
    noted: bool = True


class VideoSource:
    """Frames in the order of their times, with the sound between them where that is wanted.

    Attributes:
        name: for keys and tables.
        live: the source does not wait for its reader.
        every: the source gives the frames that are not sampled, and the sound, too.
        begin: seconds of its own time at which it says to begin.
        duration: seconds; None where that is unknown.
        contents: what is known of it at once, for people: container, codec and size, audio.
        rotation: degrees by which a player turns the frames; None before the first frame.
        audio: the first audio stream, as PyAV gives it; None without one.
        rate: frames a second as the stream says, which may be wrong: for encoders and estimates only.
        cuts: finds cuts; None where they are not looked for.
        faults: what went wrong so far.
        patient: the source may wait for minutes between its opening and its first frame, as no server or camera does.
        facts: what was decided about the pixels, by name: colours, interlaced, cropped.
    """

    patient = True
    begin: float = 0.0
    contents: tuple[str, ...] = ("frames in memory",)
    rotation: int | None = None
    duration: float | None = None
    audio: Any = None
    rate: Fraction | None = None

    def __init__(self, name: str, sampling: "Sampling", every: bool, live: bool, cuts: bool = False) -> None:
        self.name, self.every, self.live = name, every, live
        self.faults = Faults()
        self.cuts = CutFinder() if cuts else None
        self.facts: dict[str, Fact] = {}
        self._sampling = sampling

    def __iter__(self) -> Iterator[Frame | Sound]:
        raise NotImplementedError

    def _choice(self, at: Fraction, tick: Fraction) -> bool | None:
        """Whether the next frame, at this time in whole ticks, is sampled; None where it is not given at all."""
        chosen = self._sampling.take(at, tick)
        return chosen if chosen or (self.every and not self._sampling.before(at)) else None

    def close(self) -> None:
        """Free the decoder and its threads; may be called twice."""


class Sampling:
    """Which frames are sampled: by their time, never by counting. One for each run over a source.

    The first sampled frame anchors a grid of 1 / fps, and of each cell of the grid the first frame is sampled. This is
    exact in fractions, so that nothing drifts, and right for a variable frame rate. Times are rounded to ticks, both
    the anchor and the frame's: so a frame may come a tick early. A tick of a frame's length (AVI) is not rounded, and
    half a tick is enough.

    Args:
        fps: sampled frames a second of the stream's time; None takes all.
        start: seconds of the stream's own time; earlier frames are left out.
        end: seconds of the stream's own time; later frames are left out.
    """

    def __init__(self, fps: float | None = None, start: float | None = None, end: float | None = None) -> None:
        self._rate = None if fps is None else Fraction(fps).limit_denominator(100_000)
        self._start = None if start is None else Fraction(start).limit_denominator(10**9)
        self._end = None if end is None else Fraction(end).limit_denominator(10**9)
        self._anchor: Fraction | None = None
        self._cell = -1

    def over(self, at: Fraction) -> bool:
        """Whether a frame at this time lies after the end, and so all that follow."""
        return self._end is not None and at > self._end

    def before(self, at: Fraction) -> bool:
        """Whether a frame at this time lies before the start."""
        return self._start is not None and at < self._start

    def take(self, at: Fraction, tick: Fraction) -> bool:
        """Whether the next frame is sampled, whose time this is, in whole ticks of so many seconds."""
        if self.before(at) or self.over(at):
            return False
        if self._rate is None:
            return True
        if self._anchor is None:
            self._anchor, self._cell = at, 0
            return True
        early = tick if _FINE * tick * self._rate <= 1 else tick / 2
        cell = math.floor((at - self._anchor + early) * self._rate)
        if cell <= self._cell:
            return False
        self._cell = cell
        return True
