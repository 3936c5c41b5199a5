"""Scores of sampled frames: a track's face may take over those of its last scored crop; and smoothing over time."""

import math
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ..faces.geometry import boxes_of, overlaps
from ..faces.track import GapLimit
from ..options import VideoOptions
from ..records import Face, Float64Array, Picture, Status
from ..scorer import ScoredBatch
from ..scores import Scores, face_values
from ..timeline import NO_TRACK
from .faces import Curve, FrameFaces

# Curves that are remembered; the one that was not seen, or not scored, for the longest time goes first.
_MAX_CURVES = 256


@dataclass(slots=True)
class _Kept:
    """A track's last scored crop: its face, the frames since then, and its scores as soon as they are there."""

    face: Face
    frames: int = 0
    scores: Scores | None = None


class BatchScorer(Protocol):
    """What scores the crops of frames: a Scorer, or a server's queue. For both methods see Scorer."""

    def batches(self, pictures: Iterable[Picture], *, embeddings: bool = False) -> Iterator[ScoredBatch]: ...

    def empty(self, *, embeddings: bool = False) -> Scores: ...


class FrameScorer:
    """Scores the rows of one video's sampled frames. Call it with the frames in their order."""

    def __init__(self, scorer: BatchScorer, options: VideoOptions) -> None:
        self._scorer, self._options = scorer, options
        self._embeddings = options.embeddings or options.people is not None
        self._scores_all = options.score_every == 1 or (options.score_every is None and options.score_change is None)
        self._kept: OrderedDict[Curve, _Kept] = OrderedDict()

    def __call__(self, frames: Sequence[FrameFaces]) -> tuple[Scores, npt.NDArray[np.bool_]]:
        """The scores of the frames' N rows, and [N] bool: which rows took over earlier ones."""
        faces = [face for frame in frames for face in frame.picture.faces or (None,)]
        curves = [curve for frame in frames for curve in frame.curves()]
        kept = [self._reusable(face, curve) for face, curve in zip(faces, curves, strict=True)]
        reused = np.array([one is not None for one in kept], bool)
        batches = list(self._scorer.batches(_to_score(frames, reused), embeddings=self._embeddings))
        measured = iter([row.face for batch in batches for row in batch.decoded])  # how sharp and bright each crop is
        faces = [next(measured) if one is None else face for face, one in zip(faces, kept, strict=True)]
        pool = [batch.scores for batch in batches] or [self._scorer.empty(embeddings=self._embeddings)]
        scored, end = 0, sum(map(len, pool))
        latest: dict[Curve, int] = {}  # of each curve, where its scores lie in the pool
        places = []
        for curve, one in zip(curves, kept, strict=True):
            if one is None:
                latest[curve], scored = scored, scored + 1
            elif curve not in latest and one.scores is not None:
                pool.append(one.scores)
                latest[curve], end = end, end + 1
            places.append(latest[curve])
        keys = [key for frame in frames for key in frame.picture.row_keys()]
        scores = Scores.concat(pool).select(places, keys)
        self._keep(scores, curves, reused)
        return replace(scores, faces=face_values(faces)), reused

    def _reusable(self, face: Face | None, curve: Curve) -> _Kept | None:
        """The track's last scored crop where this row takes over its scores; None where the row is to be scored."""
        if face is None or curve[0] == NO_TRACK or self._scores_all:
            return None
        kept = self._kept.get(curve)
        if kept is not None:
            kept.frames += 1
            if not due(self._options, face, kept.face, kept.frames):
                return kept
        self._kept[curve] = _Kept(face)
        self._kept.move_to_end(curve)
        if len(self._kept) > _MAX_CURVES:
            self._kept.popitem(last=False)
        return None

    def _keep(self, scores: Scores, curves: Sequence[Curve], reused: Iterable[np.bool_]) -> None:
        """Keep the scores of the tracks that were scored; of a failed row there is nothing to take over."""
        for i, (curve, old) in enumerate(zip(curves, reused, strict=True)):
            if old or curve not in self._kept:
                continue
            if scores.status[i] == Status.OK:
                self._kept[curve].scores = scores.select([i])
            else:
                del self._kept[curve]


def due(options: VideoOptions, face: Face, last: Face, frames: int) -> bool:
    """Whether a track's face is scored again; `last` was scored, so many sampled `frames` ago."""
    if options.score_every is not None and frames >= options.score_every:
        return True
    if options.score_change is None:
        return False
    overlap = float(overlaps(boxes_of([face]), boxes_of([last]))[0, 0])
    return 1 - overlap > options.score_change


def _to_score(frames: Sequence[FrameFaces], reused: npt.NDArray[np.bool_]) -> Iterable[Picture]:
    """The frames' pictures with those faces alone that are to be scored."""
    start = 0
    for frame in frames:
        wanted = ~reused[start : start + len(frame.tracks)]
        start += len(frame.tracks)
        picture = frame.picture
        if wanted.all():
            yield picture
        elif wanted.any():
            faces = picture.faces or ()
            yield replace(picture, boxes=tuple(compress(picture.boxes, wanted)), faces=tuple(compress(faces, wanted)))


class Smoother:
    """Exponential smoothing of each curve in time, not in frames, so that a variable frame rate changes nothing.

        s(t) = s(t0) + (1 - exp(-(t - t0) / tau)) (x(t) - s(t0))        s(first) = x(first)

    Args:
        tau: time constant in seconds, above 0.
        gap: how long a curve may be without a value; after more it begins anew.
    """

    def __init__(self, tau: float, gap: GapLimit) -> None:
        self._tau, self._gap = tau, gap
        self._last: OrderedDict[Curve, tuple[int, float, Float64Array]] = OrderedDict()

    def __call__(self, curve: Curve, number: int, seconds: float, values: Float64Array) -> Float64Array:
        """The smoothed values [D] of a curve in a sampled frame; `values` come back where it begins (anew)."""
        before = self._last.pop(curve, None)
        smooth = np.asarray(values, np.float64)
        if before is not None and self._gap.bridges(seconds - before[1], number - before[0]):
            weight = -math.expm1(-(seconds - before[1]) / self._tau)
            smooth = before[2] + weight * (smooth - before[2])
        self._last[curve] = (number, seconds, smooth)
        if len(self._last) > _MAX_CURVES:
            self._last.popitem(last=False)
        return smooth
