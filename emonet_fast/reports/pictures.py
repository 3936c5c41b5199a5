"""One HTML page for people who would rather look than read: pictures, their strongest emotions, an overview.

What is kept in memory is bounded: a small picture and a few numbers for each of the first `max_pictures`
inputs, sums for the rest. The look is in `pictures.html`.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from .. import taxonomy
from ..baseline import Baseline
from ..files import PendingFile
from ..records import Photograph
from ..scores import Scores, distinct_notes
from ..sinks.apart import RunOutput
from ..sinks.encoders import SCHEMA_VERSION
from ..text import value_text
from .collect import Card, PictureTotals
from .render import minus, publish, scale_text, switch

_LABELS = {
    "softmax": ("mean softmax", "sum of the group's softmax"),
    "score": ("mean score", "the group's strongest score"),
    "raw": ("mean raw score", "the group's strongest raw score"),
    "z": ("mean z", "the group's strongest z"),
}
# A full bar at least: the annotators' scale of an emotion; what is rare in a population.
_LEAST = {"raw": 7.0, "score": 7.0, "z": 4.0}


class PictureReport(RunOutput):
    """An HTML page written on `close`.

    Args:
        path: The page's name. Its temporary file is made at once: a folder that cannot be written is known before
            anything is scored.
        title: For people.
        metadata: Checkpoint hash, precision, backend and versions.
        max_pictures: How many inputs get a card; of the others only counts and means are shown.
        top: Emotions on a card.
        min_reliability: Leave emotions out of the cards' rankings of which the experts' alpha is lower.

    The attribute `baseline` is the population that the page ranks against, where the rows do not carry theirs; it may
    be set until `close`.

    Raises:
        OptionError: when the folder is missing or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        title: str,
        metadata: Mapping[str, str],
        max_pictures: int = 200,
        top: int = 5,
        min_reliability: float | None = None,
    ) -> None:
        self.path = path
        self.baseline: Baseline | None = None
        self._title, self._metadata = title, {**metadata, "schema_version": SCHEMA_VERSION}
        self._totals = PictureTotals(max_pictures, top, min_reliability)
        self._file = PendingFile(path)

    def write(
        self,
        scores: Scores,
        thumbnails: Sequence[Image.Image | None],
        photographs: Sequence[Photograph | None] = (),
    ) -> None:
        """Take in N rows, and N small pictures (`collect.thumbnail`), None where one could not be decoded.

        photographs: of N rows that are faces, the pictures that they are in, where they are there.
        """
        self.baseline = scores.baseline or self.baseline
        self._totals.add(scores, thumbnails, photographs)

    def add_note(self, note: str) -> None:
        """Say something about the run above the pictures."""
        self._totals.notes = distinct_notes((*self._totals.notes, note))

    @property
    def empty(self) -> bool:
        return not self._totals.statuses

    def close(self) -> None:
        """Write the page and rename it into place. Raises EmonetError when that fails."""
        facts = {} if self.baseline is None else self.baseline.facts
        variables = {"title": self._title, "metadata": self._metadata | facts}
        variables |= _content(self._totals, self.baseline)
        publish(self._file, "reports/pictures.html", variables)

    def abort(self) -> None:
        """Give up: nothing is written. After `close` this does nothing."""
        self._file.discard()


def _content(totals: PictureTotals, baseline: Baseline | None) -> dict[str, Any]:
    """The template's variables that come from scores."""
    total, count = totals.statuses.total(), totals.count
    counts = [(count.pictures, "picture" if count.pictures == 1 else "pictures", False)]
    if count.faces is not None:
        counts.append((count.faces, "face" if count.faces == 1 else "faces", False))
    counts.append((totals.scored, "scored", False))
    if total > totals.scored:
        counts.append((total - totals.scored, "without scores", True))
    kinds, cards = totals.cards(baseline)
    means = totals.means(baseline)
    columns = [card for card in cards if card.groups]
    views = switch(kinds)
    return {
        "notes": distinct_notes((*totals.notes, *(() if baseline is None else baseline.notes({})))),
        "counts": counts,
        "statuses": [f"{n} {s.replace('_', ' ')}" for s, n in totals.statuses.most_common() if s != "ok"],
        "scored": totals.scored,
        "total": total,
        "cards": cards,
        "columns": columns,
        "min_reliability": totals.min_reliability,
        "views": [view | _view(view["kind"], cards, means.get(view["kind"], {})) for view in views],
        "marker": _marker,
    }


def _view(kind: str, cards: list[Card], means: Mapping[str, float]) -> dict[str, Any]:
    """What the page shows of one kind of values."""
    mean_label, group_label = _LABELS[kind]
    return {
        "full": _full_scale([v for card in cards for _, v in card.top.get(kind, ())[:1]], kind),
        "overview": _overview(means, kind),
        "mean_label": mean_label,
        "full_colour": _full_scale([v for card in cards for v in card.groups.get(kind, ())], kind),
        "group_label": group_label,
    }


def _marker(slug: str, value: float) -> dict[str, Any]:
    """A place on the annotators' scale; a value beyond it sits at the end and keeps its number."""
    dimension = taxonomy.find(slug)
    low, high = dimension.scale
    return {
        "name": dimension.name.removeprefix("Emotional "),
        "title": f"{dimension.name}: {value:.2f} on a scale from {low:g} to {high:g}",
        "low": minus(f"{low:g}"),
        "high": minus(f"{high:g}"),
        "place": (value - low) / (high - low),
        "middle": low < 0,
        "text": scale_text(value, low),
        "beyond": not low <= value <= high,
    }


def _overview(means: Mapping[str, float], kind: str) -> dict[str, Any] | None:
    """The mean of each emotion over all inputs with scores, by group, strongest first within its group."""
    if not means:
        return None
    full = _full_scale(list(means.values()), kind, least=1.0)  # means are far from the scale's end
    groups = []
    for index, group in enumerate(taxonomy.GROUPS):
        bars = sorted(((s, m) for s, m in means.items() if taxonomy.find(s).group == group), key=lambda bar: -bar[1])
        total = value_text(sum(mean for _, mean in bars), kind) if kind == "softmax" else ""
        if bars:
            groups.append({"name": group, "index": index, "bars": bars, "total": total})
    return {"groups": groups, "full": full}


def _full_scale(values: list[float], kind: str, least: float | None = None) -> float:
    """What a full bar stands for: the strongest value rounded up; `least` is for scores, not softmax."""
    strongest = max(values, default=0.0)
    if kind != "softmax":
        return max(_LEAST[kind] if least is None else least, float(math.ceil(strongest)))
    steps = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    return next((s for s in steps if s >= strongest), 1.0)
