"""What a page of pictures is made from, collected in bounded memory."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image

from .. import taxonomy
from ..baseline import Baseline
from ..records import Float32Array, Float64Array, Photograph, Status, face_index
from ..scores import Scores, distinct_notes
from ..sources.keys import picture_of
from ..text import counted
from ..thumbnails import PHOTOGRAPH, encoded, thumbnail
from .kinds import Kinds
from .page_rows import PageRows

_NOTES = 20  # distinct notes kept, as a long run might bring new ones without end
_BLOCK = 4096


@dataclass(frozen=True, slots=True)
class Photo:
    """A photograph above the cards of its faces.

    Args:
        key: Of the picture.
        image: Base64 JPEG.
        boxes: Of each face with a card: its number, then left, top, width, height as parts of the photograph.
    """

    key: str
    image: str
    boxes: list[tuple[float, ...]]


@dataclass(frozen=True, slots=True)
class Card:
    """One shown input.

    Args:
        key, status, reason: As in its row.
        image: Base64 JPEG, "" without one.
        top: By kind (`Scores.kinds`), the strongest emotions with their values.
        extras: The other dimensions with their raw scores.
        face: Number of the face in its photograph; None for a whole picture.
        photo: The photograph, on the card of its first face.
    """

    key: str
    status: str
    reason: str
    image: str
    top: Mapping[str, tuple[tuple[str, float], ...]]
    extras: tuple[tuple[str, float], ...] = ()
    face: int | None = None
    photo: Photo | None = None


@dataclass(slots=True)
class InputCount:
    """How many pictures and faces rows are of.

    Args:
        pictures: Faces of one picture, which follow one another, count once.
        faces: None where whole pictures were scored.
        last: The picture of the last row, "" at first.
    """

    pictures: int = 0
    faces: int | None = None
    last: str = ""

    def add(self, scores: Scores) -> list[bool]:
        """Take in the next rows; says of each whether it is the first of its picture."""
        if scores.faces is None:
            self.pictures += len(scores)
            return [True] * len(scores)
        pictures = [picture_of(key) for key in scores.keys]
        first = [one != before for before, one in zip([self.last, *pictures], pictures, strict=False)]
        self.pictures, self.last = self.pictures + sum(first), pictures[-1] if pictures else self.last
        self.faces = (self.faces or 0) + int(np.isfinite(scores.faces[:, 0]).sum())
        return first

    @property
    def heads(self) -> list[tuple[str, str, bool]]:
        """The first numbers of a page, as its macro `summary` takes them."""
        known = [(self.pictures, "picture"), *([] if self.faces is None else [(self.faces, "face")])]
        return [(f"{number:,}", name if number == 1 else name + "s", False) for number, name in known]

    def text(self) -> str:
        """For people."""
        faces = "" if self.faces is None else f", {counted(self.faces, 'face')}"
        return counted(self.pictures, "picture") + faces


@dataclass(slots=True)
class PictureTotals:
    """Everything the page is made from: sums over all scored inputs, raw scores of most, all of the first ones.

    Args:
        rows: Takes in a line for each of the first `most` inputs.
        cards: Inputs that have a card in the page itself.
        most: Inputs that the page's script can show.
        top: Emotions on a card.
        min_reliability: Of the rankings, as of `Scores.ranking`.
        notes: What a reader must know, each once.
        kinds: What values the inputs have.
        statuses: Inputs by status.
        scored: Inputs with scores.
        sums, squares: [2E] float64, sums over `Kinds.tables` less those of the first input, and over their squares.
        origin: [2E] float64, the first input's.
        count: Of pictures and faces.
        first: The first `cards` inputs, without embeddings, and their small pictures.
        photos: By the picture's key, those of which a face has a card in the page.
        raw: Raw scores [n, D] of those of the first `most` inputs that have scores.
    """

    rows: PageRows
    cards: int
    most: int
    top: int
    min_reliability: float | None = None
    notes: tuple[str, ...] = ()
    kinds: Kinds = field(default_factory=Kinds)
    statuses: Counter[str] = field(default_factory=Counter)
    scored: int = 0
    sums: Float64Array = field(default_factory=lambda: np.zeros(1))
    squares: Float64Array = field(default_factory=lambda: np.zeros(1))
    origin: Float64Array | None = None
    count: InputCount = field(default_factory=InputCount)
    first: list[Scores] = field(default_factory=list)
    images: list[str] = field(default_factory=list)
    photos: dict[str, Photo] = field(default_factory=dict)
    raw: list[Float32Array] = field(default_factory=list)

    def add(
        self,
        scores: Scores,
        thumbnails: Sequence[Image.Image | None],
        photographs: Sequence[Photograph | None] = (),
    ) -> None:
        """Take in a batch of the first one's heads: for each row a thumbnail, or None, and perhaps its photograph."""
        self.kinds.learn(scores)
        self.notes = distinct_notes((*self.notes, *scores.notes))[:_NOTES]
        self.statuses.update(str(s) for s in scores.status)
        ok = scores.ok
        self._add_sums(self.kinds.tables(scores)[ok])
        starts = self.count.add(scores)
        room = min(self.most - self.rows.count, len(scores))
        if not room:
            return
        shown = max(0, min(self.cards - self.rows.count, room))
        if shown:
            self.first.append(replace(scores.select(range(shown)), embeddings=None))
        self.raw.append(scores.raw[:room][ok[:room]])
        for i in range(room):
            photograph = photographs[i] if photographs else None
            self._add_row(scores, i, thumbnails[i], photograph, starts=starts[i], in_page=i < shown)

    def _add_sums(self, tables: Float64Array) -> None:
        if len(tables):
            self.origin = tables[0] if self.origin is None else self.origin
            self.scored += len(tables)
            self.sums = self.sums + (tables - self.origin).sum(axis=0)
            self.squares = self.squares + ((tables - self.origin) ** 2).sum(axis=0)

    def _add_row(
        self,
        scores: Scores,
        i: int,
        image: Image.Image | None,
        photograph: Photograph | None,
        *,
        starts: bool,
        in_page: bool,
    ) -> None:
        """Take in one row: `starts` says whether its photograph does, `in_page` whether its card is in the page."""
        picture, box = picture_of(scores.keys[i]), _box(scores, i, photograph)
        small = None if photograph is None or not starts else thumbnail(photograph.rgb, PHOTOGRAPH)
        if in_page:
            self.images.append(encoded(image))
            self.rows.room -= len(self.images[-1])
            if small is not None:
                self.photos[picture] = Photo(picture, encoded(small, PHOTOGRAPH), [])
                self.rows.room -= len(self.photos[picture].image)
        if box and picture in self.photos:
            self.photos[picture].boxes.append(box)
        texts = (scores.keys[i], str(scores.status[i]), scores.reason[i])
        raw = scores.raw[i] if scores.status[i] == Status.OK else None
        self.rows.add(texts, raw, None if in_page else image, box, None if in_page else small)

    def means(self, kind: str, baseline: Baseline | None) -> dict[str, tuple[float, float]]:
        """Of each emotion the mean and the standard deviation (by n - 1) over all inputs with scores; {} without any.

        The deviation of a single input is NaN. An emotion without values is left out.
        """
        if self.origin is None:
            return {}
        mean = self.origin + self.sums / self.scored
        variance = (self.squares - self.sums**2 / self.scored) / max(1, self.scored - 1)
        deviation = np.sqrt(np.maximum(variance, 0.0)) if self.scored > 1 else np.full(mean.shape, np.nan)
        scale = self.kinds.scale(kind, baseline)[1]
        half = slice(len(scale), None) if kind == "softmax" else slice(len(scale))
        spread = deviation[half] / scale
        values = self.kinds.values(kind, mean, baseline)
        return {
            slug: (value, width)
            for slug, value, width in zip(self.kinds.emotions, values.tolist(), spread.tolist(), strict=True)
            if value == value
        }

    def tables(self) -> Iterator[Float64Array]:
        """`Kinds.tables` of the first `most` inputs that have scores, in blocks."""
        for raw in self.raw:
            for start in range(0, len(raw), _BLOCK):
                yield self.kinds.of_raw(raw[start : start + _BLOCK])

    def shown(self) -> Scores | None:
        """The inputs that have cards in the page; None without any."""
        return Scores.concat(self.first) if self.first else None


