"""One HTML page for people who would rather look than read: pictures, their strongest emotions, an overview.

What is kept in memory is bounded: a small picture and a few numbers for each of the first `max_pictures`
inputs, sums for the rest. The look is in `report.html`; what it is given is made in `report_view.py`.
"""

import base64
import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

from .. import taxonomy
from ..errors import EmonetError, OptionError
from ..files import PendingFile, cannot_write
from ..records import Float64Array, UInt8Array
from ..scores import Scores, distinct_notes
from ..sinks.encoders import SCHEMA_VERSION

THUMBNAIL = 224  # pixels of the longer side
_NOTES = 20  # distinct notes kept, as a long run might bring new ones without end
_JPEG_QUALITY = 82


def thumbnail(rgb: UInt8Array) -> Image.Image:
    """[H, W, 3] uint8 RGB as a PIL image of at most 224 x 224, aspect ratio kept, never enlarged."""
    image = Image.fromarray(np.ascontiguousarray(rgb, dtype=np.uint8), "RGB" if rgb.ndim == 3 else None)
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX, reducing_gap=None)
    return image


@dataclass(frozen=True, slots=True)
class Card:
    """One shown input. top: (emotion, value); extras: (dimension, raw score); groups: 7 values of the map."""

    key: str
    status: str
    reason: str
    image: str  # base64 JPEG, "" without one
    top: tuple[tuple[str, float], ...] = ()
    extras: tuple[tuple[str, float], ...] = ()
    groups: tuple[float, ...] = ()


@dataclass(slots=True)
class Collected:
    """Everything the page is made from; sums run over all scored inputs, `cards` holds the first ones."""

    title: str
    metadata: dict[str, str]
    notes: dict[str, None]
    max_pictures: int
    kind: str = ""  # Scores.value_kind
    names: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()
    statuses: Counter[str] = field(default_factory=Counter)
    scored: int = 0
    emotion_sums: Float64Array = field(default_factory=lambda: np.zeros(0))
    cards: list[Card] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.statuses.values())


class Report:
    """An HTML page written on `close`, or when its `with` block ends without an exception.

    Its temporary file is made at once: a folder that cannot be written is known before anything is scored.
    metadata: checkpoint hash, precision, backend and versions. notes: shown in a banner at the top,
    with those of the scores. top: emotions on a card.

    Raises:
        OptionError: the folder is missing or cannot be written, max_pictures < 0, or top < 1.
    """

    def __init__(
        self,
        path: Path,
        title: str,
        metadata: Mapping[str, str],
        notes: Iterable[str] = (),
        max_pictures: int = 200,
        top: int = 5,
    ) -> None:
        if top < 1:
            raise OptionError(f"top is {top}; expected 1 or more emotions on a card")
        if max_pictures < 0:
            raise OptionError(f"max_pictures is {max_pictures}; expected 0 or more")
        self.path = Path(path)
        self._data = Collected(
            title, {**metadata, "schema_version": SCHEMA_VERSION}, dict.fromkeys(notes), max_pictures
        )
        self._top = top
        self._file = PendingFile(self.path)
        self._open = True

    def add(self, scores: Scores, thumbnails: Sequence[Image.Image | None]) -> None:
        """Take in a batch: one thumbnail, or None, for each row. All batches must have the same heads.

        Raises:
            OptionError: as many thumbnails as rows were expected, or the heads differ from the first batch's.
            EmonetError: the report is already closed.
        """
        if not self._open:
            raise EmonetError(f"{self.path} is already closed; make a new Report to write more")
        if len(thumbnails) != len(scores):
            raise OptionError(f"{len(thumbnails)} thumbnails for {len(scores)} rows; expected one, or None, for each")
        data = self._data
        emotions, table = scores.ranking()
        if not data.kind:
            data.kind, data.names, data.emotions = scores.value_kind, scores.names, emotions
            data.emotion_sums = np.zeros(len(emotions))
        elif (data.kind, data.names) != (scores.value_kind, scores.names):
            raise OptionError("a batch of the report has other heads or another baseline than the first one")
        data.notes = dict.fromkeys(distinct_notes([*data.notes, *scores.notes])[:_NOTES])
        ok = scores.ok
        data.statuses.update(str(s) for s in scores.status)
        data.scored += int(ok.sum())
        data.emotion_sums += table[ok].sum(axis=0)
        room = data.max_pictures - len(data.cards)
        if room > 0:
            data.cards.extend(_cards(scores, thumbnails, room, self._top))

    def close(self) -> None:
        """Write the page and rename it into place; a second call does nothing.

        Raises:
            EmonetError: the file cannot be written; nothing is published.
        """
        if not self._open:
            return
        try:
            self._file.file.write(render(self._data).encode())
            self._file.finish()
            self._file.publish()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        finally:
            self.abort()

    def abort(self) -> None:
        """Give up: nothing is written. After `close` this does nothing."""
        self._open = False
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()


def render(data: Collected) -> str:
    """The whole page as text."""
    import jinja2

    from .pictures_view import page

    env = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = env.from_string(resources.files(__package__).joinpath("pictures.html").read_text(encoding="utf-8"))
    return template.render(page(data))


def _cards(scores: Scores, thumbnails: Sequence[Image.Image | None], room: int, top: int) -> list[Card]:
    n = min(room, len(scores))
    emotions, table = scores.ranking()
    tops = scores.top(top)
    extras = [(d.slug, scores.names.index(d.slug)) for d in taxonomy.EXTRA_DIMENSIONS if d.slug in scores.names]
    cards = []
    for i in range(n):
        shown = thumbnails[i]
        card = Card(scores.keys[i], str(scores.status[i]), scores.reason[i], encoded(shown) if shown else "")
        if scores.ok[i]:
            card = Card(
                card.key,
                card.status,
                card.reason,
                card.image,
                top=tuple(tops[i]),
                extras=tuple((slug, float(scores.raw[i, c])) for slug, c in extras),
                groups=_groups(emotions, table[i], scores.value_kind),
            )
        cards.append(card)
    return cards


def _groups(emotions: tuple[str, ...], values: Float64Array, kind: str) -> tuple[float, ...]:
    """One value for each of the 7 groups: the sum of the probabilities, else the strongest score."""
    out = []
    for group in taxonomy.GROUPS:
        members = [v for s, v in zip(emotions, values.tolist(), strict=True) if taxonomy.find(s).group == group]
        out.append(sum(members) if kind == "prob" else max(members, default=0.0))
    return tuple(out)


def encoded(image: Image.Image, side: int = THUMBNAIL) -> str:
    """Base64 JPEG of at most side x side, without the metadata of the original."""
    small = image.convert("RGB")
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return base64.b64encode(out.getvalue()).decode("ascii")
