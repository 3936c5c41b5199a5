"""What a run of videos has done so far, and its last words."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..process import Stopwatch
from ..records import Status
from ..scores import distinct_notes
from ..sources.video.frames import VideoSource
from ..timeline import NO_TRACK
from .pipeline import VideoBatch

# Frames, the last ones, whose latencies the percentiles are taken of.
_LATENCIES = 10_000


@dataclass(frozen=True, slots=True)
class VideoProgress:
    """How far a run has come.

    Args:
        name: of the present video.
        at: seconds of the present video's time since its first sampled frame.
        duration: seconds of the present video that will be scored; None where that is unknown.
        frames: sampled frames of all videos so far.
        faces: faces of all videos so far.
        shares: part of the working time that each stage took, see `shares`.
    """

    name: str
    at: float
    duration: float | None
    frames: int
    faces: int
    shares: dict[str, float]


@dataclass(slots=True)
class VideoSummary:
    """What a run has done, over all its videos.

    Args:
        counts: rows by status.
        frames: sampled frames.
        faces: rows with a face.
        tracks: faces that were followed, in the videos that have ended.
        present: the track numbers of the present video.
        dropped: frames of live sources that gave way to newer ones.
        broken: packets that could not be decoded.
        estimated: frames without a time of their own.
        reused: rows with the scores of an earlier crop.
        watch: seconds of work by stage; decoding runs beside the others.
        wall: seconds from each video's opening to its end.
        latencies: seconds from a frame's decoding to its written rows, of the last frames.
        notes: what a reader of the scores must know.
        messages: what happened to inputs and outputs.
        written: the files that are in place.
        interrupted: somebody stopped the run.
        stopped: an output could not be written any more.
        live: a source was live.
    """

    counts: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    faces: int = 0
    tracks: int = 0
    present: set[int] = field(default_factory=set)
    dropped: int = 0
    broken: int = 0
    estimated: int = 0
    reused: int = 0
    watch: Stopwatch = field(default_factory=Stopwatch)
    wall: float = 0.0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    notes: tuple[str, ...] = ()
    messages: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    interrupted: bool = False
    stopped: bool = False
    live: bool = False

    @property
    def scored(self) -> int:
        """Rows with scores."""
        return self.counts[Status.OK]

    @property
    def ended(self) -> bool:
        """Whether no further video is to be read."""
        return self.interrupted or self.stopped

    def add(self, batch: VideoBatch, now: float) -> None:
        """Count a batch whose rows were written at `now`, a time of time.perf_counter()."""
        scores = batch.timeline.scores
        self.frames += len(batch.arrived)
        self.faces += 0 if scores.faces is None else int(np.isfinite(scores.faces[:, 0]).sum())
        self.counts.update(str(status) for status in scores.status)
        self.reused += int(batch.timeline.reused.sum())
        self.present.update(track for track in batch.timeline.track.tolist() if track != NO_TRACK)
        self.latencies.extend(now - arrived for arrived in batch.arrived)
        self.notes = distinct_notes((*self.notes, *scores.notes))

    def end(self, source: VideoSource, frames: int, seconds: float) -> None:
        """Count a video that has ended: its sampled frames, and how long it took."""
        self.tracks += len(self.present)
        self.present = set()
        self.wall += seconds
        self.broken += source.faults.broken
        self.dropped += source.faults.dropped
        self.estimated += source.faults.estimated
        self.live |= source.live
        if source.faults.ended:
            self.messages.append(f"{source.name} ended early: {source.faults.ended}; its frames up to there are kept")
        if not frames and not self.ended:
            self.messages.append(f"{source.name} gave no frame; is it empty, or start beyond its end?")

    def facts(self) -> dict[str, str]:
        """For the report and the last line: what was found, how fast, and where the time went."""
        wall = max(self.wall, 1e-9)
        facts = {
            "frames": f"{self.frames} sampled, {self.frames / wall:.1f} a second",
            "faces": f"{self.faces} in {self.tracks} tracks, {self.faces / wall:.1f} a second",
            "work": ", ".join(f"{stage} {share:.0%}" for stage, share in shares(self.watch.seconds).items()),
        }
        if self.latencies:
            p50, p95 = np.percentile(self.latencies, [50, 95])
            facts["latency"] = f"p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms"
        if self.live or self.dropped:
            facts["dropped"] = f"{self.dropped} frames, as newer ones came"
        if self.reused:
            facts["reused"] = f"{self.reused} rows have the scores of an earlier crop"
        if self.broken:
            facts["broken"] = f"{self.broken} packets could not be decoded"
        if self.estimated:
            facts["times"] = f"{self.estimated} frames had no time of their own"
        return facts

    def line(self) -> str:
        """The last line of a run."""
        others = [f"{n} {status}" for status, n in sorted(self.counts.items()) if status != Status.OK]
        rows = ", ".join([f"{self.scored} scored", *others])
        return f"{self.counts.total()} rows: {rows}; " + "; ".join(f"{k} {v}" for k, v in self.facts().items())


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Each stage's part of all work, small stages joined to their neighbours: decode, detect, score, write."""
    joined = {
        "decode": seconds.get("decode", 0.0) + seconds.get("convert", 0.0),
        "detect": seconds.get("detect", 0.0) + seconds.get("track", 0.0),
        "score": seconds.get("score", 0.0),
        "write": seconds.get("write", 0.0),
    }
    total = sum(joined.values()) or 1.0
    return {stage: value / total for stage, value in joined.items()}
