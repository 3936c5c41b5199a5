"""One run of `emonet-fast video`: inputs in, time lines, overlay and report out, whatever ends it."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..baseline import Baseline
from ..errors import EmonetError, InputError, OptionError
from ..faces import BoxFile, FaceFinder, Place, prepare_finder
from ..files import keep_apart
from ..optional import require
from ..options import VideoOptions
from ..population.ranking import Ranking
from ..reports.timeline import TimelineReport
from ..scorer import Scorer
from ..sinks.apart import OutputsApart
from ..sinks.encoders import companions, warnings_of
from ..sinks.growing import GrowingSink
from ..sinks.overlay import Overlay
from ..sinks.timeline import one_video, open_timeline
from ..sources.video.choose import open_video
from ..sources.video.frames import VideoSource
from ..sources.video.opening import missing
from ..text import utf8_text, without_secrets
from .pipeline import VideoBatch, VideoPipeline
from .summary import VideoSummary

# Seconds for which a server or a camera may stay open unread: what it sends is kept by the system for about so long.
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class VideoOutputs:
    """What a run writes.

    Args:
        tables: time lines; the suffix of each tells its format.
        overlay: the video with boxes and emotions drawn into it.
        report: an HTML page.
        title: of the report.
        top: emotions that the overlay shows of a face.
        baseline: the population that rows are ranked against. "self" takes the run's own rows, "person" each track's
            own rows, their quiet level: both once all are scored. None ranks them by themselves.
        min_reliability: leave emotions out of rankings of which the experts' alpha is lower; None leaves none out.
        excel: whether a .csv begins with the mark by which Excel knows UTF-8.
    """

    tables: tuple[Path, ...] = ()
    overlay: Path | None = None
    report: Path | None = None
    title: str = "video"
    top: int = 3
    baseline: Baseline | str | None = None
    min_reliability: float | None = None
    excel: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file that a user named."""
        return (*self.tables, *(path for path in (self.overlay, self.report) if path is not None))


