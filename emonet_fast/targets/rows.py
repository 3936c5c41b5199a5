"""Labels as a matrix, or as a list of (picture, head, annotator, value), and what several annotators' become.

Nothing here sorts all labels, but for a median: sums are `bincount`s over the cells of [N, H].
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from .. import taxonomy
from ..errors import DataError
from ..evaluate.metrics import Floats, Ints
from ..records import Float32Array
from ..text import counted, listed
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

    def bounds(self) -> tuple[Floats, Floats]:
        """[H] lowest and highest value of each name; infinite where it has none."""
        low, high = np.full(len(self.names), np.inf), np.full(len(self.names), -np.inf)
        np.minimum.at(low, self.name, self.value)
        np.maximum.at(high, self.name, self.value)
        return low, high

    def column(self, h: int) -> tuple[Ints, Floats]:
        """The picture's place and the value of each label of a name."""
        mine = np.flatnonzero(self.name == h)
        return self.key[mine], self.value[mine]


@dataclass(frozen=True, slots=True)
class LabelMatrix:
    """At most one label of each of N pictures for each of H heads, with LabelRows' other fields.

    Args:
        values: H columns of [N] float64, NaN for an empty cell. `combined` takes them out one by one.
    """

    source: str
    keys: Sequence[str]
    names: Sequence[str]
    values: list[Floats]
    yes_no: bool
    groups: Mapping[str, tuple[str, ...]]
    notes: Sequence[str]

    def bounds(self) -> tuple[Floats, Floats]:
        """As of LabelRows."""
        low = np.array([np.fmin.reduce(column, initial=np.inf) for column in self.values])
        return low, np.array([np.fmax.reduce(column, initial=-np.inf) for column in self.values])

    def column(self, h: int) -> tuple[Ints, Floats]:
        """As of LabelRows."""
        mine = np.flatnonzero(~np.isnan(self.values[h]))
        return mine, self.values[h][mine]


Labels: TypeAlias = LabelRows | LabelMatrix


