"""One HTML page on a bulk run's folder: what came of it, and what its scores look like. Needs nothing else to be seen.

folder -> collect (one pass, bounded memory) -> pictures (of the most typical rows) -> page.html
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ... import taxonomy
from ...arithmetic import EMOTIONS
from ...baseline import Baseline
from ...errors import DataError
from ...files import is_file, write_whole
from ...population import baseline_of
from ...records import Float64Array
from ...reliability import reliable
from ...reports.render import MEASURES, minus, render, scale_text, switch
from ...sources.skipped import skipped_text
from ...text import value_text
from ..folder import Folder
from ..marker import ShardState, failures, input_count, skipped_by
from ..settings import SELF
from .collect import EDGES_OF, STRONGEST, Collected, KindFigures, collect, quantile, scale_edges
from .pictures import thumbnails

_WIDTH, _HEIGHT = 160, 34  # of a distribution's drawing
_SLOTS = (0.05, 0.25, 0.5, 0.75, 0.95)


def write_report(
    where: Path,
    output: Path,
    *,
    pictures: bool | None = None,
    baseline: Baseline | str | None = None,
    min_reliability: float | None = None,
) -> Collected:
    """Write the page on the folder of a bulk run, as far as that is done. Returns the figures on it.

    Args:
        where: the folder.
        output: the page.
        pictures: whether the most typical pictures are read again, to show them; None shows those that lie below the
            run's inputs, links followed. The plan of a stranger's folder may name any file.
        baseline: the population of the ranking by z; "self" is the folder's own rows; None takes the shards' z
            columns, where they have some.
        min_reliability: leave emotions out of a row's strongest of which the experts' alpha is lower.

    Raises:
        DataError: when the folder has no plan or no finished shard.
        OptionError: when the baseline is of another checkpoint.
        OptionError: when the output cannot be written, or no emotion is left.
    """
    reliable(EMOTIONS, min_reliability)  # refuses what would leave no emotion
    if not is_file(where / "plan.json"):
        raise DataError(f"{where} has no plan.json; expected the output folder of `emonet-fast bulk`")
    folder = Folder(where)
    plan = folder.plan()
    shards = folder.look(plan, range(len(plan.shards)), hashes=False)
    done = [number for number, shard in shards.items() if shard.state == ShardState.DONE]
    if not done:
        raise DataError(f"{where} has no finished shard yet; run `emonet-fast bulk` first")
    if baseline == SELF:
        baseline = baseline_of([folder.stem(plan, number).with_suffix(".parquet") for number in done])
    if isinstance(baseline, Baseline):
        baseline.check(baseline.names, plan.fingerprint)
    collected = collect(folder, plan, done, baseline if isinstance(baseline, Baseline) else None, min_reliability)
    collected.shards = len(plan.shards)
    collected.failed = failures(shards)
    collected.notes += filter(None, [skipped_text(skipped_by(plan, shards.values()))])
    markers = [shards[number].marker or {} for number in done]
    collected.notes += sorted({note for marker in markers for note in marker["notes"]})
    collected.count = input_count(markers, faces=collected.fingerprint.get("faces", "none") != "none")
    shown = thumbnails(folder, plan, collected, anywhere=bool(pictures)) if pictures is not False else {}
    write_whole(output, render("bulk/report/page.html", _page(collected, shown, str(where))))
    return collected


def _page(collected: Collected, shown: dict[str, str], title: str) -> dict[str, Any]:
    """The template's variables. `shown` are base64 JPEGs by row key."""
    unfinished = collected.shards - collected.done
    notes = list(collected.notes)
    if unfinished:
        notes.append(f"{unfinished} of {collected.shards} shards are not done; this page is about the others.")
    notes += [f"Shard {shard} failed: {reason}" for shard, reason in collected.failed.items()]
    lost = collected.total - collected.scored
    return {
        "title": title,
        "notes": notes,
        "counts": [
            *collected.count.heads,
            (f"{collected.scored:,}", "scored", False),
            (f"{lost:,}", "without scores", lost > 0),
            (collected.done, f"of {collected.shards} shards", False),
        ],
        "facts_of_run": {"inputs": ", ".join(collected.inputs), **collected.fingerprint},
        "collected": collected,
        "measure": MEASURES[collected.kind.removesuffix("_")],
        "views": [view | _view(collected, view["kind"]) for view in switch(collected.figures)],
        "scales": [_scale(slug, counts) for slug, counts in collected.scales.items() if collected.scored],
        "strongest": STRONGEST,
        "shown": shown,
    }


