"""Frames to faces to scored rows, in order and in bounded memory: decode runs ahead on a thread of its own."""

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..faces import FaceFinder, detector_device, face_crop, open_finder
from ..faces.reuse import ReusePolicy
from ..faces.track import MEMORY, Tracker
from ..options import FaceOptions, VideoOptions
from ..records import Box, Face, Picture, Status, UInt8Array
from ..scorer import Scorer
from ..scores import Scores
from ..sources.video.ahead import Ahead
from ..sources.video.choose import AnySource, open_video
from ..sources.video.frames import Frame, Sound
from ..timeline import NO_TRACK, Timeline
from .smooth import Smoother

# Sampled frames that are worked on together, and their pixels: 150 MB of RGB.
_MAX_FRAMES = 16
_MAX_PIXELS = 50_000_000
_MIN_FRAMES = 4
# Frames and audio packets between two sampled frames that are held.
_MAX_BETWEEN = 8
# A gap of so many time constants, at least a track's memory, begins a smoothed curve anew.
_GAP = 3.0
_MAX_TRACKS = 256


@dataclass(frozen=True, slots=True)
class VideoBatch:
    """timeline: rows of some consecutive sampled frames. items: every frame and audio packet since the batch before,
    in order, each sampled frame with the places of its rows. arrived: of each sampled frame, time.perf_counter()."""

    timeline: Timeline
    items: tuple[tuple[Frame | Sound, range | None], ...]
    arrived: tuple[float, ...]


class _Row:
    """One row to be: of a face, or of a frame without any."""

    __slots__ = ("box", "face", "frame", "key", "reused", "track")

    def __init__(self, frame: Frame, key: str, face: Face | None, track: int, box: Box | None) -> None:
        self.frame, self.key, self.face, self.track, self.box = frame, key, face, track, box
        self.reused = False


@dataclass(slots=True)
class _Kept:
    """A track's last scored crop."""

    scores: Scores | None  # None until they are there
    face: Face
    frames: int = 0


