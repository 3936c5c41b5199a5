"""The page of a fidelity report: bars, heads, cosines, and the pictures on which both engines differ most."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .. import taxonomy
from ..text import counted_parts
from .render import minus, render

_SHOWN = 5  # emotions of a picture; the others unfold
_COLUMNS = 32  # of the histogram
_WIDTH, _HEIGHT = 960, 150


def fidelity_page(facts: Mapping[str, Any], failures: Sequence[str], unproved: Sequence[str]) -> bytes:
    """Render the page of a report's facts (engines/report.py); `failures` and `unproved` are its gate's."""
    fidelity, bars, engines = facts["fidelity"], facts["bars"], facts["engines"]
    lowest = min((head["spearman"] for head in facts["heads"] if head["spearman"] is not None), default=None)
    notes = [f"int8 misses its bars: {'; '.join(failures)}"] if failures else []
    notes += [f"not proved: {text}" for text in unproved]
    notes += ["untrained weights: the numbers mean nothing"] if facts["untrained"] else []
    proof, calibration = facts["pictures"]["proof"], facts["pictures"]["calibration"]
    variables = {
        "title": "Fidelity of int8",
        "notes": notes,
        "passed": not failures,
        "proof": proof,
        "calibration": None if facts["given"] else calibration,
        "bars": [
            _bar("lowest Spearman of a head", lowest, bars["spearman"], "{:.4f}", at_least=True),
            _bar("RMS error, of the spread", fidelity["rms_relative"], bars["rms"], "{:.1%}", at_least=False),
            _bar("same strongest emotion", fidelity["top1_agreement"], bars["top1"], "{:.1%}", at_least=True),
        ],
        "figures": {
            "faster than " + engines[0]["precision"]: f"{engines[0]['seconds'] / engines[1]['seconds']:.2f} times",
            "largest score error": _text("{:.3f}", fidelity["max_error"]),
            "score error, RMS": _text("{:.4f}", fidelity["rms_error"]),
            "largest error, of the spread": _text("{:.1%}", fidelity["max_relative"]),
            "five strongest emotions kept": _text("{:.1%}", facts["top5_agreement"]),
            "lowest cosine": _text("{:.5f}", fidelity["cosine_min"]),
            "mean cosine": _text("{:.5f}", fidelity["cosine_mean"]),
            "in float": counted_parts(facts["recipe"]["float"]),
        },
        "heads": _heads(facts["heads"], bars),
        "histogram": _histogram(facts["cosines"]),
        "worst": [_worst(picture, facts["heads"]) for picture in facts["worst"]],
        "engines": [
            {
                "precision": engine["precision"],
                "seconds": f"{engine['seconds']:.3f}",
                "memory": f"{engine['memory_mb']['now']:,.0f} MB" if "now" in engine["memory_mb"] else "unknown",
                "width": engine["seconds"] / max(one["seconds"] for one in engines),
            }
            for engine in engines
        ],
        "tried": facts["tried"],
        "facts_of_run": {
            "checkpoint": facts["checkpoint"],
            "weights": facts["place"]["weights_hash"],
            "recipe": facts["recipe"]["hash"],
            "processor": facts["place"]["device"],
            "OpenVINO": facts["place"]["compiler"],
            "graph": facts["place"]["graph"],
            "emonet-fast": facts["versions"]["emonet_fast"],
            "made": facts["created"],
            "pictures of calibration": "" if facts["given"] else f"{calibration['count']}, {calibration['sha256']}",
            "pictures of proof": f"{proof['count']}, {proof['sha256']}",
            "in float": ", ".join(facts["recipe"]["float"]) or "none",
            "seconds": ", ".join(f"{step} {seconds:.0f}" for step, seconds in facts["seconds"].items()),
        },
    }
    return render("reports/fidelity.html", variables)


def _text(form: str, value: float | None) -> str:
    return "–" if value is None else form.format(value)


def _bar(name: str, value: float | None, bar: float, form: str, *, at_least: bool) -> dict[str, Any]:
    met = value is not None and (value >= bar if at_least else value <= bar)
    expected = f"{'at least' if at_least else 'at most'} {form.format(bar)}"
    return {"name": name, "value": _text(form, value), "expected": expected, "met": met}


def _heads(heads: Sequence[Mapping[str, Any]], bars: Mapping[str, float]) -> dict[str, Any]:
    """Rows for each head, the largest RMS error first, on scales that hold them all."""
    full = max([2 * bars["rms"], *(head["max"] or 0.0 for head in heads)])
    least = min([1 - 3 * (1 - bars["spearman"]), *(head["spearman"] for head in heads if head["spearman"] is not None)])
    rows = []
    for head in sorted(heads, key=lambda head: -(head["rms"] or math.inf)):
        rank = head["spearman"]
        rows.append(
            {
                "name": taxonomy.find(head["name"]).name,
                "rms": _text("{:.1%}", head["rms"]),
                "rms_width": (head["rms"] or 0.0) / full,
                "max": _text("{:.0%}", head["max"]),
                "max_place": (head["max"] or 0.0) / full,
                "spearman": _text("{:.4f}", rank),
                "rank_place": 0.0 if rank is None else (rank - least) / (1 - least),
                "low": rank is None or rank < bars["spearman"],
            }
        )
    return {
        "rows": rows,
        "rms_bar": bars["rms"] / full,
        "rank_bar": (bars["spearman"] - least) / (1 - least),
        "full": f"{full:.0%}",
        "least": f"{least:.2f}",
        "spearman": f"{bars['spearman']:g}",
        "rms": f"{bars['rms']:.0%}",
    }


def _histogram(cosines: Sequence[float | None]) -> dict[str, Any]:
    """How many pictures have which cosine distance, 1 - cosine, in columns of equal width."""
    distances = [max(1.0 - value, 0.0) for value in cosines if value is not None]
    most = max(distances, default=0.0) or 1e-12
    counts = [0] * _COLUMNS
    for distance in distances:
        counts[min(int(distance / most * _COLUMNS), _COLUMNS - 1)] += 1
    step, tallest = _WIDTH / _COLUMNS, max(counts, default=1) or 1
    columns = [
        {
            "x": f"{i * step + 1:.1f}",
            "y": f"{_HEIGHT * (1 - n / tallest):.1f}",
            "height": f"{_HEIGHT * n / tallest:.1f}",
            "title": f"{n} pictures from {i / _COLUMNS * most:.2e} to {(i + 1) / _COLUMNS * most:.2e}",
        }
        for i, n in enumerate(counts)
        if n
    ]
    ordered = sorted(distances)
    median = ordered[len(ordered) // 2] if ordered else 0.0
    return {
        "columns": columns,
        "column_width": f"{step - 2:.1f}",
        "width": _WIDTH,
        "height": _HEIGHT,
        "median_x": f"{_WIDTH * median / most:.1f}",
        "median": f"{median:.1e}",
        "most": f"{most:.1e}",
        "tallest": tallest,
    }


def _worst(picture: Mapping[str, Any], heads: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A picture with both scores of each head, the strongest emotions in float32 first."""
    rows = []
    for head, want, got in zip(heads, picture["reference"], picture["engine"], strict=True):
        dimension = taxonomy.find(head["name"])
        share = abs(got - want) / head["spread"] if head["spread"] else math.nan
        rows.append(
            {
                "name": dimension.name,
                "emotion": dimension.is_emotion,
                "want": minus(f"{want:.2f}"),
                "got": minus(f"{got:.2f}"),
                "difference": minus(f"{got - want:+z.3f}"),
                "order": (not dimension.is_emotion, -want),
                "far": share > 0.25,
            }
        )
    rows.sort(key=lambda row: row["order"])
    return {
        "name": picture["name"],
        "image": picture["image"],
        "error": _text("{:.1%}", picture["error"]),
        "cosine": _text("{:.5f}", picture["cosine"]),
        "strongest": rows[:_SHOWN],
        "rest": rows[_SHOWN:],
    }
