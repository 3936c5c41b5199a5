"""One run of `emonet-fast video`: inputs in, time lines, overlay and report out, whatever ends it."""

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import EmonetError, InputError, OptionError
from ..faces import FaceFinder
from ..options import VideoOptions
from ..records import Status
from ..reports.timeline import TimelineReport
from ..scorer import Scorer
from ..scores import distinct_notes
from ..sinks.overlay import Overlay
from ..sinks.timeline import TimelineSink, open_timeline
from ..sources.video.choose import AnySource, open_video
from ..timeline import NO_TRACK
from .pipeline import Pipeline, VideoBatch, video_finder

# Latencies that the percentiles are taken of: the last so many frames.
_LATENCIES = 10_000
# Formats that say nothing of which video a row is of.
_ONE_VIDEO = {".json", ".vtt"}


@dataclass(frozen=True, slots=True)
class VideoOutputs:
    """What a run writes: any number of time lines by their suffixes, an overlay video, an HTML report.

    top: emotions a face in the overlay. title: of the report.

    Raises:
        OptionError: two outputs of one name.
    """

    tables: tuple[Path, ...] = ()
    overlay: Path | None = None
    report: Path | None = None
    title: str = "video"
    top: int = 3

    def __post_init__(self) -> None:
        paths = [p for p in (*self.tables, self.overlay, self.report) if p is not None]
        if len({p.resolve() for p in paths}) != len(paths):
            raise OptionError("two outputs have the same name; give each its own")


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a run is. at, duration: seconds of the present video's time since its first frame, None where unknown.
    frames, faces: in all. shares: of the time that work took, by stage."""

    name: str
    at: float
    duration: float | None
    frames: int
    faces: int
    shares: dict[str, float]


@dataclass(slots=True)
class VideoSummary:
    """counts: rows by status. seconds: of work by stage, on two threads; wall: from the first frame to the last.
    notes: of the scores; said: what happened to inputs and outputs. stopped: by an output that could not be written."""

    counts: Counter[str] = field(default_factory=Counter)
    frames: int = 0
    faces: int = 0
    tracks: int = 0
    dropped: int = 0
    broken: int = 0
    estimated: int = 0
    reused: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
    wall: float = 0.0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    notes: tuple[str, ...] = ()
    said: list[str] = field(default_factory=list)
    written: list[Path] = field(default_factory=list)
    interrupted: bool = False
    stopped: bool = False
    live: bool = False

    @property
    def scored(self) -> int:
        return self.counts[Status.OK]

    def facts(self) -> dict[str, str]:
        """For the report and the last lines: what was found, how fast, and where the time went."""
        rate = max(self.wall, 1e-9)
        found = {
            "frames": f"{self.frames} sampled, {self.frames / rate:.1f} a second",
            "faces": f"{self.faces} in {self.tracks} tracks, {self.faces / rate:.1f} a second",
            "work": ", ".join(f"{stage} {share:.0%}" for stage, share in shares(self.seconds).items()),
        }
        if self.latencies:
            p50, p95 = np.percentile(self.latencies, [50, 95])
            found["latency"] = f"p50 {p50 * 1000:.0f} ms, p95 {p95 * 1000:.0f} ms"
        if self.live or self.dropped:
            found["dropped"] = f"{self.dropped} frames, as newer ones came"
        if self.reused:
            found["reused"] = f"{self.reused} rows have the scores of an earlier crop"
        if self.broken:
            found["broken"] = f"{self.broken} packets could not be decoded"
        if self.estimated:
            found["times"] = f"{self.estimated} frames had no time of their own"
        return found

    def line(self) -> str:
        """The last line of a run."""
        total = sum(self.counts.values())
        others = [f"{n} {status}" for status, n in sorted(self.counts.items()) if status != Status.OK]
        rows = ", ".join([f"{self.scored} scored", *others])
        return f"{total} rows: {rows}; " + "; ".join(f"{k} {v}" for k, v in self.facts().items())


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Each stage's part of all work; small ones joined to their neighbours: decode, detect, score, write."""
    joined = {
        "decode": seconds.get("decode", 0.0) + seconds.get("convert", 0.0),
        "detect": seconds.get("detect", 0.0) + seconds.get("track", 0.0),
        "score": seconds.get("score", 0.0),
        "write": seconds.get("write", 0.0),
    }
    total = sum(joined.values()) or 1.0
    return {stage: value / total for stage, value in joined.items()}