class Pipeline:
    """One video's way through detector, tracker and scorer. Iterate once, then look at `seconds`; close it after.

    finder: the detector or boxes of a file, None for whole frames. crops: keep the crops, for a report. seconds: of
    work by stage: decode (on its own thread, beside the others), convert, detect, track, score.
    """

    def __init__(
        self,
        scorer: Scorer,
        source: AnySource,
        options: VideoOptions,
        finder: FaceFinder | None,
        *,
        every: bool = False,
        crops: bool = False,
    ) -> None:
        self.source = source
        self.frames = self.faces = 0
        self.seconds = dict.fromkeys(("decode", "convert", "detect", "track", "score"), 0.0)
        self._scorer, self._options, self._finder = scorer, options, finder
        self._every, self._crops = every, crops
        following = options.track and options.faces.faces != "none"
        self._tracker = Tracker() if following else None
        self._smoother = Smoother(options.smooth, max(MEMORY, _GAP * options.smooth)) if options.smooth else None
        both_open = options.score_every is None and options.score_change is None
        self._policy = ReusePolicy(1 if both_open else options.score_every, options.score_change)
        self._kept: OrderedDict[int, _Kept] = OrderedDict()
        self._failure: Exception | None = None
        self._ahead = Ahead(source)

    def __iter__(self) -> Iterator[VideoBatch]:
        size = self._group_size()
        items: list[Frame | Sound] = []
        pictures: list[tuple[Frame, UInt8Array]] = []
        pixels = 0
        for item in self._read():
            items.append(item)
            if not isinstance(item, Frame) or not item.chosen:
                if len(items) >= _MAX_BETWEEN and not pictures:  # for an overlay: they wait for nothing
                    yield self._batch(items, pictures)
                    items = []
                continue
            with self._timed("convert"):
                rgb = item.rgb()
            pictures.append((item, rgb))
            pixels += rgb.shape[0] * rgb.shape[1]
            if len(pictures) >= size or pixels >= _MAX_PIXELS:
                yield self._batch(items, pictures)
                items, pictures, pixels = [], [], 0
        if items:
            yield self._batch(items, pictures)
        if self._failure is not None:
            raise self._failure

    def _read(self) -> Iterator[Frame | Sound]:
        """The source's items; its error is kept until what came before it is scored."""
        try:
            yield from self._ahead
        except Exception as error:
            self._failure = error

    def stop(self) -> None:
        """Let the iteration end after the frames that were read; for signal handlers, as it takes no lock."""
        self._ahead.stopped = True

    def close(self) -> None:
        """End the decoding thread and close the source."""
        self._ahead.close()
        self.seconds["decode"] = self._ahead.seconds

    def _group_size(self) -> int:
        """One frame where it must not wait for the next, or where those between two would be held; else a few."""
        if self.source.live or self._every:
            return 1
        return max(_MIN_FRAMES, min(self._scorer.backend.batch_size, _MAX_FRAMES))

    def _batch(self, items: list[Frame | Sound], pictures: list[tuple[Frame, UInt8Array]]) -> VideoBatch:
        self.seconds["decode"] = self._ahead.seconds
        rows = self._rows(pictures)
        timeline = self._timeline(rows, self._score(rows, pictures), pictures)
        self.frames += len(pictures)
        self.faces += sum(row.face is not None for row in rows)
        places: dict[int, range] = {}
        for i, row in enumerate(rows):
            first = places[row.frame.index].start if row.frame.index in places else i
            places[row.frame.index] = range(first, i + 1)
        told = tuple((item, places.get(item.index) if isinstance(item, Frame) else None) for item in items)
        return VideoBatch(timeline, told, tuple(frame.arrived for frame, _ in pictures))

    def _rows(self, pictures: list[tuple[Frame, UInt8Array]]) -> list[_Row]:
        with self._timed("detect"):
            found = self._find(pictures)
        rows = []
        with self._timed("track"):
            for (frame, rgb), faces in zip(pictures, found, strict=True):
                key = f"{self.source.name}::frame{frame.index}"
                if faces is None:
                    rows.append(_Row(frame, key, None, NO_TRACK, Box(0, 0, rgb.shape[1], rgb.shape[0])))
                    continue
                size = (rgb.shape[1], rgb.shape[0])
                tracks = self._identities(frame, faces, size)
                for i, (face, track) in enumerate(zip(faces, tracks, strict=True)):
                    box = face_crop(face, self._options.faces.margin)
                    rows.append(_Row(frame, f"{key}::box{i}", face, track, box))
                if not faces:
                    rows.append(_Row(frame, key, None, NO_TRACK, None))
        return rows

    def _find(self, pictures: list[tuple[Frame, UInt8Array]]) -> Sequence[tuple[Face, ...] | None]:
        """The faces of each frame; None for "the whole frame"."""
        if self._finder is None:
            return [None] * len(pictures)
        keys = [(frame.index, frame.seconds) for frame, _ in pictures]
        return self._finder.detect([rgb for _, rgb in pictures], keys)

    def _identities(self, frame: Frame, faces: tuple[Face, ...], size: tuple[int, int]) -> list[int]:
        if self._tracker is None:
            return [NO_TRACK if face.track is None else face.track for face in faces]
        return self._tracker.update(frame.seconds, faces, size)

    def _score(self, rows: list[_Row], pictures: list[tuple[Frame, UInt8Array]]) -> Scores:
        """The rows' scores, in their order; reused ones from their track's last scored crop."""
        rgb = {frame.index: picture for frame, picture in pictures}
        last: dict[int, int] = {}  # of each track, the row of this batch that is scored
        origin: list[int | Scores] = []  # of each row: a row that is scored, or kept scores
        to_score: list[Picture] = []
        for row in rows:
            kept = self._due(row)
            if kept is not None:
                row.reused = True
                origin.append(last[row.track] if row.track in last or kept.scores is None else kept.scores)
                continue
            origin.append(len(to_score))
            if row.track != NO_TRACK:
                last[row.track] = len(to_score)
            if row.box is None:
                to_score.append(Picture(row.key, None, Status.NO_FACE, "no face found"))
            else:
                to_score.append(Picture(row.key, rgb[row.frame.index], boxes=(row.box,)))
        with self._timed("score"):
            batches = self._scorer.batches(to_score, embeddings=self._options.embeddings)
            parts = [batch.scores for batch in batches]
        return self._joined(rows, origin, parts)

    def _due(self, row: _Row) -> "_Kept | None":
        """The track's kept scores where this row takes them over; None where it is to be scored, which is noted."""
        if row.face is None or row.track == NO_TRACK or self._policy.scores_all:
            return None
        kept = self._kept.get(row.track)
        if kept is not None:
            kept.frames += 1
            if not self._policy.due(row.face, kept.face, kept.frames):
                return kept
        self._kept[row.track] = _Kept(None, row.face)
        self._kept.move_to_end(row.track)
        while len(self._kept) > _MAX_TRACKS:
            self._kept.popitem(last=False)
        return None

    def _joined(self, rows: list[_Row], origin: list[int | Scores], parts: list[Scores]) -> Scores:
        olds = [one for one in origin if isinstance(one, Scores)]
        base = sum(map(len, parts))
        if not rows:
            return self._scorer([])
        pool = Scores.concat([*parts, *olds])
        places, used = [], 0
        for one in origin:
            if isinstance(one, int):
                places.append(one)
            else:
                places.append(base + used)
                used += 1
        scores = pool.select(places, [row.key for row in rows])
        for i, row in enumerate(rows):
            if row.track in self._kept and not row.reused:
                if scores.status[i] == Status.OK:
                    self._kept[row.track].scores = scores.select([i])
                else:  # nothing to take over
                    del self._kept[row.track]
        boxes = [(np.nan,) * 5 if f is None else (f.x, f.y, f.width, f.height, f.score) for f in (r.face for r in rows)]
        return replace(scores, faces=np.array(boxes, np.float64).reshape(-1, 5))

    def _timeline(self, rows: list[_Row], scores: Scores, pictures: list[tuple[Frame, UInt8Array]]) -> Timeline:
        return Timeline(
            scores=scores,
            source=self.source.name,
            pts=np.array([row.frame.pts for row in rows], np.int64),
            seconds=np.array([row.frame.seconds for row in rows], np.float64),
            frame=np.array([row.frame.index for row in rows], np.int64),
            time_bases=tuple(row.frame.time_base for row in rows),
            track=np.array([row.track for row in rows], np.int64),
            reused=np.array([row.reused for row in rows], bool),
            smooth=self._smoothed(rows, scores),
            crops=self._cut(rows, pictures),
        )

    def _smoothed(self, rows: list[_Row], scores: Scores) -> Any:
        if self._smoother is None or (self._tracker is None and self._finder is not None):
            return None
        out = np.full((len(rows), len(scores.names)), np.nan)
        for i, row in enumerate(rows):
            if scores.status[i] == Status.OK:
                out[i] = self._smoother(row.track, row.frame.seconds, scores.raw[i].astype(np.float64))
        return out

    def _cut(self, rows: list[_Row], pictures: list[tuple[Frame, UInt8Array]]) -> tuple[UInt8Array | None, ...]:
        if not self._crops:
            return ()
        rgb = {frame.index: picture for frame, picture in pictures}
        found: list[UInt8Array | None] = []
        for row in rows:
            inside = None if row.box is None else row.box.inside(*rgb[row.frame.index].shape[1::-1])
            part = (
                None if inside is None else rgb[row.frame.index][inside.top : inside.bottom, inside.left : inside.right]
            )
            found.append(part)
        return tuple(found)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - began


