"""Labels as a list of (picture, head, annotator, value), and what several annotators' labels become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .. import taxonomy
from ..errors import DataError
from ..evaluate.metrics import Floats, Ints
from ..text import listed
from .record import Annotators, Reading, Targets

_TIE = 0.5  # the weight of yes and no in equal number: ours


@dataclass(frozen=True, slots=True)
class LabelRows:
    """P labels of N pictures for H heads.

    Args:
        source: where they came from.
        keys: N unique keys.
        names: H unique column names.
        key, name, annotator: [P] places; annotator -1 where nobody is named.
        value: [P] float64, finite, or NaN for an empty cell.
        yes_no: whether the values are yes and no, or classes.
        groups: column -> N persons or sources.
        notes: what a reader must know.
        experts: as of Targets.
    """

    source: str
    keys: Sequence[str]
    names: Sequence[str]
    key: Ints
    name: Ints
    annotator: Ints
    value: Floats
    yes_no: bool
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: Sequence[str] = ()
    experts: bool = False


def combined(rows: LabelRows, how: Reading) -> Targets:
    """The labels as Targets. Raises DataError where there is none, or one lies outside the scale."""
    notes = list(rows.notes)
    rows = _filled(rows, how.combine == "share", notes)
    scales = _scales(rows, how, notes)
    cell, annotator, value = _each_once(rows, notes)
    order = np.lexsort((value, cell))
    at, start, counts = np.unique(cell[order], return_index=True, return_counts=True)
    value = value[order]
    mean = np.add.reduceat(value, start) / counts
    spread = np.sqrt(np.add.reduceat((value - np.repeat(mean, counts)) ** 2, start) / counts)
    middle = (value[start + (counts - 1) // 2] + value[start + counts // 2]) / 2
    weights = counts / counts.mean()
    if rows.yes_no:
        weights[(counts > 1) & (mean == 0.5)] *= _TIE
    names = taxonomy.canonical_order(rows.names)
    columns = [list(rows.names).index(name) for name in names]

    def matrix(values: Floats | Ints, empty: float) -> Floats:
        out = np.full(len(rows.keys) * len(names), empty)
        out[at] = values
        return out.reshape(len(rows.keys), len(names))[:, columns]

    told = None
    if (counts > 1).any():
        number = len(np.unique(annotator))
        told = Annotators(number, matrix(counts, 0).astype(np.int32), matrix(mean, np.nan), matrix(spread, np.nan))
    return Targets(
        rows.source,
        tuple(rows.keys),
        tuple(names),
        matrix(middle if how.combine == "median" else mean, np.nan).astype(np.float32),
        matrix(weights, 0.0).astype(np.float32),
        {name: scales[name] for name in names},
        dict(rows.groups),
        told,
        tuple(notes),
        rows.experts,
    )


def _filled(rows: LabelRows, share: bool, notes: list[str]) -> LabelRows:
    """Without empty labels; with yes and no in place of numbers where `share` is asked for, or they are 0 and 1."""
    known = ~np.isnan(rows.value)
    if not known.any():
        raise DataError(f"{rows.source} has no labels; expected numbers, yes and no, or classes")
    empty = int((~known).sum())
    if empty:
        notes.append(f"{empty} labels of {rows.source} are empty and were left out")
    value = (rows.value[known] > 0).astype(np.float64) if share else rows.value[known]
    return replace(
        rows,
        key=rows.key[known],
        name=rows.name[known],
        annotator=rows.annotator[known],
        value=value,
        yes_no=rows.yes_no or bool(np.isin(value, (0.0, 1.0)).all()),
    )


def _each_once(rows: LabelRows, notes: list[str]) -> tuple[Ints, Ints, Floats]:
    """[P] place in [N, H], annotator and value, with the mean where one labelled a picture several times."""
    cell = rows.key * len(rows.names) + rows.name
    order = np.lexsort((rows.annotator, cell))
    cell, annotator, value = cell[order], rows.annotator[order], rows.value[order]
    first = np.r_[True, (cell[1:] != cell[:-1]) | (annotator[1:] != annotator[:-1])]
    if first.all():
        return cell, annotator, value
    start = np.flatnonzero(first)
    counts = np.diff(np.r_[start, len(cell)])
    names = [rows.keys[cell[i] // len(rows.names)] for i in start[counts > 1].tolist()]
    notes.append(
        f"{len(names)} labels came several times from one annotator, and were averaged: {listed(dict.fromkeys(names))}"
        + ("; name who gave which with a column `annotator`" if (annotator < 0).any() else "")
    )
    return cell[start], annotator[start], np.add.reduceat(value, start) / counts


def _scales(rows: LabelRows, how: Reading, notes: list[str]) -> dict[str, tuple[float, float]]:
    """The scale of each head. Raises DataError for a label outside."""
    given = (0.0, 1.0) if rows.yes_no else how.scale
    scales = {name: given or taxonomy.find(name).scale for name in rows.names}
    free = [name for name, scale in scales.items() if not np.isfinite(scale).all()]
    order = np.argsort(rows.name, kind="stable")
    bounds = np.searchsorted(rows.name[order], np.arange(len(rows.names) + 1))
    for h, name in enumerate(rows.names):
        mine = order[bounds[h] : bounds[h + 1]]
        value = rows.value[mine]
        if name in free:
            scales[name] = (float(value.min()), float(value.max())) if len(mine) else (0.0, 1.0)
        low, high = scales[name]
        outside = mine[(value < low) | (value > high)]
        if len(outside):
            raise DataError(
                f"{rows.source} has {len(outside)} labels of {name} outside {low:g}..{high:g}, such as "
                f"{rows.value[outside[0]]:g} of {rows.keys[rows.key[outside[0]]]}; mend them, or give --scale LOW,HIGH"
            )
    if free:
        notes.append(f"the scale of {listed(free)} is that of the labels there; --scale LOW,HIGH gives another")
    if given is None and len(free) < len(scales) and rows.value.min() >= 0.0 and rows.value.max() <= 1.0:
        notes.append("all labels lie in 0..1, and the taxonomy's scale is 0..7: if theirs is not, give --scale 0,1")
    return scales
