"""One HTML page for people who would rather look than read: pictures, their strongest emotions, an overview.

What is kept in memory is bounded: the first 200 inputs whole, raw scores of 100,000, sums for the rest. Lines of
`page_rows.py` wait in a temporary file. The look is in `pictures.html`; `pictures.js` sorts and filters.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .. import taxonomy
from ..baseline import Baseline
from ..files import PendingFile
from ..records import Float64Array, Photograph
from ..reliability import reliable
from ..scores import Scores, distinct_notes
from ..sinks.apart import RunOutput
from ..sinks.encoders import SCHEMA_VERSION
from ..text import value_text
from .collect import PictureTotals, cards
from .heat import heat_map
from .page_rows import PageRows, as_json
from .render import agreement, minus, publish, scale_text, source_of, switch

CARDS, ROWS = 200, 100_000
_COLUMNS = 1000  # of the heat map
_USUAL = 0.99  # of all cards have no longer bar than a full one: a few extreme ones would make all others short
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
        top: Emotions on a card.
        min_reliability: Leave emotions out of the cards' rankings of which the experts' alpha is lower.
        shown: How many inputs have a card in the page itself; the others' cards are made by its script.
        most: How many inputs have a card at all; of the others only counts and means are shown.

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
        top: int = 5,
        min_reliability: float | None = None,
        shown: int = CARDS,
        most: int = ROWS,
    ) -> None:
        self.path = path
        self.baseline: Baseline | None = None
        self._title, self._metadata = title, {**metadata, "schema_version": SCHEMA_VERSION}
        self._file = PendingFile(path)
        self._rows = PageRows()
        self._totals = PictureTotals(self._rows, shown, most, top, min_reliability)

    def write(
        self,
        scores: Scores,
        thumbnails: Sequence[Image.Image | None],
        photographs: Sequence[Photograph | None] = (),
    ) -> None:
        """Take in N rows, and N small pictures (`thumbnails.thumbnail`), None where one could not be decoded.

        photographs: Of N rows that are faces, the pictures that they are in, where they are there.
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
        with contextlib.closing(self._rows):
            publish(self._file, "reports/pictures.html", variables)

    def abort(self) -> None:
        """Give up: nothing is written. After `close` this does nothing."""
        self._file.discard()
        self._rows.close()


def _content(totals: PictureTotals, baseline: Baseline | None) -> dict[str, Any]:
    """The template's variables that come from scores."""
    total = totals.statuses.total()
    counts = [*totals.count.heads, (f"{totals.scored:,}", "scored", False)]
    if total > totals.scored:
        counts.append((f"{total - totals.scored:,}", "without scores", True))
    views = switch(totals.kinds.there([baseline]))
    kinds = [view["kind"] for view in views]
    looks = _looks(totals, kinds, baseline)
    shown = [
        view
        | looks[view["kind"]]
        | {"overview": _overview(totals, view["kind"], baseline)}
        | dict(zip(("mean_label", "group_label"), _LABELS[view["kind"]], strict=True))
        for view in views
    ]
    return {
        "notes": distinct_notes((*totals.notes, *(() if baseline is None else baseline.notes({})))),
        "counts": counts,
        "statuses": [f"{n:,} {s.replace('_', ' ')}" for s, n in totals.statuses.most_common() if s != "ok"],
        "scored": totals.scored,
        "total": total,
        "cards": cards(totals, kinds, baseline),
        "top": totals.top,
        "rows": totals.rows,
        "choices": [
            (
                group or "Scales",
                [d.slug for d in taxonomy.DIMENSIONS if d.group == group and d.slug in totals.kinds.names],
            )
            for group in (*taxonomy.GROUPS, "")
        ],
        "min_reliability": totals.min_reliability,
        "views": shown,
        "marker": _marker,
        "script": source_of("reports/pictures.js"),
        "facts": as_json(_facts(totals, shown, baseline)),
    }