def cards(totals: PictureTotals, kinds: Sequence[str], baseline: Baseline | None) -> list[Card]:
    """A card for each of the first inputs."""
    scores = totals.shown()
    if scores is None:
        return []
    if baseline is not None and scores.baseline is None:
        scores = scores.against(baseline)
    tops = {kind: scores.top(totals.top, kind, totals.min_reliability) for kind in kinds}
    extras = [(d.slug, scores.names.index(d.slug)) for d in taxonomy.EXTRA_DIMENSIONS if d.slug in scores.names]
    photos = dict(totals.photos)
    return [
        Card(
            scores.keys[i],
            str(scores.status[i]),
            scores.reason[i],
            totals.images[i],
            top={kind: tuple(rows[i]) for kind, rows in tops.items()},
            extras=tuple((slug, float(scores.raw[i, c])) for slug, c in extras) if ok else (),
            face=None if scores.faces is None else face_index(scores.keys[i]),
            photo=photos.pop(picture_of(scores.keys[i]), None),
        )
        for i, ok in enumerate(scores.ok)
    ]


def _box(scores: Scores, i: int, photograph: Photograph | None) -> tuple[float, ...]:
    """A face's number and its box, left, top, width and height as parts of its photograph; () without one."""
    number = face_index(scores.keys[i])
    if photograph is None or number is None or scores.faces is None:
        return ()
    x, y, width, height = scores.faces[i, :4].tolist()
    box = (x / photograph.width, y / photograph.height, width / photograph.width, height / photograph.height)
    return (number, *(round(part, 4) for part in box))
