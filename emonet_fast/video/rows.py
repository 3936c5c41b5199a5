"""Sampled frames to scored rows: faces are found, followed, scored, joined to people, smoothed."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from ..faces import FaceFinder
from ..faces.people import People
from ..faces.track import GapLimit
from ..options import VideoOptions
from ..process import Stopwatch
from ..records import Picture, Status, UInt8Array
from ..scores import Scores
from ..sources.video.frames import Fact, Frame
from ..timeline import NO_TRACK, Timeline
from .faces import FaceFollower, FrameFaces
from .scoring import BatchScorer, FrameScorer, Smoother

# After a gap of more than so many time constants, and than a track's memory, a smoothed curve begins anew.
_GAP = 3.0


class FrameRows:
    """The rows of one video's sampled frames. Call it with the frames in their order.

    Args:
        scorer: scores the crops of the faces.
        name: of the video.
        facts: of its pixels, as far as they are known.
        options: how the faces are followed, scored and smoothed.
        finder: the detector or the boxes of a file; None takes whole frames.
        crops: time lines carry the crops, for a report.
        watch: adds up the seconds of work by stage: detect, track, score. None makes a new one.
    """

    def __init__(
        self,
        scorer: BatchScorer,
        name: str,
        facts: Mapping[str, Fact],
        options: VideoOptions,
        finder: FaceFinder | None,
        *,
        crops: bool = False,
        watch: Stopwatch | None = None,
    ) -> None:
        self._name, self._facts, self._crops = name, facts, crops
        self._watch = watch or Stopwatch()
        self._follower = FaceFollower(name, finder, options)
        self._score = FrameScorer(scorer, options)
        self._embeddings = options.embeddings
        self._people = None
        if options.people is not None and finder is not None:
            self._people = People(options.people, finder.identities + 1)
        one_curve_a_track = options.track or finder is None
        gap = GapLimit(max(options.track_memory, _GAP * options.smooth))
        self._smoother = Smoother(options.smooth, gap) if options.smooth and one_curve_a_track else None

    def __call__(self, sampled: Sequence[tuple[Frame, UInt8Array]]) -> tuple[Timeline, list[FrameFaces]]:
        """The rows of some frames [H, W, 3] uint8 RGB, and the faces of each frame."""
        with self._watch("detect"):
            faces = self._follower.find(sampled)
        with self._watch("track"):
            frames = [self._follower.follow(*pair, some) for pair, some in zip(sampled, faces, strict=True)]
        with self._watch("score"):
            scores, reused = self._score(frames)
        return self._timeline(frames, scores, reused), frames

    def _timeline(self, frames: list[FrameFaces], scores: Scores, reused: npt.NDArray[np.bool_]) -> Timeline:
        rows = [frame.frame for frame in frames for _ in frame.tracks]
        tracks = [track for frame in frames for track in frame.tracks]
        if self._people is not None:
            tracks = self._joined(self._people, frames, scores, reused)
            scores = scores if self._embeddings else replace(scores, embeddings=None)
        smooth = None
        if self._smoother is not None:
            smooth = np.full(scores.raw.shape, np.nan)
            curves = [(curve, frame.number) for frame in frames for curve in frame.curves()]
            for i in np.flatnonzero(scores.ok).tolist():
                smooth[i] = self._smoother(*curves[i], rows[i].seconds, scores.raw[i].astype(np.float64))
        return Timeline(
            scores=replace(
                scores, metadata={**scores.metadata, **{name: fact.text for name, fact in self._facts.items()}}
            ),
            source=self._name,
            pts=np.array([row.pts for row in rows], np.int64),
            seconds=np.array([row.seconds for row in rows], np.float64),
            frame=np.array([row.index for row in rows], np.int64),
            time_bases=tuple(row.time_base for row in rows),
            track=np.array(tracks, np.int64),
            reused=reused,
            smooth=smooth,
            crops=tuple(crop for frame in frames for crop in _crops(frame.picture)) if self._crops else (),
        )

    def _joined(
        self, people: People, frames: list[FrameFaces], scores: Scores, reused: npt.NDArray[np.bool_]
    ) -> list[int]:
        """The number of each row's person, NO_TRACK where that is not clear."""
        embeddings = np.full((len(scores), 1), np.nan) if scores.embeddings is None else scores.embeddings
        numbers: list[int] = []
        for frame in frames:
            rows = slice(len(numbers), len(numbers) + len(frame.tracks))
            faces = frame.picture.faces or ()
            values = embeddings[rows].astype(np.float64)
            numbers += people.numbers(frame.frame.scene, faces, frame.tracks, values, ~reused[rows]) or [NO_TRACK]
        return numbers


def _crops(picture: Picture) -> list[UInt8Array | None]:
    """The pixels of each row's crop, as far as it lies in the picture."""
    if picture.status != Status.OK:
        return [None]
    rgb = np.asarray(picture.data)
    if not picture.boxes:
        return [rgb]
    parts = [box.inside(rgb.shape[1], rgb.shape[0]) for box in picture.boxes]
    return [None if part is None else rgb[part.top : part.bottom, part.left : part.right] for part in parts]