def _facts(totals: PictureTotals, views: Sequence[Mapping[str, Any]], baseline: Baseline | None) -> dict[str, Any]:
    """What the page's script must know beside its rows."""
    kinds = totals.kinds
    ranked = set(reliable(kinds.emotions, totals.min_reliability))
    names = [taxonomy.find(name) for name in kinds.names]
    scales = {view["kind"]: [v.tolist() for v in kinds.scale(view["kind"], baseline)] for view in views}
    return {
        "page": CARDS,
        "top": totals.top,
        "heads": len(kinds.names),
        "emotions": [
            {
                "slug": slug,
                "name": taxonomy.find(slug).name,
                "group": taxonomy.GROUPS.index(taxonomy.find(slug).group),
                "mark": agreement(slug),
                "ranked": slug in ranked,
                "at": kinds.names.index(slug),
            }
            for slug in kinds.emotions
        ],
        "extras": [
            {"slug": one.slug, "at": at, "ends": one.scale}
            | {k: _marker(one.slug, 0.0)[k] for k in ("name", "low", "high", "middle")}
            for at, one in enumerate(names)
            if one in taxonomy.EXTRA_DIMENSIONS
        ],
        "groups": taxonomy.GROUPS,
        "kinds": {
            # a NaN, of a head that never moves, is no JSON
            v["kind"]: {"full": v["full"], "scale": [[None if x != x else x for x in one] for one in scales[v["kind"]]]}
            for v in views
        },
        "neutral": None if kinds.neutral is None else kinds.neutral.tolist(),
    }


def _looks(totals: PictureTotals, kinds: Sequence[str], baseline: Baseline | None) -> dict[str, dict[str, Any]]:
    """By kind, what a full bar is, the heat map of the groups, and each group's largest column."""
    allowed = [slug in reliable(totals.kinds.emotions, totals.min_reliability) for slug in totals.kinds.emotions]
    scored = sum(len(raw) for raw in totals.raw)
    width = -(-scored // _COLUMNS) or 1
    columns = -(-scored // width)
    strongest = {kind: np.zeros(scored) for kind in kinds}
    sums = {kind: np.zeros((columns, len(taxonomy.GROUPS))) for kind in kinds}
    counts, at = np.zeros(columns), 0
    for tables in totals.tables():
        place = (at + np.arange(len(tables))) // width
        np.add.at(counts, place, 1.0)
        for kind in kinds:
            values = totals.kinds.values(kind, tables, baseline)
            strongest[kind][at : at + len(tables)] = np.fmax.reduce(values[:, allowed], axis=1, initial=0.0)
            np.add.at(sums[kind], place, _groups(totals.kinds.emotions, values, kind))
        at += len(tables)
    means = {kind: table / counts[:, None] for kind, table in sums.items()}
    return {
        kind: {
            "full": _full_scale(float(np.quantile(strongest[kind], _USUAL, method="higher")) if scored else 0.0, kind),
            "heat": heat_map(mean, 0.0 if kind == "softmax" else None) if np.isfinite(mean).any() else "",
            "ends": [(float(g.min()), float(g.max())) if np.isfinite(g).any() else None for g in mean.T],
            "column": width,
        }
        for kind, mean in means.items()
    }


def _groups(emotions: Sequence[str], values: Float64Array, kind: str) -> Float64Array:
    """[n, 7] of [n, E]: of each group the sum of its softmax, else the strongest value; NaN for one without a head."""
    out = np.full((len(values), len(taxonomy.GROUPS)), np.nan)
    for place, group in enumerate(taxonomy.GROUPS):
        members = values[:, [taxonomy.find(slug).group == group for slug in emotions]]
        if members.shape[1]:
            out[:, place] = members.sum(axis=1) if kind == "softmax" else np.fmax.reduce(members, axis=1)
    return out


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


def _overview(totals: PictureTotals, kind: str, baseline: Baseline | None) -> dict[str, Any] | None:
    """Mean and deviation of each emotion over all inputs with scores, by group, strongest first within its group."""
    means = totals.means(kind, baseline)
    if not means:
        return None
    # means are far from the scale's end
    full = _full_scale(max(mean for mean, _ in means.values()), kind, least=1.0)
    groups = []
    for index, group in enumerate(taxonomy.GROUPS):
        bars = [(slug, *figures) for slug, figures in means.items() if taxonomy.find(slug).group == group]
        bars.sort(key=lambda bar: -bar[1])
        total = value_text(sum(mean for _, mean, _ in bars), kind) if kind == "softmax" else ""
        if bars:
            groups.append({"name": group, "index": index, "bars": bars, "total": total})
    return {"groups": groups, "full": full}


def _full_scale(strongest: float, kind: str, least: float | None = None) -> float:
    """What a full bar stands for: the strongest value rounded up; `least` is for scores, not softmax."""
    if kind != "softmax":
        return max(_LEAST[kind] if least is None else least, float(math.ceil(strongest)))
    steps = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    return next((s for s in steps if s >= strongest), 1.0)
