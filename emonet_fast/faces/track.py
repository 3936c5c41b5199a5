"""Follows faces from frame to frame: each face is compared with the place where each track should be by now.

Each track has a box and a velocity in pixels a second. For a frame at time t the boxes are moved on. Then faces and
tracks are paired so that the sum of the costs is least (scipy's linear_sum_assignment):

    cost = 1 - IoU(predicted, found) + |centre difference| / size        size = mean of both longer sides

A pair is allowed where the centres are less than _REACH sizes apart and the sizes differ by less than a factor of 2.
Only motion tells who is who: a face that comes back after more than MEMORY seconds gets a new number.
Source: SORT (Bewley et al. 2016), with velocities in seconds, so that a variable frame rate is right.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..optional import need
from ..records import Face, Float64Array
from .geometry import boxes_of, overlaps

# A track is remembered for so many seconds while its face is not found.
MEMORY = 1.0
# How far a face may be from where its track should be, in sizes of the face. At 2 frames a second the face of a walking
# person moves by about one size. A known velocity predicts it better, but people turn.
_REACH = 1.2
_GROWTH = 2.0
# Seconds over which a velocity is averaged: if a box trembles by a pixel, that is 25 pixels a second at 25 frames a
# second.
_STEADY = 0.4


@dataclass(slots=True)
class _Track:
    """A face that is followed, as it was when it was last seen."""

    number: int
    box: Float64Array  # x, y, width, height
    velocity: Float64Array  # of x and y, pixels a second
    seen: float
    times: int = 1

    def at(self, seconds: float) -> Float64Array:
        moved = self.box.copy()
        moved[:2] += self.velocity * (seconds - self.seen)
        return moved


class Tracker:
    """Gives the faces of one video's consecutive frames their track numbers, from 1. Needs scipy."""

    def __init__(self) -> None:
        self._assign = need("scipy.optimize", "tracking faces").linear_sum_assignment
        self._tracks: list[_Track] = []
        self._next = 1
        self._size: tuple[int, int] | None = None

    def update(self, seconds: float, faces: Sequence[Face], size: tuple[int, int] | None = None) -> list[int]:
        """The track number of each face of a frame. A face that already has a track keeps its number.

        A new size of the frame (width, height) ends all tracks, as boxes of two sizes cannot be compared.
        """
        if size != self._size:
            self._tracks, self._size = [], size
        # Where time steps back (a restarted stream), no track can be moved on.
        self._tracks = [t for t in self._tracks if 0 <= seconds - t.seen <= MEMORY]
        boxes = boxes_of(faces)
        pairs = dict(self._pairs(seconds, boxes))
        numbers = []
        for i, face in enumerate(faces):
            track = pairs.get(i)
            if track is None:
                track = _Track(self._next, boxes[i], np.zeros(2), seconds)
                self._next += 1
                self._tracks.append(track)
            else:
                self._move(track, seconds, boxes[i])
            numbers.append(track.number if face.track is None else face.track)
        return numbers

    def _pairs(self, seconds: float, boxes: Float64Array) -> list[tuple[int, _Track]]:
        if not len(boxes) or not self._tracks:
            return []
        predicted = np.array([t.at(seconds) for t in self._tracks])
        sizes = (boxes[:, None, 2:].max(axis=2) + predicted[None, :, 2:].max(axis=2)) / 2
        ratio = boxes[:, None, 2:].max(axis=2) / predicted[None, :, 2:].max(axis=2)
        centres = boxes[:, :2] + boxes[:, 2:] / 2
        apart = np.linalg.norm(centres[:, None] - (predicted[:, :2] + predicted[:, 2:] / 2)[None], axis=2) / sizes
        cost = 1 - overlaps(boxes, predicted) + apart
        allowed = (apart < _REACH) & (ratio < _GROWTH) & (ratio > 1 / _GROWTH)
        # Far above every allowed cost, so that as many faces as possible are paired.
        rows, columns = self._assign(np.where(allowed, cost, 4 * (1 + _REACH)))
        return [(int(r), self._tracks[c]) for r, c in zip(rows, columns, strict=True) if allowed[r, c]]

    def _move(self, track: _Track, seconds: float, box: Float64Array) -> None:
        passed = seconds - track.seen
        if passed > 0:
            moved = (box[:2] + box[2:] / 2 - track.box[:2] - track.box[2:] / 2) / passed
            trust = max(1 / track.times, -math.expm1(-passed / _STEADY))
            track.velocity = track.velocity + trust * (moved - track.velocity)
        track.box, track.seen, track.times = box, seconds, track.times + 1