class VideoRun:
    """Scores videos one after the other: check(), then run(), and close() whatever comes.

    Args:
        scorer: scores the crops of the faces.
        inputs: the videos, as of open_video.
        options: how each video becomes a time line.
        outputs: what is written.
        told: called with the bytes of a video that were downloaded, where that must be first, and with those of all.

    Attributes:
        summary: what the run has done so far.
    """

    def __init__(
        self,
        scorer: Scorer,
        inputs: Sequence[object],
        options: VideoOptions,
        outputs: VideoOutputs,
        told: Callable[[int, int | None], None] | None = None,
    ) -> None:
        self.summary = VideoSummary()
        self._scorer, self._options, self._outputs, self._told = scorer, options, outputs, told
        self._inputs = deque(inputs)
        self._held: VideoSource | None = None  # the first of the inputs, open since `_opened`
        self._opened = 0.0
        self._open_finder: Callable[[Place], FaceFinder | None] = lambda place: None
        self._pipeline: VideoPipeline | None = None
        self._apart = OutputsApart()
        self._begun = False  # whether rows were handed to the outputs
        self._ranking: Ranking

    def stop(self) -> None:
        """End the run as if the present video ended here; the files are finished. For signal handlers."""
        self.summary.interrupted = True
        if self._pipeline is not None:
            self._pipeline.stop()

    def close(self) -> None:
        """Close what check() has opened and nobody took."""
        if self._held is not None:
            self._held.close()
            self._held = None

    def check(self, read: Iterable[str] = ()) -> bool:
        """Look for faults before weights are read: of packages, inputs, outputs, the detector, in this order.

        What the names alone show goes first. Inputs are opened until one can be, and files that are missing are told of
        all. False where no input can be
        opened: `summary.messages` say why. Leaves no output behind. Raises MissingPackageError; OptionError where an
        output cannot work; what prepare_finder raises.

        read: the other files that the run reads, which no output may replace.
        """
        faces = self._options.faces
        self._check_names(read)
        require("av", "reading video")
        if self._options.track and faces.faces != "none":
            require("scipy", "tracking faces")
        if not self._open_first():
            return False
        self._try_outputs()
        self._open_finder = prepare_finder(faces, self._scorer.options, self._scorer.where)
        if faces.boxes is not None and isinstance(boxes := self._open_finder(None), BoxFile):
            boxes.need_frames()
        return True

    def _open_first(self) -> bool:
        """Open the first input that can be, and leave out those before it and files that are missing."""
        while self._inputs and self._held is None:
            self._held = self._open(self._inputs[0])
            if self._held is None:
                self._inputs.popleft()
        if self._held is None:
            return False
        self._opened = time.monotonic()
        for source in tuple(self._inputs)[1:]:
            fault = missing(source) if isinstance(source, str) else ""
            if fault:
                self.summary.messages.append(fault)
                self._inputs.remove(source)
        return True

    def videos(self) -> Iterator[tuple[object, VideoSource]]:
        """Each input that can be opened, and the open video, until the run is stopped. Who takes one closes it."""
        while self._inputs and not self.summary.ended:
            source = self._inputs.popleft()
            if self._held is not None and not self._held.patient and time.monotonic() - self._opened > _PATIENCE:
                self.close()
            video, self._held = self._held or self._open(source), None
            if video is not None:
                yield source, video

    def _open(self, source: object) -> VideoSource | None:
        """The open video; None where it cannot be opened, and a message says why."""
        every = self._outputs.overlay is not None
        try:
            threads = self._scorer.options.threads
            return open_video(
                source, self._options, every=every, threads=threads, told=partial(self._downloaded, source)
            )
        except InputError as error:
            self.summary.messages.append(str(error))
            return None

    def _downloaded(self, source: object, done: int, size: int | None) -> None:
        if self.summary.interrupted:
            raise InputError(f"{without_secrets(str(source))}: its download was interrupted")
        if self._told is not None:
            self._told(done, size)

    def _check_names(self, read: Iterable[str]) -> None:
        outputs = self._outputs
        tables = [path for table in outputs.tables for path in companions(table)]
        keep_apart((*tables, outputs.overlay, outputs.report), (*self._inputs, *read))
        if outputs.excel and not any(path.suffix.lower() in (".csv", ".xlsx") for path in outputs.tables):
            raise OptionError("excel is asked, and no output is .csv or .xlsx; name one of them")
        single = [p for p in outputs.tables if one_video(p)]
        single += [outputs.overlay] if outputs.overlay is not None else []
        if len(self._inputs) > 1 and single:
            raise OptionError(f"{single[0].name} holds one video, and {len(self._inputs)} came; run them one by one")

    def _try_outputs(self) -> None:
        try:
            self._open_outputs({})
        finally:
            self._apart.end_all(early=True, empty=True)
        if self._outputs.overlay is not None:
            Overlay(self._outputs.overlay).abort()

    def _open_outputs(self, metadata: Mapping[str, str]) -> tuple[list[GrowingSink], TimelineReport | None]:
        """Open the tables and the page of all videos; each takes batches."""
        outputs, own = self._outputs, isinstance(self._outputs.baseline, str)
        tables: list[GrowingSink] = []
        for path in outputs.tables:
            tables.append(
                open_timeline(
                    path, metadata, excel=outputs.excel, min_reliability=outputs.min_reliability, annotated=own
                )
            )
            self._add(tables[-1])
        if outputs.report is None:
            return tables, None
        report = TimelineReport(outputs.report, outputs.title, metadata, outputs.min_reliability)
        self._add(report)
        return tables, report

    def run(self, progress: Callable[[VideoSummary], None]) -> VideoSummary:
        """Score all inputs, and call `progress` after each batch. Messages say why a video cannot be read."""
        options, scorer = self._options, self._scorer
        finder = self._open_finder(scorer.place)
        metadata = scorer.metadata | {
            "faces": "yunet" if options.faces.faces == "detect" else options.faces.faces,
            "face_margin": f"{options.faces.margin:g}",
            "fps": "all" if options.fps is None else f"{options.fps:g}",
            "track_memory_seconds": f"{options.track_memory:g}" if options.track else "none",
            "people": "not joined" if options.people is None else f"at most {options.people}",
            "cuts": "end tracks" if options.cuts else "not looked for",
            "smooth_seconds": f"{options.smooth:g}",
            "embedding_dim": str(scorer.checkpoint.vision.hidden_size),
        }
        self._ranking = ranking = Ranking(self._outputs.baseline, scorer.checkpoint.names, scorer.metadata)
        tables: list[GrowingSink] = []
        report: TimelineReport | None = None
        early = True
        try:
            tables, report = self._open_outputs(metadata | ranking.facts)
            for _, video in self.videos():
                self._video(video, finder, progress)
            self.summary.notes += () if finder is None else tuple(finder.notes())
            early = self.summary.early
        finally:
            ranking.end(tables)
            if report is not None:
                report.facts, report.baseline = self.summary.facts(), ranking.populations
            self._apart.end_all(early=early, empty=not self._begun)
            self.summary.take(self._apart)
        return self.summary

    def _ranked(self, batch: VideoBatch) -> VideoBatch:
        timeline = batch.timeline
        people = [(utf8_text(timeline.source), track) for track in timeline.track.tolist()]
        return replace(batch, timeline=replace(timeline, scores=self._ranking.ranked(timeline.scores, people)))

    def _add(self, output: GrowingSink | TimelineReport) -> None:
        self._apart.add(output, lambda batch: output.write(batch.timeline) if len(batch.timeline) else None)

    def _video(self, video: VideoSource, finder: FaceFinder | None, progress: Callable[[VideoSummary], None]) -> None:
        summary, outputs = self.summary, self._outputs
        overlay: Overlay | None = None
        if outputs.overlay is not None:
            overlay = Overlay(outputs.overlay, outputs.top, warnings_of(self._scorer.metadata), outputs.min_reliability)
            overlay.start(video.rate, video.audio)
            self._apart.add(overlay, partial(_draw, overlay))
        crops = outputs.report is not None or any(p.suffix.lower() == ".json" for p in outputs.tables)
        self._pipeline = VideoPipeline(self._scorer, video, self._options, finder, crops=crops, watch=summary.watch)
        summary.name, summary.duration, first = video.name, self._length(video), None
        began, frames, failed = time.perf_counter(), summary.frames, False
        try:
            for batch in map(self._ranked, self._pipeline):
                self._begun |= bool(len(batch.timeline))
                with summary.watch("write"):
                    self._apart.write(batch)
                summary.add(batch, time.perf_counter())
                if self._apart.lost:
                    summary.stopped = True
                    break
                if len(batch.timeline):
                    seconds = batch.timeline.seconds.tolist()
                    first = seconds[0] if first is None else first
                    summary.at = seconds[-1] - first
                    progress(summary)
        except EmonetError as error:
            summary.messages.append(str(error))
            summary.stopped, failed = not isinstance(error, InputError), True
        finally:
            self._pipeline.close()
            self._pipeline = None
            summary.end(video, summary.frames - frames, time.perf_counter() - began, failed=failed)
            if overlay is not None:
                with summary.watch("write"):
                    self._apart.end(overlay, early=summary.early, empty=overlay.empty)
                if overlay.audio_note:
                    summary.messages.append(f"{overlay.path.name} has no sound: {overlay.audio_note}")

    def _length(self, video: VideoSource) -> float | None:
        """Seconds that will be scored, for people: files need not begin at 0, and may state their length wrongly."""
        ends = [self._options.end] if self._options.end is not None else []
        ends += [video.begin + video.duration] if video.duration is not None else []
        return max(0.0, min(ends) - max(video.begin, self._options.start or video.begin)) if ends else None


def _draw(overlay: Overlay, batch: VideoBatch) -> None:
    for item, rows in batch.items:
        overlay.write(item, batch.timeline, rows)
