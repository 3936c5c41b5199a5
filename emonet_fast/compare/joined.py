"""Two files of predictions, and the truth where there is one, joined by their keys."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .. import taxonomy
from ..errors import DataError, OptionError
from ..evaluate.align import ImageId, places
from ..evaluate.metrics import Floats, Ints
from ..evaluate.predictions import SLUGS, Predictions
from ..population.tables import facts_of
from ..splits.split import first_rows, unknown
from ..targets import Targets, join
from ..text import counted, listed

# What our files say of how they were made, and what a reader must know where it differs.
_MADE_BY = ("checkpoint", "checkpoint_hash", "precision", "backend", "baseline", "neutral_hash", "encoder_hash")


@dataclass(frozen=True, slots=True)
class SideBySide:
    """N pictures that both files have scores for, of K heads that both have.

    Args:
        keys: N keys of the first file.
        heads: K column names, the taxonomy's first, in its order.
        a: [N, K] float64 of the first file.
        b: [N, K] of the second.
        truth: [N, K], NaN where there is none; None without a truth.
        scales: K pairs, the lowest and highest value that the truth can have; None without.
        unit: [N] numbers from 0: rows of one number are drawn together.
        unit_name: what a unit is: "picture", or the column.
        facts: what was joined, by name.
        notes: what a reader must know.
    """

    keys: tuple[str, ...]
    heads: tuple[str, ...]
    a: Floats
    b: Floats
    truth: Floats | None
    scales: tuple[tuple[float, float], ...] | None
    unit: Ints
    unit_name: str
    facts: dict[str, str]
    notes: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """K names for a reader."""
        return _shown(self.heads)

    @property
    def taxonomys(self) -> bool:
        """Whether the first 40 heads are the 40 emotions, one of which is the strongest."""
        return self.heads[: len(SLUGS)] == SLUGS

    @property
    def one_scale(self) -> bool:
        """Whether all heads have the scale of emotions, by the taxonomy."""
        return set(self.heads) <= set(SLUGS)


def _of_heads(given: Predictions, heads: Sequence[str]) -> Floats:
    return given.values[:, [given.names.index(head) for head in heads]]


def _shown(heads: Sequence[str]) -> list[str]:
    return [taxonomy.find(head).name for head in heads]


def join_predictions(a: Predictions, b: Predictions, values: str) -> SideBySide:
    """The pictures that both have, in the order of the first; others are counted in notes.

    A key of the second finds its picture by the rule of sources/keys.py. Raises DataError when keys fit several
    pictures, or none joins.
    """
    at = places([ImageId(name=key) for key in a.keys], b.keys, b.source)
    row_of = np.full(len(a.keys), -1)
    for row, place in enumerate(at):
        if place is not None:
            row_of[place] = row
    there = row_of >= 0
    if not there.any():
        raise DataError(
            f"none of the {counted(len(b.keys), 'key')} of {b.source} names a picture of {a.source}: "
            f"{listed(b.keys)}; expected names such as {listed(a.keys[:3])}, of which one is the end of the other, "
            "folders included"
        )
    scored = there & (np.array(a.status) == "ok") & (np.array(b.status)[row_of] == "ok")
    if not scored.any():
        raise DataError(f"{a.source} and {b.source} have no picture with scores in both")
    heads = tuple(name for name in a.names if name in b.names)
    if not heads:
        raise DataError(
            f"{a.source} has heads of {listed(a.names)}, {b.source} of {listed(b.names)}: none in common to compare"
        )
    rows = np.flatnonzero(scored)
    notes = [f"{name}: {note}" for name, given in (("A", a), ("B", b)) for note in given.notes]
    alone = {
        "A": [a.keys[i] for i in np.flatnonzero(~there)],
        "B": [key for key, place in zip(b.keys, at, strict=True) if place is None],
    }
    notes += [
        f"{counted(len(keys), 'picture is', 'pictures are')} in {name} alone: {listed(keys)}"
        for name, keys in alone.items()
        if keys
    ]
    if without := int((there & ~scored).sum()):
        notes.append(f"{counted(without, 'picture')} in both without scores in one of them")
    for name, given in (("A", a), ("B", b)):
        if lacking := _shown([head for head in given.names if head not in heads]):
            notes.append(f"in {name} alone: {counted(len(lacking), 'head')}, {listed(lacking)}")
    facts = {"A": a.source, "B": b.source, "values": values, "pictures": str(len(rows)), "heads": str(len(heads))}
    made, differ = _how_made(a, b, values)
    return SideBySide(
        tuple(a.keys[i] for i in rows), heads, _of_heads(a, heads)[rows], _of_heads(b, heads)[row_of[rows]], None, None,
        np.arange(len(rows)), "picture", facts | made, tuple(notes + differ),
    )  # fmt: skip


def with_truth(joined: SideBySide, targets: Targets, unit: str | None) -> SideBySide:
    """With the truth of these pictures, and units drawn by a column of its groups.

    unit: the column; None takes the first one, if there is any, and "picture" none. Raises DataError when no picture or
    head has a truth, OptionError when there is no such column.
    """
    found = join(targets, joined.keys, "the predictions")
    names = joined.heads
    if not set(names) & set(targets.names):
        raise DataError(
            f"{targets.source} has labels of {listed(targets.names)}, of none of the heads that both files have: "
            f"{listed(names)}"
        )
    rows = np.flatnonzero(found.rows >= 0)
    truth = np.full((len(rows), len(names)), np.nan)
    for i, name in enumerate(names):
        if name in targets.names:
            truth[:, i] = targets.values[found.rows[rows], targets.names.index(name)]
    ends = [targets.scales.get(name, (0.0, 7.0)) for name in names]
    told = {end for name, end in zip(names, ends, strict=True) if name in targets.names}
    mixed = [f"means of errors are over heads of {len(told)} scales, the widest counts most"] if len(told) > 1 else []
    unit = unit or next(iter(targets.groups), "picture")
    if unit != "picture" and unit not in targets.groups:
        raise OptionError(
            f"unit is {unit!r}; expected picture, or a column of persons or sources of {targets.source}: "
            f"{', '.join(targets.groups) or 'it has none'}. Name others with --group-by"
        )
    labels = None if unit == "picture" else [targets.groups[unit][r] for r in found.rows[rows]]
    facts = joined.facts | {"truth": targets.source, "pictures": str(len(rows))}
    return replace(
        joined, keys=tuple(joined.keys[i] for i in rows), a=joined.a[rows], b=joined.b[rows], truth=truth,
        scales=tuple(ends), unit=_units(labels, len(rows)), unit_name=unit, facts=facts,
        notes=(*joined.notes, *targets.notes, *found.notes, *mixed, *_unknown_note(labels, unit)),
    )  # fmt: skip


def _units(labels: Sequence[str] | None, rows: int) -> Ints:
    return np.arange(rows) if labels is None else np.unique(first_rows(labels), return_inverse=True)[1]


def _unknown_note(labels: Sequence[str] | None, unit: str) -> list[str]:
    without = sum(map(unknown, labels or ()))
    return (
        [f"{counted(without, 'picture has', 'pictures have')} no {unit}: each counts as one of its own"]
        if without
        else []
    )


def _how_made(a: Predictions, b: Predictions, values: str) -> tuple[dict[str, str], list[str]]:
    """What the files say of how they were made, and a note on what differs."""
    from pathlib import Path

    told = [facts_of(Path(p.source)) if Path(p.source).suffix else {} for p in (a, b)]
    facts, differ = {}, []
    for name in _MADE_BY:
        mine, theirs = (t.get(name, "") for t in told)
        if mine == theirs and mine:
            facts[name] = mine
        elif mine or theirs:
            facts |= {f"{name} of A": mine or "not said", f"{name} of B": theirs or "not said"}
            differ.append(name)
    notes = []
    if values == "score" and "checkpoint_hash" in differ:
        notes.append("the scores are of two checkpoints, each less its own neutral means: a shift may come from these")
    if not all(told):
        silent = " and ".join(name for name, facts_told in zip("AB", told, strict=True) if not facts_told)
        notes.append(f"{silent}: nothing says how these scores were made, and so whether that differs")
    return facts, notes