def give_back() -> None:
    """Let Arrow return memory that it keeps for later, which would be as much again as the labels."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()


def combined(labels: Labels, how: Reading) -> Targets:
    """The labels as Targets. Raises DataError where there is none, or one lies outside the scale."""
    notes = list(labels.notes)
    names = taxonomy.canonical_order(labels.names)
    place = {name: h for h, name in enumerate(labels.names)}
    columns = [place[name] for name in names]
    told = None
    if isinstance(labels, LabelMatrix):
        labels = _filled_matrix(labels, how.combine == "share", notes)
        scales = _scales(labels, how, notes)
        values = _matrix(labels, columns)
        give_back()
        weights = (~np.isnan(values)).astype(np.float32)
    else:
        labels = _filled(labels, how.combine == "share", notes)
        scales = _scales(labels, how, notes)
        values, weights, told = _of_annotators(labels, how.combine == "median", columns, notes)
    return Targets(
        labels.source,
        tuple(labels.keys),
        tuple(names),
        values,
        weights,
        {name: scales[name] for name in names},
        dict(labels.groups),
        told,
        tuple(notes),
        isinstance(labels, LabelRows) and labels.experts,
    )


def _matrix(labels: LabelMatrix, columns: Sequence[int]) -> Float32Array:
    """[N, H] of the columns in this order, which are let go on the way: both at once would be three times as much."""
    out = np.empty((len(labels.keys), len(columns)), np.float32)
    for to, at in enumerate(columns):
        out[:, to] = labels.values[at]
        labels.values[at] = out[:0, 0].astype(np.float64)
    return out


def _of_annotators(
    rows: LabelRows, median: bool, columns: Sequence[int], notes: list[str]
) -> tuple[Float32Array, Float32Array, Annotators | None]:
    """[N, H] labels and weights, and what annotators said."""
    cell, annotator, value = _each_once(rows, notes)
    size = len(rows.keys) * len(rows.names)
    counts = np.bincount(cell, minlength=size)
    known = counts > 0
    divisor = np.where(known, counts, np.nan)
    mean = np.bincount(cell, value, size) / divisor
    weights = counts / counts[known].mean()
    if rows.yes_no:
        weights[(counts > 1) & (mean == 0.5)] *= _TIE

    def matrix(flat: Floats | Ints) -> Floats:
        return np.asarray(flat.reshape(len(rows.keys), len(rows.names))[:, columns], np.float64)

    told = None
    if (counts > 1).any():
        spread = np.sqrt(np.bincount(cell, (value - mean[cell]) ** 2, size) / divisor)
        number = len(np.unique(annotator))
        told = Annotators(number, matrix(counts).astype(np.int32), matrix(mean), matrix(spread))
    middle = _medians(cell, value, counts) if median else mean
    return matrix(middle).astype(np.float32), matrix(weights).astype(np.float32), told


def _medians(cell: Ints, value: Floats, counts: Ints) -> Floats:
    """[N H] the median of each cell's values, NaN where it has none."""
    value = value[np.lexsort((value, cell))]
    known = counts > 0
    many = counts[known]
    start = np.cumsum(many) - many
    out = np.full(len(counts), np.nan)
    out[known] = (value[start + (many - 1) // 2] + value[start + many // 2]) / 2
    return out


def _none_known(source: str) -> DataError:
    return DataError(f"{source} has no labels; expected numbers, yes and no, or classes")


def _say_empty(number: int, source: str, notes: list[str]) -> None:
    if number:
        notes.append(f"left out: {counted(number, 'empty label')} of {source}")


def _filled_matrix(labels: LabelMatrix, share: bool, notes: list[str]) -> LabelMatrix:
    """As `_filled`; empty cells stay NaN."""
    empty = sum(int(np.isnan(column).sum()) for column in labels.values)
    if empty == len(labels.keys) * len(labels.names):
        raise _none_known(labels.source)
    _say_empty(empty, labels.source, notes)
    if share:
        for h, column in enumerate(labels.values):
            labels.values[h] = np.where(np.isnan(column), np.nan, column > 0)
    two = all(bool(((column == 0) | (column == 1) | np.isnan(column)).all()) for column in labels.values)
    return replace(labels, yes_no=labels.yes_no or two)


def _filled(rows: LabelRows, share: bool, notes: list[str]) -> LabelRows:
    """Without empty labels; with yes and no in place of numbers where `share` is asked for, or they are 0 and 1."""
    known = ~np.isnan(rows.value)
    if not known.any():
        raise _none_known(rows.source)
    _say_empty(int((~known).sum()), rows.source, notes)
    if not known.all():
        key, name, annotator = rows.key[known], rows.name[known], rows.annotator[known]
        rows = replace(rows, key=key, name=name, annotator=annotator, value=rows.value[known])
    value = (rows.value > 0).astype(np.float64) if share else rows.value
    return replace(rows, value=value, yes_no=rows.yes_no or bool(((value == 0) | (value == 1)).all()))


def _each_once(rows: LabelRows, notes: list[str]) -> tuple[Ints, Ints, Floats]:
    """[P] place in [N, H], annotator and value, with the mean where one labelled a picture several times."""
    import pyarrow as pa

    cell = rows.key * len(rows.names) + rows.name
    people = int(rows.annotator.max()) + 2  # with nobody
    encoded = pa.array(cell * people + rows.annotator + 1).dictionary_encode()
    codes = encoded.dictionary.to_numpy()
    if len(codes) == len(cell):
        return cell, rows.annotator, rows.value
    place = encoded.indices.to_numpy()
    counts = np.bincount(place)
    cells, annotators = codes // people, codes % people - 1
    again = np.sort(cells[counts > 1])
    names = dict.fromkeys(rows.keys[at] for at in (again // len(rows.names)).tolist())
    notes.append(
        f"{counted(len(again), 'label')} came several times from one annotator, averaged: {listed(names)}"
        + ("; name who gave which with a column `annotator`" if (rows.annotator < 0).any() else "")
    )
    return cells, annotators, np.bincount(place, rows.value) / counts


def _scales(labels: Labels, how: Reading, notes: list[str]) -> dict[str, tuple[float, float]]:
    """The scale of each head. Raises DataError for a label outside."""
    given = (0.0, 1.0) if labels.yes_no else how.scale
    scales = {name: given or taxonomy.find(name).scale for name in labels.names}
    free = [name for name, scale in scales.items() if not np.isfinite(scale).all()]
    least, most = labels.bounds()
    for h, (name, low, high) in enumerate(zip(labels.names, least.tolist(), most.tolist(), strict=True)):
        if name in free:
            scales[name] = (low, high) if low <= high else (0.0, 1.0)
        elif low < scales[name][0] or high > scales[name][1]:
            raise _outside(labels, h, *scales[name])
    if free:
        notes.append(f"the scale of {listed(free)} is that of the labels there; --scale LOW,HIGH gives another")
    if given is None and len(free) < len(scales) and least.min() >= 0.0 and most.max() <= 1.0:
        notes.append("all labels lie in 0..1, and the taxonomy's scale is 0..7: if theirs is not, give --scale 0,1")
    return scales


def _outside(labels: Labels, h: int, low: float, high: float) -> DataError:
    place, value = labels.column(h)
    outside = np.flatnonzero((value < low) | (value > high))
    return DataError(
        f"{labels.source} has {counted(len(outside), 'label')} of {labels.names[h]} outside "
        f"{low:g}..{high:g}, such as "
        f"{value[outside[0]]:g} of {labels.keys[place[outside[0]]]}; mend them, or give --scale LOW,HIGH"
    )
