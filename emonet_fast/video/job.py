"""One run of `emonet-fast video`: inputs in, time lines, overlay and report out, whatever ends it."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import EmonetError, InputError, OptionError
from ..faces import FaceFinder, open_finder
from ..files import keep_apart
from ..options import VideoOptions
from ..reports.timeline import TimelineReport
from ..scorer import Scorer
from ..sinks.apart import OutputsApart
from ..sinks.encoders import companions, warnings_of
from ..sinks.growing import GrowingSink
from ..sinks.overlay import Overlay
from ..sinks.timeline import open_timeline
from ..sources.video.choose import open_video
from ..sources.video.frames import VideoSource
from .pipeline import VideoBatch, VideoPipeline
from .summary import VideoSummary

# Formats that say nothing of which video a row is of.
_ONE_VIDEO = {".json", ".vtt"}


@dataclass(frozen=True, slots=True)
class VideoOutputs:
    """What a run writes.

    Args:
        tables: time lines; the suffix of each tells its format.
        overlay: the video with boxes and emotions drawn into it.
        report: an HTML page.
        title: of the report.
        top: emotions that the overlay shows of a face.
    """

    tables: tuple[Path, ...] = ()
    overlay: Path | None = None
    report: Path | None = None
    title: str = "video"
    top: int = 3


class VideoRun:
    """Scores videos one after the other.

    Args:
        scorer: scores the crops of the faces.
        options: how each video becomes a time line.
        outputs: what is written.

    Attributes:
        summary: what the run has done so far.
    """

    def __init__(self, scorer: Scorer, options: VideoOptions, outputs: VideoOutputs) -> None:
        self.summary = VideoSummary()
        self._scorer, self._options, self._outputs = scorer, options, outputs
        self._pipeline: VideoPipeline | None = None
        self._apart = OutputsApart()

    def stop(self) -> None:
        """End the run as if the present video ended here; the files are finished. For signal handlers."""
        self.summary.interrupted = True
        if self._pipeline is not None:
            self._pipeline.stop()

    def check(self, inputs: Sequence[object], read: Iterable[str] = ()) -> None:
        """Try the outputs before weights are read; leaves nothing behind. Raises OptionError where one cannot work.

        read: the other files that the run reads, which no output may replace.
        """
        outputs = self._outputs
        tables = [path for table in outputs.tables for path in companions(table)]
        keep_apart((*tables, outputs.overlay, outputs.report), (*inputs, *read))
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

    def run(self, inputs: Sequence[object], progress: Callable[[VideoSummary], None]) -> VideoSummary:
        """Score all inputs, and call `progress` after each batch. Messages say why a video cannot be read."""
        options, scorer = self._options, self._scorer
        finder = open_finder(options.faces, scorer.options, scorer.place)
        metadata = scorer.metadata | {
            "faces": "yunet" if options.faces.faces == "detect" else options.faces.faces,
            "face_margin": f"{options.faces.margin:g}",
            "fps": "all" if options.fps is None else f"{options.fps:g}",
            "smooth_seconds": f"{options.smooth:g}",
            "embedding_dim": str(scorer.checkpoint.vision.hidden_size),
        }
        report: TimelineReport | None = None
        early = True
        try:
            for path in self._outputs.tables:
                self._add(open_timeline(path, metadata))
            if self._outputs.report is not None:
                report = TimelineReport(self._outputs.report, self._outputs.title, metadata)
                self._add(report)
            for source in inputs:
                if not self.summary.ended:
                    self._video(source, finder, progress)
            self.summary.notes += () if finder is None else tuple(finder.notes())
            early = self.summary.early
        finally:
            if report is not None:
                report.facts = self.summary.facts()
            self._apart.end_all(early=early, empty=not self.summary.counts)
            self.summary.take(self._apart)
        return self.summary

    def _add(self, output: GrowingSink | TimelineReport) -> None:
        self._apart.add(output, lambda batch: output.write(batch.timeline) if len(batch.timeline) else None)

    def _video(self, source: object, finder: FaceFinder | None, progress: Callable[[VideoSummary], None]) -> None:
        summary, outputs = self.summary, self._outputs
        every = outputs.overlay is not None
        try:
            video = open_video(source, self._options, every=every, threads=self._scorer.options.threads)
        except InputError as error:
            summary.messages.append(str(error))
            return
        overlay: Overlay | None = None
        if outputs.overlay is not None:
            overlay = Overlay(outputs.overlay, outputs.top, warnings_of(self._scorer.metadata))
            overlay.start(video.rate, video.audio)
            self._apart.add(overlay, partial(_draw, overlay))
        crops = outputs.report is not None or any(p.suffix.lower() == ".json" for p in outputs.tables)
        self._pipeline = VideoPipeline(self._scorer, video, self._options, finder, crops=crops, watch=summary.watch)
        summary.name, summary.duration, first = video.name, self._length(video), None
        began, frames = time.perf_counter(), summary.frames
        try:
            for batch in self._pipeline:
                with summary.watch("write"):
                    self._apart.write(batch)
                if self._apart.lost:
                    summary.stopped = True
                    break
                summary.add(batch, time.perf_counter())
                if len(batch.timeline):
                    seconds = batch.timeline.seconds.tolist()
                    first = seconds[0] if first is None else first
                    summary.at = seconds[-1] - first
                    progress(summary)
        except EmonetError as error:
            summary.messages.append(str(error))
            summary.stopped = not isinstance(error, InputError)
        finally:
            self._pipeline.close()
            self._pipeline = None
            summary.end(video, summary.frames - frames, time.perf_counter() - began)
            if overlay is not None:
                with summary.watch("write"):
                    self._apart.end(overlay, early=summary.early, empty=overlay.empty)
                if overlay.audio_note:
                    summary.messages.append(f"{overlay.path.name} has no sound: {overlay.audio_note}")

    def _length(self, video: VideoSource) -> float | None:
        """Seconds that will be scored, for people: files need not begin at 0, and may state their length wrongly."""
        ends = [end for end in (self._options.end, video.duration) if end is not None]
        return max(0.0, min(ends) - (self._options.start or 0.0)) if ends else None


def _draw(overlay: Overlay, batch: VideoBatch) -> None:
    for item, rows in batch.items:
        overlay.write(item, batch.timeline, rows)
