"""A summary as one HTML page: what groups are made of, means with intervals, and transitions of strongest groups."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .. import taxonomy
from ..files import write_whole
from ..reports.render import minus, render
from ..sinks.encoders import warnings_of
from .tables import GROUP_SLUGS, Summary

# Groups on the page at most, the largest ones; the tables have all.
SHOWN = 12
_FACTS = (
    *("summary_of", "by", "kind", "unit", "share_above", "strongest_by", "rows", "left_out", "not_named"),
    *("checkpoint", "precision", "baseline", "derived"),
)
_OTHERS = "Other dimensions"


def write_report(summary: Summary, path: Path) -> list[Path]:
    """Write the page, whole or not at all, and return it. Raises EmonetError when the disk refuses."""
    rows = sorted(summary.groups.to_pylist(), key=lambda row: -row["rows"])
    groups = [_group(row, summary.by) for row in rows[:SHOWN] if row["rows"]]
    figures: dict[str, dict[tuple[Any, ...], Mapping[str, Any]]] = {}
    for row in summary.figures.to_pylist():
        figures.setdefault(row["dimension"], {})[tuple(row[name] for name in summary.by)] = row
    shown = [tuple(group[name] for name in summary.by) for group in groups]
    variables = {
        "title": "Summary of " + summary.metadata["summary_of"],
        "notes": [*warnings_of(summary.metadata), *summary.notes],
        "facts_of_run": {k: summary.metadata[k] for k in _FACTS if k in summary.metadata},
        "summary_groups": groups,
        "left_out": len(rows) - len(groups),
        "sections": _sections(
            {name: [rows[values] for values in shown] for name, rows in figures.items()},
            [group["label"] for group in groups],
        ),
        "timed": any(row["seconds"] is not None for row in rows),
        "unit": summary.metadata["unit"],
    }
    write_whole(path, render("summaries/report.html", variables))
    return [path]


def _label(row: Mapping[str, Any], by: Sequence[str]) -> str:
    values = ["none" if row[name] is None else str(row[name]) for name in by]
    return " · ".join(values) or "all rows"


def _group(row: Mapping[str, Any], by: Sequence[str]) -> dict[str, Any]:
    counts = [[row[f"{a}_to_{b}"] for b in GROUP_SLUGS] for a in GROUP_SLUGS]
    matrix = [[(n, n / sum(line) if sum(line) else 0.0) for n in line] for line in counts]
    shares = [row[f"share_{name}"] for name in GROUP_SLUGS]
    return dict(row) | {"label": _label(row, by), "matrix": matrix, "shares": shares}


def _sections(figures: Mapping[str, Sequence[Mapping[str, Any]]], labels: Sequence[str]) -> list[dict[str, Any]]:
    """The dimensions by group of emotions, each with a strip for each group of rows."""
    emotions = [slug for slug in figures if taxonomy.find(slug).is_emotion]
    ends = _ends([row for slug in emotions for row in figures[slug]])
    sections = []
    for index, name in enumerate((*taxonomy.GROUPS, _OTHERS)):
        members = [slug for slug in figures if (taxonomy.find(slug).group or _OTHERS) == name]
        cards = []
        for slug in members:
            low, high = ends if slug in emotions else _ends(figures[slug])
            strips = [_strip(row, label, low, high) for row, label in zip(figures[slug], labels, strict=True)]
            card = {"slug": slug, "kind": figures[slug][0]["kind"], "strips": strips, "zero": _place(0.0, low, high)}
            cards.append(card | {"low": minus(f"{low:z.2f}"), "high": minus(f"{high:z.2f}")})
        if cards:
            sections.append({"name": name, "index": index, "cards": cards})
    return sections


def _ends(rows: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """What the strips begin and end at: the least and greatest mean or end of an interval."""
    values = [row[name] for row in rows for name in ("unit_mean", "low", "high") if row[name] is not None]
    low, high = min(values, default=0.0), max(values, default=1.0)
    margin = 0.04 * (high - low) or 0.5
    return low - margin, high + margin


def _place(value: float, low: float, high: float) -> float | None:
    """Where a value lies on a strip, 0 to 1; None beyond it."""
    share = (value - low) / (high - low)
    return share if 0 <= share <= 1 else None


def _strip(row: Mapping[str, Any], label: str, low: float, high: float) -> dict[str, Any]:
    mean, begin, end = row["unit_mean"], row["low"], row["high"]
    if mean is None:
        return {"label": label, "text": "–", "at": None, "begin": None}
    text = f"{mean:z.2f}" + ("" if begin is None else f" ({begin:z.2f} to {end:z.2f})")
    strip = {"label": label, "text": minus(text), "at": _place(mean, low, high), "begin": None}
    if begin is not None:
        strip |= {"begin": (begin - low) / (high - low), "width": (end - begin) / (high - low)}
    return strip