def _view(collected: Collected, kind: str) -> dict[str, Any]:
    """What the page shows of one kind of values."""
    return {
        "low": minus(f"{EDGES_OF[kind][0]:g}"),
        "high": f"{EDGES_OF[kind][-1]:g}",
        "distributions": _distributions(collected, kind),
        "figures": collected.figures[kind],
        "together": _together(collected.figures[kind]),
    }


def _distributions(collected: Collected, kind: str) -> list[dict[str, Any]]:
    """Each group's emotions with their distributions, in the guide's order."""
    if not collected.scored:
        return []
    out = []
    for index, group in enumerate(taxonomy.GROUPS):
        members = [e for e, slug in enumerate(collected.emotions) if taxonomy.find(slug).group == group]
        if members:
            out.append(
                {"name": group, "index": index, "emotions": [_distribution(collected, kind, e) for e in members]}
            )
    return out


def _distribution(collected: Collected, kind: str, emotion: int) -> dict[str, Any]:
    drawing = _drawing(
        collected.figures[kind].histogram[emotion], EDGES_OF[kind], lambda value: value_text(value, kind)
    )
    return drawing | _named(collected.emotions[emotion])


def _scale(slug: str, counts: npt.NDArray[np.int64]) -> dict[str, Any]:
    """An extra dimension's distribution over the annotators' scale."""
    low, high = taxonomy.find(slug).scale
    drawing = _drawing(counts, scale_edges(slug), lambda value: scale_text(value, low))
    return drawing | _named(slug) | {"low": minus(f"{low:g}"), "high": f"{high:g}"}


def _named(slug: str) -> dict[str, str]:
    return {"slug": slug, "name": taxonomy.find(slug).name}


def _drawing(counts: npt.NDArray[np.int64], edges: Float64Array, text: Callable[[float], str]) -> dict[str, str]:
    full = max(1, int(counts.max()))
    step = _WIDTH / len(counts)
    points = [f"0,{_HEIGHT}"]
    for i, count in enumerate(counts.tolist()):
        y = _HEIGHT * (1 - count / full)
        points += [f"{i * step:.1f},{y:.1f}", f"{(i + 1) * step:.1f},{y:.1f}"]
    points.append(f"{_WIDTH},{_HEIGHT}")
    marks = [quantile(counts, share, edges) for share in _SLOTS]
    return {
        "points": " ".join(points),
        "zero": f"{_place(0.0, edges):.1f}",
        "median": f"{_place(marks[2], edges):.1f}",
        "text": text(marks[2]),
        "title": "5%, 25%, 50%, 75%, 95%: " + ", ".join(text(m) for m in marks),
    }


def _place(value: float, edges: Float64Array) -> float:
    """Where a value stands in a drawing; 0 where there is none."""
    return float(np.nan_to_num((value - edges[0]) / (edges[-1] - edges[0]) * _WIDTH))


def _together(figures: KindFigures) -> dict[str, Any]:
    """Of the rows with one emotion among their strongest, the share [E, E] with another; and what full colour is."""
    own = np.diag(figures.together).astype(np.float64)
    share = np.divide(figures.together, own[:, None], out=np.zeros(figures.together.shape), where=own[:, None] > 0)
    np.fill_diagonal(share, 0.0)
    return {"share": share.tolist(), "full": max(0.05, math.ceil(float(share.max(initial=0.0)) * 20) / 20)}
