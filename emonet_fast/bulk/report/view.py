"""From what was collected to what the template shows: texts made safe, numbers made lengths."""

import math
from typing import Any

import numpy as np

from ... import taxonomy
from ...sinks.text import shorten_middle, visible
from .collect import EDGES, STRONGEST, Collected, quantile
from .labels import Agreement

_WIDTH, _HEIGHT = 160, 34  # of a distribution's drawing
_CELL = 15  # pixels of the heat map
_KEY = 30
_SLOTS = (0.05, 0.25, 0.5, 0.75, 0.95)


def page(found: Collected, shown: dict[str, str], title: str) -> dict[str, Any]:
    """The template's variables. shown: base64 JPEGs by row key."""
    facts = {"inputs": ", ".join(found.inputs), **found.fingerprint}
    return {
        "title": visible(title),
        "notes": [visible(n) for n in found.notes],
        "unfinished": found.shards - found.done,
        "shards": found.shards,
        "done": found.done,
        "failed": [(shard, visible(reason)) for shard, reason in found.failed.items()],
        "total": f"{found.total:,}",
        "scored": f"{found.scored:,}",
        "bad": f"{found.total - found.scored:,}",
        "facts": [(visible(k.replace("_", " ")), visible(v)) for k, v in facts.items() if v],
        "errors": _errors(found),
        "measure": "raw score minus neutral mean" if found.kind == "score_" else "raw score, no neutral baseline",
        "low": _minus(f"{EDGES[0]:g}"),
        "high": f"{EDGES[-1]:g}",
        "groups": _groups(found),
        "heat": _heat(found) if found.scored else None,
        "strongest": STRONGEST,
        "emotions": len(found.emotions),
        "typical": _typical(found, shown),
        "agreements": [_agreement(name, a, found) for name, a in found.agreements.items()],
        "legend": [{"name": g, "index": i} for i, g in enumerate(taxonomy.GROUPS)],
    }


def _errors(found: Collected) -> list[dict[str, Any]]:
    return [
        {
            "status": status.replace("_", " "),
            "count": f"{count:,}",
            "share": f"{count / found.total:.2%}",
            "examples": [
                {"key": visible(key), "reason": visible(reason[:300])} for key, reason in found.examples.get(status, [])
            ],
        }
        for status, count in found.statuses.most_common()
        if status != "ok"
    ]


def _groups(found: Collected) -> list[dict[str, Any]]:
    """Each group's emotions with their distributions, in the guide's order."""
    if not found.scored:
        return []
    out = []
    for index, group in enumerate(taxonomy.GROUPS):
        members = [e for e, slug in enumerate(found.emotions) if taxonomy.find(slug).group == group]
        if members:
            out.append({"name": group, "index": index, "emotions": [_distribution(found, e) for e in members]})
    return out


def _distribution(found: Collected, emotion: int) -> dict[str, Any]:
    counts = found.histogram[emotion]
    full = max(1, int(counts.max()))
    step = _WIDTH / len(counts)
    points = [f"0,{_HEIGHT}"]
    for i, count in enumerate(counts.tolist()):
        y = _HEIGHT * (1 - count / full)
        points += [f"{i * step:.1f},{y:.1f}", f"{(i + 1) * step:.1f},{y:.1f}"]
    points.append(f"{_WIDTH},{_HEIGHT}")
    marks = [quantile(counts, share) for share in _SLOTS]
    return {
        "name": taxonomy.find(found.emotions[emotion]).name,
        "points": " ".join(points),
        "zero": f"{_place(0.0):.1f}",
        "median": f"{_place(marks[2]):.1f}",
        "text": _minus(f"{marks[2]:+.2f}"),
        "title": "5%, 25%, 50%, 75%, 95%: " + ", ".join(_minus(f"{m:+.2f}") for m in marks),
    }


def _place(value: float) -> float:
    return float((value - EDGES[0]) / (EDGES[-1] - EDGES[0]) * _WIDTH)


def _heat(found: Collected) -> dict[str, Any]:
    """Cell (row, column): of the rows that have the one emotion among their strongest, the share with the other."""
    names = [taxonomy.find(e).name for e in found.emotions]
    own = np.diag(found.together).astype(np.float64)
    share = np.divide(found.together, own[:, None], out=np.zeros(found.together.shape), where=own[:, None] > 0)
    off = share[~np.eye(len(names), dtype=bool)]
    full = max(0.05, math.ceil(float(off.max(initial=0.0)) * 20) / 20)
    cells = [
        {
            "x": x * _CELL,
            "y": y * _CELL,
            "opacity": f"{min(share[y, x] / full, 1.0):.3f}",
            "title": f"{names[y]} with {names[x]}: {share[y, x]:.1%} of {int(own[y]):,} rows",
        }
        for y in range(len(names))
        for x in range(len(names))
        if x != y and share[y, x] > 0
    ]
    labels = [
        {
            "name": shorten_middle(n, _KEY),
            "at": i * _CELL + _CELL - 4,
            "index": taxonomy.GROUPS.index(taxonomy.find(e).group),
        }
        for i, (n, e) in enumerate(zip(names, found.emotions, strict=True))
    ]
    return {"cells": cells, "labels": labels, "side": len(names) * _CELL, "cell": _CELL - 1, "full": f"{full:.0%}"}


def _typical(found: Collected, shown: dict[str, str]) -> list[dict[str, Any]]:
    out = []
    for emotion, rows in zip(found.emotions, found.best, strict=True):
        dimension = taxonomy.find(emotion)
        cards = [
            {
                "key": shorten_middle(visible(b.key), _KEY),
                "full_key": visible(b.key),
                "value": _minus(f"{b.value:+.2f}"),
                "image": shown.get(b.key, ""),
            }
            for b in rows
        ]
        if cards:
            out.append({"name": dimension.name, "index": taxonomy.GROUPS.index(dimension.group), "cards": cards})
    return out


def _agreement(name: str, agreement: Agreement, found: Collected) -> dict[str, Any]:
    emotions = [
        {
            "name": taxonomy.find(slug).name,
            "rows": f"{int(agreement.ranks[e].sum()):,}",
            "first": _share(agreement.within(1, e)),
            "five": _share(agreement.within(5, e)),
            "rank": f"{agreement.mean_rank(e):.1f}",
        }
        for e, slug in enumerate(found.emotions)
        if agreement.ranks[e].sum()
    ]
    return {
        "column": visible(name),
        "rows": f"{agreement.rows:,}",
        "named": bool(agreement.rows),
        "strange": f"{agreement.strange:,}" if agreement.rows and agreement.strange else "",
        "first": _share(agreement.within(1)),
        "three": _share(agreement.within(3)),
        "five": _share(agreement.within(5)),
        "chance": f"{1 / len(found.emotions):.1%}, {3 / len(found.emotions):.1%} and {5 / len(found.emotions):.1%}"
        if found.emotions
        else "",
        "emotions": emotions,
    }


def _share(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.1%}"


def _minus(number: str) -> str:
    return number.replace("-", "−")  # the sign as wide as "+"
