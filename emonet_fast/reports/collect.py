"""What a report of pictures is made from, collected in bounded memory."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from .. import taxonomy
from ..arithmetic import EMOTIONS
from ..baseline import Baseline
from ..records import Float64Array, Photograph, face_index
from ..scores import Scores, distinct_notes
from ..sources.keys import picture_of
from ..text import counted
from ..thumbnails import PHOTOGRAPH, encoded, thumbnail

_NOTES = 20  # distinct notes kept, as a long run might bring new ones without end


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph above the cards of its faces.

    Args:
        key: Of the picture.
        image: Base64 JPEG.
        boxes: Of each face with a card: its number and its box, (left, top, width, height) as parts of the photograph.
    """

    key: str
    image: str
    boxes: tuple[tuple[int, tuple[float, float, float, float]], ...]


@dataclass(frozen=True, slots=True)
class Card:
    """One shown input.

    Args:
        key, status, reason: As in its row.
        image: Base64 JPEG, "" without one.
        top: By kind (`Scores.kinds`), the strongest emotions with their values.
        extras: The other dimensions with their raw scores.
        groups: By kind, one value for each group of emotions; see taxonomy.GROUPS.
        face: Number of the face in its photograph; None for a whole picture.
        photo: The photograph, on the card of its first face.
    """

    key: str
    status: str
    reason: str
    image: str
    top: Mapping[str, tuple[tuple[str, float], ...]]
    extras: tuple[tuple[str, float], ...] = ()
    groups: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    face: int | None = None
    photo: Photo | None = None


@dataclass(slots=True)
class InputCount:
    """How many pictures and faces rows are of.

    Args:
        pictures: Faces of one picture, which follow one another, count once.
        faces: None where whole pictures were scored.
    """

    pictures: int = 0
    faces: int | None = None
    _last: str | None = None

    def add(self, scores: Scores) -> None:
        """Take in the next rows."""
        if scores.faces is None:
            self.pictures += len(scores)
            return
        for key in map(picture_of, scores.keys):
            self.pictures += key != self._last
            self._last = key
        self.faces = (self.faces or 0) + int(np.isfinite(scores.faces[:, 0]).sum())

    def text(self) -> str:
        """For people."""
        faces = "" if self.faces is None else f", {counted(self.faces, 'face')}"
        return counted(self.pictures, "picture") + faces


