"""Joins tracks into people, of whom there are at most a given number: who comes back has the number from before.

A person is known by the place and size of the last face, the scene of it, and the mean embedding of the scored faces.
A track that begins is joined, or becomes a person, in its first frame where that is clear, else later; until then it is
nobody's. Wrongly joined people are worse than split ones, so a join needs more while numbers are left:

- A number is left: the face is where the person was last seen (less than _NEAR sizes apart, of similar size), and no
  farther from their mean embedding than twice their own farthest face; after a cut, no farther than that one. Else the
  face is somebody new.
- None is left: the face is one of those who are absent. It is the only one, or the one whose embedding is nearest: much
  nearer than the next one's, or who alone was last seen there in this scene. Else it stays nobody's.
- Never, where some other known person is about as near to the person as the face is.

How far embeddings of one person lie apart differs between checkpoints, faces and videos. So distances (1 - cosine) are
only compared with those of the same video, and never with a constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..records import Face, Float64Array
from ..timeline import NO_TRACK
from .geometry import boxes_of

_NEAR = 1.2  # sizes, as tracks reach
_GROWTH = 2.0
# Of two distances, the clearly smaller one is at most this part of the other one.
_CLEAR = 0.7
# Faces after which a person's farthest one says something.
_KNOWN = 3
# The mean embedding follows the last so many faces.
_WINDOW = 50


@dataclass(slots=True)
class _Person:
    number: int
    track: int  # the last one
    face: Face
    scene: int
    mean: Float64Array
    farthest: float = 0.0
    faces: int = 1


@dataclass(frozen=True, slots=True)
class _Fit:
    """How a face fits an absent person. distance: of embeddings; near: it is where the person was last seen;
    nearest: no other known person is about as near to the person."""

    row: int
    person: _Person
    distance: float
    near: bool
    nearest: bool


class People:
    """Gives the tracks of one video's sampled frames the numbers of people.

    Args:
        most: how many people there are at most.
        first: the first one's number; tracks with a lower number keep it.
    """

    def __init__(self, most: int, first: int = 1) -> None:
        self._most, self._first = most, first
        self._people: list[_Person] = []

    def numbers(
        self,
        scene: int,
        faces: Sequence[Face],
        tracks: Sequence[int],
        embeddings: Float64Array,
        fresh: npt.NDArray[np.bool_],
    ) -> list[int]:
        """The person of each face of the next sampled frame, NO_TRACK where that is not clear.

        embeddings: [n, D], NaN where a face has none. fresh: [n], whether it was scored in this frame.
        """
        if not faces:
            return []
        with np.errstate(invalid="ignore", divide="ignore"):
            units = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
        persons: list[_Person | None] = [next((p for p in self._people if p.track == t), None) for t in tracks]
        open_rows = [i for i, track in enumerate(tracks) if track >= self._first and persons[i] is None]
        open_rows = [i for i in open_rows if np.isfinite(units[i]).all()]
        for row, person in self._joined(scene, faces, units, open_rows, persons):
            persons[row], person.track = person, tracks[row]
        for row in open_rows:
            if persons[row] is None and len(self._people) < self._most:
                number = self._first + len(self._people)
                self._people.append(_Person(number, tracks[row], faces[row], scene, units[row]))
                persons[row] = self._people[-1]
        for row, known in enumerate(persons):
            if known is not None:
                self._seen(known, faces[row], scene, units[row] if fresh[row] else None)
        numbers = [NO_TRACK if person is None else person.number for person in persons]
        return [track if track < self._first else n for track, n in zip(tracks, numbers, strict=True)]

    def _seen(self, person: _Person, face: Face, scene: int, unit: Float64Array | None) -> None:
        person.face, person.scene = face, scene
        if unit is not None and np.isfinite(unit).all():
            person.farthest = max(person.farthest, _distance(unit, person.mean))
            person.mean = person.mean + (unit - person.mean) / min(person.faces + 1, _WINDOW)
            person.faces += 1

    def _joined(
        self,
        scene: int,
        faces: Sequence[Face],
        units: Float64Array,
        rows: list[int],
        persons: Sequence[_Person | None],
    ) -> list[tuple[int, _Person]]:
        """The rows that are clearly an absent person, each with that one."""
        joined: list[tuple[int, _Person]] = []
        while rows:
            taken = [*persons, *(person for _, person in joined)]
            absent = [p for p in self._people if not any(p is one for one in taken)]
            left = [i for i in rows if not any(i == row for row, _ in joined)]
            fits = [self._fit(i, faces[i], units[i], person) for i in left for person in absent]
            clear = [fit for fit in fits if fit.nearest and self._clear(fit, fits, scene)]
            if not clear:
                break
            best = min(clear, key=lambda fit: (not fit.near, fit.distance))
            joined.append((best.row, best.person))
        return joined

    def _fit(self, row: int, face: Face, unit: Float64Array, person: _Person) -> _Fit:
        distance = _distance(unit, person.mean)
        others = [_distance(other.mean, person.mean) for other in self._people if other is not person]
        apart, ratio = _place(face, person.face)
        near = apart < _NEAR and 1 / _GROWTH < ratio < _GROWTH
        return _Fit(row, person, distance, near, distance < _CLEAR * min(others, default=np.inf))

    def _clear(self, fit: _Fit, fits: Sequence[_Fit], scene: int) -> bool:
        person = fit.person
        here = fit.near and person.scene == scene
        if len(self._people) < self._most:
            own = person.farthest * (2 if here else 1)
            return fit.near and person.faces >= _KNOWN and fit.distance <= own
        others = [one for one in fits if one.row == fit.row and one.person is not person]
        next_best = min((one.distance for one in others), default=np.inf)
        alone = here and not any(one.near and one.person.scene == scene for one in others)
        return fit.distance <= next_best * (1 if alone else _CLEAR)


def _distance(first: Float64Array, second: Float64Array) -> float:
    """1 - cosine."""
    return 1 - float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _place(first: Face, second: Face) -> tuple[float, float]:
    """How far two faces are apart, in their mean size, and the ratio of their sizes."""
    boxes = boxes_of([first, second])
    sizes = boxes[:, 2:].max(axis=1)
    centres = boxes[:, :2] + boxes[:, 2:] / 2
    return float(np.linalg.norm(centres[0] - centres[1]) / sizes.mean()), float(sizes[0] / sizes[1])
