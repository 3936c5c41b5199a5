"""What a run of videos has done so far, and its last words."""

from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..process import Stopwatch
from ..records import Status
from ..scores import distinct_notes
from ..sinks.apart import OutputsApart
from ..sources.video.frames import Faults, VideoSource
from ..text import counted
from ..timeline import NO_TRACK
from .pipeline import VideoBatch

# Frames, the last ones, whose latencies the percentiles are taken of.
_LATENCIES = 10_000
_STAGES = ("decode", "convert", "detect", "track", "score", "write")


@dataclass(slots=True)
class VideoSummary:
    """What a run has done so far, over all its videos.

    Args:
        name: of the present video.
        at: seconds of the present video's time since its first sampled frame.
        duration: seconds of the present video that will be scored; None where that is unknown.
        counts: rows by status.
        frames: sampled frames.
        faces: rows with a face.
        tracks: faces that were followed, in the videos that have ended.
        present: the track numbers of the present video.
        faults: what went wrong while the videos that have ended were read.
        reused: rows with the scores of an earlier crop.
        cuts: hard cuts in the videos that have ended; None where none were looked for.
        watch: seconds of work by stage; decoding runs beside the others.
        wall: seconds from each video's opening to its end.
        latencies: seconds from a frame's decoding to its written rows, of the last frames.
        notes: what a reader of the scores must know.
        messages: what happened to inputs and outputs.
        written: the files that are in place.
        interrupted: somebody stopped the run.
        stopped: an engine failed, or no output could be written any more.
        lost: an output could not be written whole.
        live: a source was live.
    """

    name: str = ""
    at: float = 0.0
    duration: float | None = None
    counts: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    faces: int = 0
    tracks: int = 0
    present: set[int] = field(default_factory=set)
    faults: Faults = field(default_factory=Faults)
    reused: int = 0
    cuts: int | None = None
    watch: Stopwatch = field(default_factory=lambda: Stopwatch(*_STAGES))
    wall: float = 0.0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    notes: tuple[str, ...] = ()
    messages: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    interrupted: bool = False
    stopped: bool = False
    lost: bool = False
    live: bool = False

    @property
    def scored(self) -> int:
        """Rows with scores."""
        return self.counts[Status.OK]

    @property
    def ended(self) -> bool:
        """Whether no further video is to be read."""
        return self.interrupted or self.stopped

    @property
    def early(self) -> bool:
        """Whether the run was cut short. A live source has no other end than Ctrl-C."""
        return self.stopped or (self.interrupted and not self.live)

    def take(self, outputs: OutputsApart) -> None:
        """Note what became of the outputs."""
        self.written += outputs.written
        self.messages += [*outputs.faults, *outputs.notes]
        self.lost = bool(outputs.faults)

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

    def end(self, source: VideoSource, frames: int, seconds: float, *, failed: bool = False) -> None:
        """Count a video that has ended: its sampled frames, and how long it took. failed: a message says why."""
        faults = source.faults
        self.tracks += len(self.present)
        self.present = set()
        self.wall += seconds
        self.faults.broken += faults.broken
        self.faults.dropped += faults.dropped
        self.faults.estimated += faults.estimated
        self.live |= source.live
        if source.cuts is not None:
            self.cuts = (self.cuts or 0) + source.cuts.cuts
        self.messages += [f"{source.name}: {note}" for note in faults.notes]
        self.messages += [f"{source.name}: {name}: {fact.text}" for name, fact in source.facts.items() if fact.noted]
        if faults.restarts:
            self.messages.append(
                f"{source.name}: its times began anew {counted(faults.restarts, 'time')}, as of joined clips; here "
                "they go on, so that none comes twice"
            )
        if faults.ended and frames:
            self.messages.append(f"{source.name} ended early: {faults.ended}; its frames up to there are kept")
        elif not frames and not failed and not self.ended:
            broken = f"{counted(faults.broken, 'packet')} could not be decoded" if faults.broken else ""
            why = faults.ended or broken or "is it empty, or start beyond its end?"
            self.messages.append(f"{source.name} gave no frame: {why}")

    def shares(self) -> dict[str, float]:
        """Each stage's part of all work, small stages joined to their neighbours: decode, detect, score, write."""
        spent = self.watch.seconds
        work = {"decode": spent["decode"] + spent["convert"], "detect": spent["detect"] + spent["track"]}
        work |= {stage: spent[stage] for stage in ("score", "write")}
        total = sum(work.values()) or 1.0
        return {name: seconds / total for name, seconds in work.items()}

    def facts(self) -> dict[str, str]:
        """For the report and the last line: what was found, how fast, and where the time went."""
        wall = max(self.wall, 1e-9)
        facts = {
            "frames": f"{self.frames} sampled, {self.frames / wall:.1f} a second",
            "faces": f"{self.faces} in {counted(self.tracks, 'track')}, {self.faces / wall:.1f} a second",
            "work": ", ".join(f"{stage} {share:.0%}" for stage, share in self.shares().items()),
        }
        if self.cuts:
            facts["cuts"] = str(self.cuts)
        if self.latencies:
            p50, p95 = np.percentile(self.latencies, [50, 95])
            facts["latency"] = f"p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms"
        if self.live or self.faults.dropped:
            facts["dropped"] = f"{self.faults.dropped} frames, as newer ones came"
        if self.reused:
            facts["reused"] = f"{self.reused} rows have the scores of an earlier crop"
        if self.faults.broken:
            facts["broken"] = f"{counted(self.faults.broken, 'packet')} could not be decoded"
        if self.faults.estimated:
            facts["times"] = f"{self.faults.estimated} frames had no time of their own"
        return facts

    def line(self) -> str:
        """The last line of a run."""
        others = [f"{n} {status}" for status, n in sorted(self.counts.items()) if status != Status.OK]
        rows = ", ".join([f"{self.scored} scored", *others])
        facts = "; ".join(f"{k} {v}" for k, v in self.facts().items())
        return f"{counted(self.counts.total(), 'row')}: {rows}; {facts}"
