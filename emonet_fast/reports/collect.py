"""What a report of pictures is made from, collected in bounded memory, and small pictures for all pages."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from .. import taxonomy
from ..records import Float64Array, UInt8Array
from ..scores import Scores, distinct_notes

THUMBNAIL = 224  # pixels of the longer side
_NOTES = 20  # distinct notes kept, as a long run might bring new ones without end
_JPEG_QUALITY = 82


def thumbnail(rgb: UInt8Array | None, side: int = THUMBNAIL) -> Image.Image | None:
    """[H, W, 3] uint8 RGB as a picture of at most side x side, aspect ratio kept, never enlarged.

    None without pixels, or where memory does not suffice: the page then shows its row without a picture.
    """
    if rgb is None or not rgb.size:
        return None
    try:
        image = Image.fromarray(np.ascontiguousarray(rgb, dtype=np.uint8), "RGB" if rgb.ndim == 3 else None)
        image.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=None)
    except MemoryError:
        return None
    return image


def encoded(image: Image.Image | None) -> str:
    """Base64 JPEG of at most 224 x 224, without the metadata of the original; "" for None."""
    if image is None:
        return ""
    small = image.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return base64.b64encode(out.getvalue()).decode("ascii")


@dataclass(frozen=True, slots=True)
class Card:
    """One shown input.

    Args:
        key, status, reason: As in its row.
        image: Base64 JPEG, "" without one.
        top: The strongest emotions with their values.
        extras: The other dimensions with their raw scores.
        groups: One value for each group of emotions; see taxonomy.GROUPS.
    """

    key: str
    status: str
    reason: str
    image: str
    top: tuple[tuple[str, float], ...] = ()
    extras: tuple[tuple[str, float], ...] = ()
    groups: tuple[float, ...] = ()


@dataclass(slots=True)
class PictureTotals:
    """Everything the page is made from: sums over all scored inputs, and cards of the first ones.

    Args:
        max_pictures: Cards at most.
        top: Emotions on a card.
        notes: What a reader must know, each once.
        kind: `Scores.value_kind`, "" before the first batch.
        emotions: The emotions of `Scores.ranking`.
        statuses: Inputs by status.
        scored: Inputs with scores.
        emotion_sums: [E] float64, of the values of `Scores.ranking`; [0] before the first batch.
        cards: The first inputs.
    """

    max_pictures: int
    top: int
    notes: tuple[str, ...] = ()
    kind: str = ""
    emotions: tuple[str, ...] = ()
    statuses: Counter[str] = field(default_factory=Counter)
    scored: int = 0
    emotion_sums: Float64Array = field(default_factory=lambda: np.zeros(1))
    cards: list[Card] = field(default_factory=list)

    def add(self, scores: Scores, thumbnails: Sequence[Image.Image | None]) -> None:
        """Take in a batch of the first one's heads: one thumbnail, or None, for each row."""
        self.kind = scores.value_kind
        self.emotions, table = scores.ranking()
        self.notes = distinct_notes((*self.notes, *scores.notes))[:_NOTES]
        self.statuses.update(str(s) for s in scores.status)
        self.scored += int(scores.ok.sum())
        self.emotion_sums = self.emotion_sums + table[scores.ok].sum(axis=0)
        room = min(self.max_pictures - len(self.cards), len(scores))
        if room > 0:
            self.cards += _cards(scores.select(range(room)), thumbnails, self.top)


def _cards(scores: Scores, thumbnails: Sequence[Image.Image | None], top: int) -> list[Card]:
    emotions, table = scores.ranking()
    strongest = scores.top(top)
    extras = [(d.slug, scores.names.index(d.slug)) for d in taxonomy.EXTRA_DIMENSIONS if d.slug in scores.names]
    cards = []
    for i, ok in enumerate(scores.ok):
        cards.append(
            Card(
                scores.keys[i],
                str(scores.status[i]),
                scores.reason[i],
                encoded(thumbnails[i]),
                top=tuple(strongest[i]),
                extras=tuple((slug, float(scores.raw[i, c])) for slug, c in extras) if ok else (),
                groups=_groups(emotions, table[i], scores.value_kind) if ok else (),
            )
        )
    return cards


def _groups(emotions: tuple[str, ...], values: Float64Array, kind: str) -> tuple[float, ...]:
    """One value for each of the 7 groups: the sum of the probabilities, else the strongest score."""
    out = []
    for group in taxonomy.GROUPS:
        members = [v for s, v in zip(emotions, values.tolist(), strict=True) if taxonomy.find(s).group == group]
        out.append(sum(members) if kind == "prob" else max(members, default=0.0))
    return tuple(out)
