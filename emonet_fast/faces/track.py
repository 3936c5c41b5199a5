"""Follows faces from frame to frame: each face is compared with the place where each track should be by now.

Each track has a box and a velocity in pixels a second. For a frame at time t the boxes are moved on, by at most _AHEAD
seconds. Then faces and tracks are paired so that the sum of the costs is least (scipy's linear_sum_assignment):

    cost = 1 - IoU(predicted, found) + |centre difference| / size + unlike        size = mean of both longer sides

`unlike` is 1 - cosine of their looks, tiny pictures of the faces (looks.py), at most 1. A pair is allowed where the
centres are less than _REACH sizes apart, the sizes differ by less than a factor of 2, and unlike < _UNLIKE + IoU (of
which a quarter counts where the last frame did not have the face). At few samples a second, people who pass each other
can be where the other one should be. So a pair is given up where two faces would be clearly more like the other's
track, or one face like a track that nobody continues: two numbers for one person are better than one for two. A face
that was away for longer than a track is remembered gets a new number, and so does every face after a cut.
Source: SORT (Bewley et al. 2016), with velocities in seconds, so that a variable frame rate is right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..optional import need
from ..records import Face, Float64Array
from .geometry import boxes_of, overlaps

# A track outlives one sampled frame without its face, however few are sampled.
_SAMPLES = 2
# Times are ticks that became floats: 0.4 - 0.1 is a little more than 0.3. A tick is a microsecond at the least.
_ROUNDING = 1e-6
# How far a face may be from where its track should be, in sizes of the face. At 2 frames a second the face of a walking
# person moves by about one size. A known velocity predicts it better, but people turn.
_REACH = 1.2
_GROWTH = 2.0
# How unlike a face may be that does not overlap with where its track should be.
_UNLIKE = 0.3
# What overlap still says of who it is where the frame before did not have the face: somebody else may sit there.
_AFTER_GAP = 0.25
# Looks that are clearly more alike: by this factor, and by more than noise.
_CLEAR, _NOISE = 0.7, 0.1
# The last look's part of a track's: a face that is half covered for a frame does not become another one.
_FRESH = 0.5
# Seconds over which a velocity is averaged: if a box trembles by a pixel, that is 25 pixels a second at 25 frames a
# second.
_STEADY = 0.4
# Seconds for which a face is expected to go on as it moved; people turn and stop.
_AHEAD = 1.0

_Places: TypeAlias = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class GapLimit:
    """How far two neighbouring frames of one track may be apart: in seconds or in frames, whichever is longer.

    Args:
        seconds: the longest time between the two.
    """

    seconds: float

    def bridges(self, seconds: float, frames: int) -> bool:
        """Whether a track goes on after so many seconds and sampled frames. It does not where time steps back."""
        return seconds >= 0 and (seconds <= self.seconds + _ROUNDING or frames <= _SAMPLES)


@dataclass(slots=True)
class _Track:
    """A face that is followed, as it was when it was last seen."""

    number: int
    box: Float64Array  # x, y, width, height
    velocity: Float64Array  # of x and y, pixels a second
    seen: float
    frame: int  # the sampled frame in which it was seen
    scene: int
    look: Float64Array
    times: int = 1

    def at(self, seconds: float) -> Float64Array:
        moved = self.box.copy()
        moved[:2] += self.velocity * min(seconds - self.seen, _AHEAD)
        return moved


class Tracker:
    """Gives the faces of one video's sampled frames their track numbers. Needs scipy.

    A face that has an identity already keeps it, and is not followed.

    Args:
        memory: how long a track is remembered while its face is not found.
        first: the first track's number; lower ones are identities of a file.
    """

    def __init__(self, memory: GapLimit, first: int = 1) -> None:
        self._assign = need("scipy.optimize", "tracking faces").linear_sum_assignment
        self._memory, self._next = memory, first
        self._tracks: list[_Track] = []
        self._size: tuple[int, int] | None = None
        self._frame = 0

    def update(
        self,
        seconds: float,
        faces: Sequence[Face],
        size: tuple[int, int] | None = None,
        scene: int = 0,
        looks: Float64Array | None = None,
    ) -> list[int]:
        """The track number of each face of the next sampled frame.

        Tracks of another scene rest until that scene comes back, as after a flash. A new size of the frame (width,
        height) ends all tracks, as boxes of two sizes cannot be compared. looks: [n, D] of looks_of, always or never;
        without them motion alone tells who is who.
        """
        if size != self._size:
            self._tracks, self._size = [], size
        self._frame += 1
        self._tracks = [t for t in self._tracks if self._memory.bridges(seconds - t.seen, self._frame - t.frame)]
        followed = [i for i, face in enumerate(faces) if face.track is None]
        boxes = boxes_of([faces[i] for i in followed])
        looks = np.ones((len(followed), 1)) if looks is None else looks[followed]
        pairs = dict(self._pairs(seconds, boxes, looks, [t for t in self._tracks if t.scene == scene]))
        numbers = [face.track or 0 for face in faces]
        for place, (i, box, look) in enumerate(zip(followed, boxes, looks, strict=True)):
            track = pairs.get(place)
            if track is None:
                track = _Track(self._next, box, np.zeros(2), seconds, self._frame, scene, look)
                self._next += 1
                self._tracks.append(track)
            else:
                self._move(track, seconds, box, look)
            numbers[i] = track.number
        return numbers

    def _pairs(
        self, seconds: float, boxes: Float64Array, looks: Float64Array, tracks: list[_Track]
    ) -> list[tuple[int, _Track]]:
        if not len(boxes) or not tracks:
            return []
        predicted = np.array([t.at(seconds) for t in tracks])
        sizes = (boxes[:, None, 2:].max(axis=2) + predicted[None, :, 2:].max(axis=2)) / 2
        ratio = boxes[:, None, 2:].max(axis=2) / predicted[None, :, 2:].max(axis=2)
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        apart = np.linalg.norm(centres[:, None] - (predicted[:, :2] + predicted[:, 2:] / 2)[None], axis=2) / sizes
        overlap = overlaps(boxes, predicted)
        unlike = np.minimum(1.0, 1 - looks @ np.array([t.look for t in tracks]).T)
        cost = 1 - overlap + apart + unlike
        trust = np.array([1.0 if t.frame == self._frame - 1 else _AFTER_GAP for t in tracks])
        allowed = (apart < _REACH) & (ratio < _GROWTH) & (ratio > 1 / _GROWTH) & (unlike < _UNLIKE + trust * overlap)
        # Far above every allowed cost, so that as many faces as possible are paired.
        rows, columns = self._assign(np.where(allowed, cost, 4 * (3 + _REACH)))
        paired = allowed[rows, columns]
        rows, columns = rows[paired], columns[paired]
        kept = ~_mistaken(unlike, rows, columns)
        return [(int(r), tracks[c]) for r, c in zip(rows[kept], columns[kept], strict=True)]

    def _move(self, track: _Track, seconds: float, box: Float64Array, look: Float64Array) -> None:
        passed = seconds - track.seen
        if passed > 0:
            moved = (box[:2] + box[2:] / 2 - track.box[:2] - track.box[2:] / 2) / passed
            trust = max(1 / track.times, -math.expm1(-passed / _STEADY))
            track.velocity = track.velocity + trust * (moved - track.velocity)
        track.box, track.look = box, track.look + _FRESH * (look - track.look)
        track.seen, track.frame, track.times = seconds, self._frame, track.times + 1


def _mistaken(unlike: Float64Array, rows: _Places, columns: _Places) -> npt.NDArray[np.bool_]:
    """Which pairs (row, column) would clearly be more alike with another pair's partner, or with one that is alone."""
    own, swapped = unlike[rows, columns], unlike[np.ix_(rows, columns)]
    change = (swapped + swapped.T < _CLEAR * (own + own[:, None]) - _NOISE).any(axis=1)
    tracks_alone = np.delete(unlike, columns, axis=1)[rows].min(axis=1, initial=np.inf)
    faces_alone = np.delete(unlike, rows, axis=0)[:, columns].min(axis=0, initial=np.inf)
    mistaken: npt.NDArray[np.bool_] = change | (np.minimum(tracks_alone, faces_alone) < _CLEAR * own - _NOISE)
    return mistaken