def stream(scorer: Scorer, source: Any, options: VideoOptions | None = None) -> Iterator[Timeline]:
    """Score the faces of a video (extra `video`).

    A generator: it decodes ahead on a thread, and its memory is bounded however long the source is. Of a live source
    the newest frame wins. Close the generator to end early.

    Args:
        scorer: scores the crops of the faces; it is opened where that is not done yet.
        source: a path, a URL (RTSP, HTTP, ...), a camera (0, "/dev/video0"), an open PyAV container, or an iterable
            of (seconds, frame) with frames [H, W, 3] uint8 RGB, on the host or, with `__dlpack__`, on the GPU.
        options: which frames and faces are scored. None takes the defaults of VideoOptions.

    Returns:
        Timelines of some consecutive rows each, in the order of time.

    Raises:
        InputError: when the source cannot be opened, has no video, or ends with an error.
        OptionError: when the sampling or the face options cannot work.
        MissingPackageError: when PyAV, scipy or another package of the extra is not installed.
        CheckpointError: when the scorer's weights or the face detector's model cannot be had.
    """
    chosen = options or VideoOptions()
    opened = open_video(source, chosen, threads=scorer.options.threads)
    try:
        pipeline = Pipeline(scorer, opened, chosen, video_finder(chosen.faces, scorer))
    except BaseException:
        opened.close()
        raise
    try:
        for batch in pipeline:
            yield batch.timeline
    finally:
        pipeline.close()


def video_finder(faces: FaceOptions, scorer: Scorer) -> FaceFinder | None:
    """See faces.open_finder, with the scorer's settings."""
    options = scorer.options
    return open_finder(faces, options.cache_dir, options.threads, detector_device(scorer.place))