def _added(first: Mapping[str, float], second: Mapping[str, float]) -> dict[str, float]:
    return {stage: first.get(stage, 0.0) + second.get(stage, 0.0) for stage in {*first, *second}}


class VideoRun:
    """Scores videos one after the other. stop() ends it as if the present video ended there; files are finished."""

    def __init__(self, scorer: Scorer, options: VideoOptions, outputs: VideoOutputs) -> None:
        self.summary = VideoSummary()
        self._scorer, self._options, self._outputs = scorer, options, outputs
        self._pipeline: Pipeline | None = None
        self._sinks: list[TimelineSink] = []
        self._report: TimelineReport | None = None
        self._tracks: set[int] = set()

    def stop(self) -> None:
        """For signal handlers."""
        self.summary.interrupted = True
        if self._pipeline is not None:
            self._pipeline.stop()

    def check(self, inputs: Sequence[object]) -> None:
        """Try the outputs before weights are read; leaves nothing behind.

        Raises:
            OptionError: an output of an unknown kind, that cannot be written, or that holds one video only.
        """
        outputs = self._outputs
        single = [p for p in outputs.tables if p.suffix.lower() in _ONE_VIDEO]
        single += [outputs.overlay] if outputs.overlay is not None else []
        if len(inputs) > 1 and single:
            raise OptionError(f"{single[0].name} holds one video, and {len(inputs)} came; run them one by one")
        for path in outputs.tables:
            open_timeline(path, {}).abort()
        if outputs.overlay is not None:
            Overlay(outputs.overlay).abort()
        if outputs.report is not None:
            TimelineReport(outputs.report, outputs.title, {}).abort()

    def run(self, inputs: Sequence[object], progress: Callable[[Progress], None]) -> VideoSummary:
        """Score all inputs; a video that cannot be read is said in summary.said, and the next one follows.

        Raises:
            OptionError, CheckpointError, BackendError, MissingPackageError: before any frame is read.
        """
        finder = video_finder(self._options.faces, self._scorer)
        metadata = self._scorer.metadata | self._metadata()
        try:
            for path in self._outputs.tables:
                self._sinks.append(open_timeline(path, metadata))
            if self._outputs.report is not None:
                self._report = TimelineReport(self._outputs.report, self._outputs.title, metadata)
                self._sinks.append(self._report)
            for source in inputs:
                if self.summary.interrupted or self.summary.stopped:
                    break
                self._video(source, finder, progress)
        finally:
            self._finish()
        return self.summary

    def _metadata(self) -> dict[str, str]:
        options = self._options
        faces = {"none": "none", "detect": "yunet"}.get(options.faces.faces, options.faces.faces)
        facts = {"faces": faces, "face_margin": f"{options.faces.margin:g}"}
        facts["fps"] = "all" if options.fps is None else f"{options.fps:g}"
        facts["smooth_seconds"] = f"{options.smooth:g}"
        return facts | {"embedding_dim": str(self._scorer.checkpoint.vision.hidden_size)}

    def _video(self, source: object, finder: FaceFinder | None, progress: Callable[[Progress], None]) -> None:
        summary = self.summary
        try:
            opened = open_video(
                source, self._options, every=self._outputs.overlay is not None, threads=self._scorer.options.threads
            )
        except InputError as error:
            summary.said.append(str(error))
            return
        overlay = self._open_overlay(opened)
        crops = self._report is not None or any(p.suffix.lower() == ".json" for p in self._outputs.tables)
        pipeline = Pipeline(self._scorer, opened, self._options, finder, every=overlay is not None, crops=crops)
        self._pipeline, began = pipeline, time.perf_counter()
        before = (summary.frames, summary.faces)
        first: float | None = None
        try:
            for batch in pipeline:
                self._take(batch, overlay)
                if len(batch.timeline):
                    first = float(batch.timeline.seconds[0]) if first is None else first
                    now = float(batch.timeline.seconds[-1]) - first
                    summary.frames, summary.faces = before[0] + pipeline.frames, before[1] + pipeline.faces
                    done = shares(_added(summary.seconds, pipeline.seconds))
                    progress(Progress(opened.name, now, self._length(opened), summary.frames, summary.faces, done))
        except EmonetError as error:
            summary.said.append(str(error))
            summary.stopped = not isinstance(error, InputError)
        finally:
            self._pipeline = None
            pipeline.close()
            summary.wall += time.perf_counter() - began
            self._account(pipeline, opened)
            self._close_overlay(overlay)

    def _length(self, opened: AnySource) -> float | None:
        """Seconds that will be scored, for people: files need not begin at 0, and may state their length wrongly."""
        start, end = self._options.start or 0.0, self._options.end
        last = opened.duration if end is None else end if opened.duration is None else min(end, opened.duration)
        return None if last is None else max(0.0, last - start)

    def _take(self, batch: VideoBatch, overlay: Overlay | None) -> None:
        summary, timeline = self.summary, batch.timeline
        with self._timed("write"):
            for sink in self._sinks if len(timeline) else ():
                sink.write(timeline)
            if overlay is not None:
                for item, rows in batch.items:
                    overlay.write(item, timeline, rows)
        now = time.perf_counter()
        summary.latencies.extend(now - arrived for arrived in batch.arrived)
        summary.counts.update(str(status) for status in timeline.scores.status)
        summary.notes = distinct_notes((*summary.notes, *timeline.scores.notes))
        summary.reused += int(timeline.reused.sum())
        self._tracks.update(int(t) for t in timeline.track if t != NO_TRACK)

    def _account(self, pipeline: Pipeline, opened: AnySource) -> None:
        summary, faults = self.summary, opened.faults
        summary.seconds = _added(summary.seconds, pipeline.seconds)
        summary.broken += faults.broken
        summary.dropped += faults.dropped
        summary.estimated += faults.estimated
        summary.tracks += len(self._tracks)
        summary.live |= opened.live
        self._tracks = set()
        if faults.ended:
            summary.said.append(f"{opened.name} ended early: {faults.ended}; its frames up to there are kept")
        if not pipeline.frames and not summary.interrupted and not summary.stopped:
            summary.said.append(f"{opened.name} gave no frame; is it empty, or start beyond its end?")

    def _open_overlay(self, opened: AnySource) -> Overlay | None:
        if self._outputs.overlay is None:
            return None
        overlay = Overlay(self._outputs.overlay, self._outputs.top)
        overlay.start(opened.rate, opened.audio)
        return overlay

    def _close_overlay(self, overlay: Overlay | None) -> None:
        if overlay is None:
            return
        try:
            with self._timed("write"):
                overlay.close()
        except EmonetError as error:
            self.summary.said.append(str(error))
            self.summary.stopped = True
            return
        if overlay.frames:
            self.summary.written.append(overlay.path)
        if overlay.audio_note:
            self.summary.said.append(f"{overlay.path.name} has no sound: {overlay.audio_note}")

    def _finish(self) -> None:
        """Close every output, also when another one failed; those without a row are removed."""
        if self._report is not None:
            self._report.tell(self.summary.facts())
        for sink in self._sinks:
            try:
                if sum(self.summary.counts.values()):
                    sink.close()
                    self.summary.written.append(sink.path)
                else:
                    sink.abort()
            except EmonetError as error:
                self.summary.said.append(str(error))
                self.summary.stopped = True
        self._sinks = []

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - began
            self.summary.seconds = _added(self.summary.seconds, {stage: passed})