@dataclass(slots=True)
class PictureTotals:
    """Everything the page is made from: sums over all scored inputs, and the first ones.

    Args:
        max_pictures: Cards at most.
        top: Emotions on a card.
        min_reliability: Of the rankings, as of `Scores.ranking`.
        notes: What a reader must know, each once.
        names: `Scores.names`.
        statuses: Inputs by status.
        scored: Inputs with scores.
        raw_sum: [D] float64, of the raw scores.
        sums: By kind but z, [E] float64 of `Scores.ranking`.
        first: The first inputs, without embeddings, and their small pictures.
        photographs: By the picture's key, what the faces among them were found in: base64 JPEG, width and height.
        count: Of pictures and faces.
    """

    max_pictures: int
    top: int
    min_reliability: float | None = None
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    statuses: Counter[str] = field(default_factory=Counter)
    scored: int = 0
    raw_sum: Float64Array = field(default_factory=lambda: np.zeros(1))
    sums: dict[str, Float64Array] = field(default_factory=dict)
    first: list[Scores] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    photographs: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    count: InputCount = field(default_factory=InputCount)

    def add(
        self,
        scores: Scores,
        thumbnails: Sequence[Image.Image | None],
        photographs: Sequence[Photograph | None] = (),
    ) -> None:
        """Take in a batch of the first one's heads: for each row a thumbnail, or None, and perhaps its photograph."""
        self.count.add(scores)
        self.names = scores.names
        self.notes = distinct_notes((*self.notes, *scores.notes))[:_NOTES]
        self.statuses.update(str(s) for s in scores.status)
        ok = scores.ok
        self.scored += int(ok.sum())
        self.raw_sum = self.raw_sum + scores.raw[ok].sum(axis=0, dtype=np.float64)
        for kind in scores.kinds:
            if kind != "z":  # of which the mean follows from raw's
                self.sums[kind] = self.sums.get(kind, 0.0) + scores.ranking(kind)[1][ok].sum(axis=0)
        room = min(self.max_pictures - len(self.images), len(scores))
        if room > 0:
            self.first.append(replace(scores.select(range(room)), embeddings=None))
            self.images += [encoded(one) for one in thumbnails[:room]]
            for key, photo in zip(map(picture_of, scores.keys[:room]), photographs, strict=False):
                if photo is not None and key not in self.photographs:
                    small = encoded(thumbnail(photo.rgb, PHOTOGRAPH), PHOTOGRAPH)
                    self.photographs[key] = (small, photo.width, photo.height)

    def emotions(self) -> tuple[str, ...]:
        """The emotions of `Scores.ranking`."""
        return tuple(slug for slug in EMOTIONS if slug in self.names)

    def means(self, baseline: Baseline | None) -> dict[str, dict[str, float]]:
        """By kind, the mean of each emotion over all inputs with scores; {} without any."""
        if not self.scored:
            return {}
        tables = {kind: total / self.scored for kind, total in self.sums.items()}
        if baseline is not None:
            z = baseline.z((self.raw_sum / self.scored)[None])[0]
            tables["z"] = z[[self.names.index(slug) for slug in self.emotions()]]
        return {
            kind: {s: v for s, v in zip(self.emotions(), table.tolist(), strict=True) if v == v}
            for kind, table in tables.items()
        }

    def cards(self, baseline: Baseline | None) -> tuple[tuple[str, ...], list[Card]]:
        """The kinds of values that there are, and a card for each of the first inputs."""
        kinds = tuple(self.sums) + (() if baseline is None else ("z",))
        if not self.first:
            return kinds, []
        scores = Scores.concat(self.first)
        if baseline is not None and scores.baseline is None:
            scores = scores.against(baseline)
        tops = {kind: scores.top(self.top, kind, self.min_reliability) for kind in kinds}
        tables = {kind: scores.ranking(kind) for kind in kinds}
        extras = [(d.slug, scores.names.index(d.slug)) for d in taxonomy.EXTRA_DIMENSIONS if d.slug in scores.names]
        photos = self._photos(scores)
        return kinds, [
            Card(
                scores.keys[i],
                str(scores.status[i]),
                scores.reason[i],
                self.images[i],
                top={kind: tuple(rows[i]) for kind, rows in tops.items()},
                extras=tuple((slug, float(scores.raw[i, c])) for slug, c in extras) if ok else (),
                groups={k: _groups(slugs, table[i], k) for k, (slugs, table) in tables.items()} if ok else {},
                face=face_index(scores.keys[i]) if scores.faces is not None else None,
                photo=photos.get(i),
            )
            for i, ok in enumerate(scores.ok)
        ]

    def _photos(self, scores: Scores) -> dict[int, Photo]:
        """The photographs by the row of their first face."""
        rows: dict[str, list[int]] = {}
        for i, key in enumerate(scores.keys):
            rows.setdefault(picture_of(key), []).append(i)
        photos: dict[int, Photo] = {}
        for key, (image, width, height) in self.photographs.items():
            boxes = []
            for i in rows[key]:
                number = face_index(scores.keys[i])
                if number is not None and scores.faces is not None:
                    x, y, w, h = scores.faces[i, :4].tolist()
                    boxes.append((number, (x / width, y / height, w / width, h / height)))
            photos[rows[key][0]] = Photo(key, image, tuple(boxes))
        return photos


def _groups(emotions: tuple[str, ...], values: Float64Array, kind: str) -> tuple[float, ...]:
    """One value for each of the 7 groups: the sum of the probabilities, else the strongest score."""
    out = []
    for group in taxonomy.GROUPS:
        members = [
            v for s, v in zip(emotions, values.tolist(), strict=True) if v == v and taxonomy.find(s).group == group
        ]
        out.append(sum(members) if kind == "softmax" else max(members, default=0.0))
    return tuple(out)
