"""From what a report collected to what its template shows: texts made safe, numbers made widths."""

import math
from typing import TYPE_CHECKING, Any

from .. import taxonomy
from ..sinks.text import shorten_middle, visible

if TYPE_CHECKING:
    from .pictures import Card, Collected

_KEY_COLUMNS = 34  # one line of the narrowest card
_REASON_LENGTH = 400
_KINDS = {
    "prob": ("Softmax over the 40 emotions", "mean softmax", "sum of the group's softmax"),
    "score": ("Raw score minus neutral mean", "mean score", "the group's strongest score"),
    "raw": ("Raw score, no neutral baseline", "mean raw score", "the group's strongest raw score"),
}
_SHORT = (
    "Positive, high",
    "Positive, low",
    "Negative, high",
    "Negative, low",
    "Cognitive",
    "Physical",
    "Longing",
)
_SCORE_SCALE = 7.0  # annotators' scale of an emotion


def page(data: "Collected") -> dict[str, Any]:
    """The template's variables."""
    kind = data.kind or "raw"
    measure, mean_label, group_label = _KINDS[kind]
    bars_full = _full_scale([v for c in data.cards for _, v in c.top[:1]], kind)
    overview = _overview(data, kind)
    scored = [c for c in data.cards if c.top or c.extras]
    return {
        "title": visible(data.title),
        "metadata": [(visible(k).replace("_", " "), visible(v)) for k, v in data.metadata.items() if v],
        "notes": [visible(n) for n in data.notes],
        "total": data.total,
        "scored": data.scored,
        "statuses": [(s.replace("_", " "), n) for s, n in data.statuses.most_common() if s != "ok"],
        "shown": len(data.cards),
        "measure": measure,
        "full": _text(bars_full, kind),
        "groups": [
            {"name": g, "short": s, "index": i} for i, (g, s) in enumerate(zip(taxonomy.GROUPS, _SHORT, strict=True))
        ],
        "overview": overview,
        "overview_full": overview[0]["full"] if overview else "",
        "mean_label": mean_label,
        "heat": _heat(scored, kind),
        "group_label": group_label,
        "cards": [_card(c, kind, bars_full) for c in data.cards],
    }


def _card(card: "Card", kind: str, full: float) -> dict[str, Any]:
    key = visible(card.key)
    return {
        "key": shorten_middle(key, _KEY_COLUMNS),
        "full_key": key,
        "ok": card.status == "ok",
        "status": card.status.replace("_", " "),
        "reason": visible(card.reason[:_REASON_LENGTH]),
        "image": card.image,
        "bars": [_bar(slug, value, kind, full) for slug, value in card.top],
        "extras": [_marker(slug, value) for slug, value in card.extras],
    }


def _bar(slug: str, value: float, kind: str, full: float) -> dict[str, Any]:
    dimension = taxonomy.find(slug)
    return {
        "name": dimension.name,
        "group": dimension.group,
        "index": taxonomy.GROUPS.index(dimension.group),
        "text": _text(value, kind),
        "width": _percent(value / full),
    }


def _marker(slug: str, value: float) -> dict[str, Any]:
    """A place on the annotators' scale; a value beyond it sits at the end and keeps its number."""
    dimension = taxonomy.find(slug)
    low, high = dimension.scale
    return {
        "name": dimension.name.removeprefix("Emotional "),
        "title": f"{dimension.name}: {value:.2f} on a scale from {low:g} to {high:g}",
        "low": _minus(f"{low:g}"),
        "high": _minus(f"{high:g}"),
        "place": _percent((value - low) / (high - low)),
        "middle": low < 0,
        "text": _minus(f"{value:+.2f}" if low < 0 else f"{value:.2f}"),
        "beyond": not low <= value <= high,
    }


def _overview(data: "Collected", kind: str) -> list[dict[str, Any]]:
    """The mean of each emotion over all inputs with scores, by group, strongest first within its group."""
    if not data.scored or not data.emotions:
        return []
    means = dict(zip(data.emotions, (data.emotion_sums / data.scored).tolist(), strict=True))
    full = _full_scale(list(means.values()), kind, least=1.0)  # means are far from the scale's end
    out = []
    for index, group in enumerate(taxonomy.GROUPS):
        members = [s for s in data.emotions if taxonomy.find(s).group == group]
        bars = [_bar(s, means[s], kind, full) for s in sorted(members, key=lambda s: -means[s])]
        total = _text(sum(means[s] for s in members), kind) if kind == "prob" else ""
        out.append({"name": group, "index": index, "bars": bars, "total": total, "full": _text(full, kind)})
    return [g for g in out if g["bars"]]


def _heat(cards: list["Card"], kind: str) -> dict[str, Any] | None:
    """Cells of the picture-by-group map: one column a picture, one row a group."""
    if not cards:
        return None
    full = _full_scale([v for c in cards for v in c.groups], kind)
    names = [shorten_middle(visible(c.key), _KEY_COLUMNS) for c in cards]
    cells = [
        {
            "x": x,
            "y": y,
            "opacity": f"{min(max(value / full, 0.0), 1.0):.3f}",
            "title": f"{names[x]} · {taxonomy.GROUPS[y]} {_text(value, kind)}",
        }
        for x, card in enumerate(cards)
        for y, value in enumerate(card.groups)
    ]
    return {
        "columns": len(cards),
        "cells": cells,
        "full": _text(full, kind),
        "gap": 0.06 if len(cards) <= 60 else 0.0,
    }


def _full_scale(values: list[float], kind: str, least: float = _SCORE_SCALE) -> float:
    """What a full bar stands for: the strongest value rounded up; `least` is for scores, not softmax."""
    strongest = max(values, default=0.0)
    if kind != "prob":
        return max(least, float(math.ceil(strongest)))
    steps = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    return next((s for s in steps if s >= strongest), 1.0)


def _text(value: float, kind: str) -> str:
    if kind != "prob":
        return _minus(f"{value:+.2f}" if kind == "score" else f"{value:.2f}")
    return f"{value:.0%}" if value >= 0.0995 or value == 0 else f"{value:.1%}"


def _minus(number: str) -> str:
    return number.replace("-", "−")  # the sign as wide as "+"


def _percent(share: float) -> str:
    return f"{min(max(share, 0.0), 1.0) * 100:.1f}%"
