"""Frames to faces to scored rows, in order and in bounded memory: decode runs ahead on a thread of its own."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ..errors import OptionError
from ..faces import FaceFinder, open_finder
from ..options import FaceOptions, VideoOptions
from ..process import Stopwatch
from ..records import UInt8Array
from ..scorer import NoScoresWarning, Scorer
from ..sources.video.ahead import Ahead
from ..sources.video.choose import open_video
from ..sources.video.frames import Frame, Sound, VideoSource
from ..timeline import Timeline
from .rows import FrameRows

# Sampled frames that are worked on together, and their pixels: 150 MB of RGB.
_MAX_FRAMES = 16
_MAX_PIXELS = 50_000_000
_MIN_FRAMES = 4
# For each batch that the engine works on at once: the last faces of a group leave some of its streams idle.
_FRAMES_A_STREAM = 8
# Frames and audio packets between two sampled frames that are held.
_MAX_BETWEEN = 8
_DEFAULT = VideoOptions()


@dataclass(frozen=True, slots=True)
class VideoBatch:
    """The rows of some consecutive sampled frames, and what lies between those frames.

    Args:
        timeline: the rows.
        items: every frame and audio packet since the batch before, in order; each sampled frame with the places of
            its rows in the time line, all others with None.
        arrived: time.perf_counter() at which each sampled frame was decoded.
    """

    timeline: Timeline
    items: tuple[tuple[Frame | Sound, range | None], ...]
    arrived: tuple[float, ...]


class VideoPipeline:
    """One video's way through finder, tracker and scorer. Iterate once; close it afterwards.

    Args:
        scorer: scores the crops of the faces.
        source: the video. The pipeline closes it.
        options: how the faces are followed, scored and smoothed.
        finder: the detector or the boxes of a file; None takes whole frames.
        crops: time lines carry the crops, for a report.
        watch: adds up the seconds of work by stage: decode (on its own thread, beside the others), convert, detect,
            track, score. None makes a new one.
    """

    def __init__(
        self,
        scorer: Scorer,
        source: VideoSource,
        options: VideoOptions,
        finder: FaceFinder | None,
        *,
        crops: bool = False,
        watch: Stopwatch | None = None,
    ) -> None:
        self._watch = watch or Stopwatch()
        self._rows = FrameRows(scorer, source.name, source.facts, options, finder, crops=crops, watch=self._watch)
        # One frame where it must not wait for the next, or where those between two would be held; else a few.
        backend = scorer.backend
        few = max(_MIN_FRAMES, min(backend.batch_size, _MAX_FRAMES), _FRAMES_A_STREAM * backend.depth)
        self._group_size = 1 if source.live or source.every else few
        self._ahead = Ahead(source, watch=self._watch)

    def __iter__(self) -> Iterator[VideoBatch]:
        return (self._batch(items, sampled) for items, sampled in self._groups())

    def _groups(self) -> Iterator[tuple[list[Frame | Sound], list[tuple[Frame, UInt8Array]]]]:
        """Items that are worked on together, and the sampled frames among them with their pixels.

        An error of the source is raised when what came before it is scored.
        """
        items: list[Frame | Sound] = []
        sampled: list[tuple[Frame, UInt8Array]] = []
        pixels = 0
        failure: Exception | None = None
        try:
            for item in self._ahead:
                items.append(item)
                if isinstance(item, Frame) and item.chosen:
                    with self._watch("convert"):
                        rgb = item.rgb()
                    sampled.append((item, rgb))
                    pixels += rgb.shape[0] * rgb.shape[1]
                    full = len(sampled) >= self._group_size or pixels >= _MAX_PIXELS
                else:  # for an overlay: it waits for no sampled frame
                    full = len(items) >= _MAX_BETWEEN and not sampled
                if full:
                    yield items, sampled
                    items, sampled, pixels = [], [], 0
        except Exception as error:
            failure = error
        if items:
            yield items, sampled
        if failure is not None:
            raise failure

    def _batch(self, items: list[Frame | Sound], sampled: list[tuple[Frame, UInt8Array]]) -> VideoBatch:
        timeline, frames = self._rows(sampled)
        starts = accumulate((len(frame.tracks) for frame in frames), initial=0)
        places = {one.frame.index: range(i, i + len(one.tracks)) for one, i in zip(frames, starts, strict=False)}
        placed = tuple((item, places.get(item.index) if isinstance(item, Frame) else None) for item in items)
        return VideoBatch(timeline, placed, tuple(frame.arrived for frame, _ in sampled))

    def stop(self) -> None:
        """Let the iteration end after the frames that were read; for signal handlers, as it takes no lock."""
        self._ahead.stopped = True

    def close(self) -> None:
        """End the decoding thread and close the source."""
        self._ahead.close()


def stream(
    scorer: Scorer,
    source: Any,
    options: VideoOptions | None = None,
    *,
    fps: float | None = _DEFAULT.fps,
    faces: str | FaceOptions = _DEFAULT.faces,
) -> Iterator[Timeline]:
    """Score the faces of a video (extra `video`).

    A generator: it decodes ahead on a thread, and its memory is bounded however long the source is. Of a live source
    the newest frame wins. Close the generator to end early.

    Args:
        scorer: scores the crops of the faces; it is opened where that is not done yet.
        source: a path, a URL (RTSP, HTTP, ...), a camera (0, "/dev/video0"), a file object of bytes or an open PyAV
            container (both are read from their beginning and stay open), or an iterable of (seconds, frame) with
            frames [H, W, 3] uint8 RGB, on the host or, with `__dlpack__`, on the GPU.
        options: all settings in one record, instead of the keywords.
        fps: sampled frames a second; None takes every frame.
        faces: which faces are scored: "detect" (YuNet finds them), "none" (whole frames), "boxes:FILE", or a record.

    Warns:
        NoScoresWarning: at the end, where the boxes of a file gave no row scores: why.

    Returns:
        Time lines of some consecutive rows each, in the order of time.

    Raises:
        InputError: when the source cannot be opened, has no video, or ends with an error.
        OptionError: when the sampling or the face options cannot work.
        MissingPackageError: when PyAV, scipy or another package of the extra is not installed.
        CheckpointError: when the scorer's weights or the face detector's model cannot be had.
    """
    settings = _settings(options, fps, FaceOptions.of(faces))
    video = open_video(source, settings, threads=scorer.options.threads)
    try:
        finder = open_finder(settings.faces, scorer.options, scorer.place, scorer.where)
        pipeline = VideoPipeline(scorer, video, settings, finder)
    except BaseException:
        video.close()
        raise
    try:
        scored = False
        for batch in pipeline:
            scored |= bool(batch.timeline.scores.ok.any())
            yield batch.timeline
        for note in finder.notes() if finder is not None and not scored else ():
            warnings.warn(note, NoScoresWarning, stacklevel=2)
    finally:
        pipeline.close()


def _settings(options: VideoOptions | None, fps: float | None, faces: FaceOptions) -> VideoOptions:
    if options is None:
        return VideoOptions(fps=fps, faces=faces)
    if (fps, faces) != (_DEFAULT.fps, _DEFAULT.faces):
        raise OptionError("options came together with fps or faces, which are fields of it; expected one of both")
    return options
