"""What the page of a video run is made from, collected in bounded memory: time bins that widen, a few small pictures.

Each video has one axis of at most BINS bins. The first frames decide their width. When a time beyond it comes, the
bins are joined in pairs and their width doubles, for all tracks of the video together. For each track and emotion the
strongest moment is kept with a thumbnail, by raw score and by softmax: the other kinds of values follow (`kinds.py`).
"""

from dataclasses import dataclass, field

import numpy as np

from ..baseline import Baseline
from ..records import Float64Array, Status, UInt8Array
from ..thumbnails import encoded, thumbnail
from ..timeline import Timeline
from .kinds import Kinds

BINS = 240
_NARROWEST = 0.02  # seconds
# Of the time between the first two sampled frames: bins a little wider than that leave no empty ones between.
_ROOMY = 1.25
MAX_TRACKS = 48  # a video's; of those not seen for _RECENT seconds the one with the fewest rows goes first
_RECENT = 10.0
MAX_SOURCES = 16
_THUMBNAIL = 112
# A new peak replaces an old one only if it is stronger by this share of it and this value: making pictures takes time.
_STRONGER, _LEAST = 0.05, 0.002
# What comes first on the page where the checkpoint has it; raw scores on the annotators' scales.
SCALES = ("valence", "arousal", "dominance")


@dataclass(frozen=True, slots=True)
class Peak:
    """The strongest moment of an emotion.

    Args:
        value: The emotion's value.
        seconds: When it was.
        image: Base64 JPEG of the face, "" without one.
    """

    value: float
    seconds: float
    image: str


@dataclass(slots=True)
class Track:
    """One face while it is followed.

    Args:
        number: As in the rows.
        sums: [BINS, 2 E + 2 S] float64, sums of `Kinds.tables`, then of the S scales, then of those smoothed.
        counts: [BINS] float64, numbers of rows.
        lows, highs: [BINS, S] float64, the scales' least and greatest values; infinite where there is none.
        rows: Scored rows in all.
        first, last: Seconds of the first and the last row.
        best: [2 E] float64, the peaks' values; -inf before the first.
        peaks: By the column of `Kinds.tables`.
    """

    number: int
    sums: Float64Array
    counts: Float64Array
    lows: Float64Array
    highs: Float64Array
    best: Float64Array
    rows: int = 0
    first: float = 0.0
    last: float = 0.0
    peaks: dict[int, Peak] = field(default_factory=dict)


@dataclass(slots=True)
class Video:
    """One video.

    Args:
        name: As in the rows.
        start, end: Seconds of the first and the last row.
        width: Seconds of a bin; 0 until a second frame came.
        frames: Sampled frames.
        without: Those without a face.
        forgotten: Tracks that had no room.
        facts: What was decided about its pixels.
        tracks: By their numbers.
    """

    name: str
    start: float
    width: float = 0.0
    end: float = 0.0
    frames: int = 0
    without: int = 0
    forgotten: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    tracks: dict[int, Track] = field(default_factory=dict)

    def bin_of(self, seconds: float) -> int:
        """Returns the bin of a time; widens the axis first when the time is beyond it."""
        if not self.width:
            if seconds <= self.start:
                return 0
            self.width = max(_NARROWEST, _ROOMY * (seconds - self.start))
        while seconds - self.start >= self.width * BINS:
            self.width *= 2
            for track in self.tracks.values():
                track.sums = _paired(track.sums, np.add, 0.0)
                track.counts = _paired(track.counts, np.add, 0.0)
                track.lows = _paired(track.lows, np.minimum, np.inf)
                track.highs = _paired(track.highs, np.maximum, -np.inf)
        return max(0, int((seconds - self.start) / self.width))


def _paired(values: Float64Array, join: np.ufunc, empty: float) -> Float64Array:
    half = join(values[0::2], values[1::2])
    return np.concatenate([half, np.full_like(half, empty)])


@dataclass(slots=True)
class TimelineTotals:
    """All videos of a page.

    Args:
        videos: By their names.
        kinds: What values the rows have.
        scales: Those of SCALES that the checkpoint has.
        smoothed: Whether the rows have smoothed values.
        baseline: The one that rows carry; None where they carry none.
        left_out: Batches of rows of videos that had no room.
    """

    videos: dict[str, Video] = field(default_factory=dict)
    kinds: Kinds = field(default_factory=Kinds)
    scales: tuple[str, ...] = ()
    smoothed: bool = False
    baseline: Baseline | None = None
    left_out: int = 0

    def add(self, timeline: Timeline) -> None:
        """Take in some rows of one video, at least one."""
        scores = timeline.scores
        self.kinds.learn(scores)
        self.baseline, self.smoothed = scores.baseline, timeline.smooth is not None
        self.scales = tuple(name for name in SCALES if name in scores.names)
        columns = [scores.names.index(name) for name in self.scales]
        raw = scores.raw[:, columns].astype(np.float64)
        smooth = raw if timeline.smooth is None else timeline.smooth[:, columns]
        table = np.concatenate([self.kinds.tables(scores), raw, smooth], axis=1)
        video = self.videos.get(timeline.source)
        if video is None:
            if len(self.videos) >= MAX_SOURCES:
                self.left_out += 1
                return
            video = self.videos[timeline.source] = Video(timeline.source, float(timeline.seconds[0]))
        video.facts |= timeline.facts
        seen = set()
        for i in range(len(timeline)):
            now = float(timeline.seconds[i])
            video.end = max(video.end, now)
            seen.add(int(timeline.frame[i]))
            if scores.status[i] != Status.OK:
                video.without += scores.status[i] == Status.NO_FACE
                continue
            crop = timeline.crops[i] if timeline.crops else None
            self._row(video, int(timeline.track[i]), now, table[i], crop)
        video.frames += len(seen)

    def _row(self, video: Video, number: int, now: float, values: Float64Array, crop: UInt8Array | None) -> None:
        at = video.bin_of(now)
        track = video.tracks.get(number)
        if track is None:
            if len(video.tracks) >= MAX_TRACKS:
                least = min(video.tracks.values(), key=lambda t: (now - t.last < _RECENT, t.rows))
                del video.tracks[least.number]
                video.forgotten += 1
            lows = np.full((BINS, len(self.scales)), np.inf)
            best = np.full(2 * len(self.kinds.emotions), -np.inf)
            track = Track(number, np.zeros((BINS, len(values))), np.zeros(BINS), lows, -lows, best, first=now)
            video.tracks[number] = track
        first = len(track.best)
        scales = values[first : first + len(self.scales)]
        np.minimum(track.lows[at], scales, out=track.lows[at])
        np.maximum(track.highs[at], scales, out=track.highs[at])
        track.sums[at] += values
        track.counts[at] += 1
        track.rows += 1
        track.last = now
        old = np.nan_to_num(track.best, neginf=-1e9)
        stronger = np.flatnonzero(values[:first] > old + np.maximum(_STRONGER * np.abs(old), _LEAST))
        if len(stronger):
            image = encoded(thumbnail(crop, _THUMBNAIL))
            track.best[stronger] = values[stronger]
            track.peaks |= {place: Peak(float(values[place]), now, image) for place in stronger.tolist()}
