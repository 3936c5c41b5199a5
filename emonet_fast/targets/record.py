"""What was labelled, by how many, and how labels are joined with the keys of stored embeddings."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import DataError, OptionError
from ..evaluate.metrics import (
    BOOTSTRAPS,
    SEED,
    Floats,
    Interval,
    Ints,
    alpha_of_sums,
    count_chunks,
    interval,
)
from ..records import Float32Array, Float64Array
from ..sources.keys import AmbiguousKeyError, Names
from ..text import counted, listed

COMBINED = ("mean", "median", "share")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a table of labels is to be read; what is None or empty is found by the names of its columns.

    Args:
        key: the column of pictures.
        labels: the columns of labels; of a table with one label a row, the labels to keep.
        annotator: the column of who gave a label.
        groups: columns of which each value is one person or source, which a split keeps together.
        combine: what several annotators' labels become: "mean", "median", or the "share" who gave more than 0.
        classes: whether numbers are codes of classes, which become one column of 0 and 1 each.
        scale: the lowest and highest label; None takes the taxonomy's, or for a name of your own what is there.

    Raises:
        OptionError: for another way to combine, or a scale that has no width.
    """

    key: str | None = None
    labels: tuple[str, ...] = ()
    annotator: str | None = None
    groups: tuple[str, ...] = ()
    combine: str = "mean"
    classes: bool = False
    scale: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.combine not in COMBINED:
            raise OptionError(f"combine is {self.combine!r}; expected one of {', '.join(COMBINED)}")
        if self.scale is not None and not -np.inf < self.scale[0] < self.scale[1] < np.inf:
            raise OptionError(f"scale is {self.scale!r}; expected a lowest and a higher number, as 0 and 7")


@dataclass(frozen=True, slots=True)
class Annotators:
    """What several annotators said of N rows and H names; NaN where nobody did.

    Args:
        number: how many annotators there are in all.
        counts: [N, H] int32, how many labelled it.
        mean: [N, H] float64 mean of their labels.
        spread: [N, H] float64 standard deviation among them (population), 0 of one.
    """

    number: int
    counts: "np.ndarray[tuple[int, ...], np.dtype[np.int32]]"
    mean: Float64Array
    spread: Float64Array


@dataclass(frozen=True, slots=True)
class Targets:
    """Labels of N pictures for H heads.

    Args:
        source: the file or data set that they came from.
        keys: N unique names of pictures.
        names: H heads, by their column names; those of the taxonomy first, in its order.
        values: [N, H] float32, NaN where there is no label.
        weights: [N, H] float32, 0 where there is no label, else the number of annotators over its mean; half of that
            for yes and no in equal number. So the mean over labels is about 1.
        scales: name -> the lowest and highest value that a label can have.
        groups: column -> each row's person or source, "" where unknown.
        annotators: what they said; None where one annotator, or nobody known, labelled everything.
        notes: what a reader must know.
        experts: whether they are the experts' of HQ, which models are proved on.
    """

    source: str
    keys: tuple[str, ...]
    names: tuple[str, ...]
    values: Float32Array
    weights: Float32Array
    scales: Mapping[str, tuple[float, float]]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    annotators: Annotators | None = None
    notes: tuple[str, ...] = ()
    experts: bool = False

    @property
    def counts(self) -> dict[str, int]:
        """name -> how many rows have a label."""
        return dict(zip(self.names, (~np.isnan(self.values)).sum(axis=0).tolist(), strict=True))

    def is_binary(self, name: str) -> bool:
        """Whether a name's labels are 0 and 1 alone, as yes and no and classes are."""
        column = self.values[:, self.names.index(name)]
        return bool(np.isin(column[~np.isnan(column)], (0.0, 1.0)).all())


@dataclass(frozen=True, slots=True)
class Joined:
    """Which row of Targets belongs to which of M keys.

    Args:
        rows: [M] int64 row, -1 where there is none.
        notes: what did not join, with examples.
    """

    rows: Ints
    notes: tuple[str, ...]


def join(targets: Targets, keys: Sequence[str], source: str = "the embeddings") -> Joined:
    """Find the labels of keys by the rule of sources/keys.py: equal, else the longest tail of the path, of which at
    last the ending may lack; `a.jpg` has the labels of `faces/a.jpg`, or of `a`, where nothing else fits.

    A key that fits several rows has no labels, nor have several faces of a picture that was labelled once: the label
    is of one of them, nobody knows which. `notes` counts both. Raises DataError when no key has labels.
    """
    names = Names(targets.keys, endings=False)
    place = {key: row for row, key in enumerate(targets.keys)}
    rows = np.full(len(keys), -1, dtype=np.int64)
    ambiguous, missing = [], []
    for i, key in enumerate(keys):
        try:
            name = names.find(key)
        except AmbiguousKeyError as error:
            ambiguous.append(str(error))
            continue
        if name is None:
            missing.append(key)
        else:
            rows[i] = place[name]
    notes = (
        [f"{counted(len(ambiguous), 'key fits', 'keys fit')} several labelled pictures: {listed(ambiguous)}"]
        if ambiguous
        else []
    )
    twice = {row for row, n in Counter(rows[rows >= 0].tolist()).items() if n > 1}
    several = [i for i, row in enumerate(rows.tolist()) if row in twice and keys[i] != targets.keys[row]]
    if several:
        rows[several] = -1
        notes.append(
            f"{counted(len(several), 'row')} of {source} without the label that several share, as faces of one picture "
            f"or a file that came twice: {listed(keys[i] for i in several)}. Label faces by their own keys"
        )
    found = set(rows.tolist())
    if found <= {-1}:
        raise DataError(
            f"none of the {counted(len(keys), 'key')} of {source} has a label in {targets.source}: {listed(keys)}; the "
            f"labels are of {listed(targets.keys[:3])}. Expected names of which one is the end of the other, folders "
            "included" + (f". {notes[0]}" if notes else "")
        )
    if missing:
        notes.append(
            f"{counted(len(missing), f'row of {source} has', f'rows of {source} have')} no label: {listed(missing)}"
        )
    unused = [key for row, key in enumerate(targets.keys) if row not in found]
    if unused:
        notes.append(
            f"{counted(len(unused), 'labelled picture is', 'labelled pictures are')} not in {source}: {listed(unused)}"
        )
    return Joined(rows, tuple(notes))


def agreement(targets: Targets, bootstraps: int = BOOTSTRAPS) -> dict[str, tuple[float, Interval]]:
    """name -> Krippendorff's alpha (interval level) and its 95% interval over pictures; {} with one annotator."""
    told = targets.annotators
    if told is None:
        return {}
    out = {}
    for h, name in enumerate(targets.names):
        sums = _unit_sums(told, h)
        if not len(sums):
            continue
        alpha = float(alpha_of_sums(sums.sum(axis=0)))
        drawn = [alpha_of_sums(n @ sums) for n in count_chunks(np.random.default_rng(SEED), len(sums), bootstraps)]
        out[name] = alpha, interval(alpha, np.concatenate(drawn), (-np.inf, 1.0))
    return out


def _unit_sums(told: Annotators, h: int) -> Floats:
    """[P, 4] as evaluate's `unit_sums`, of the pictures that at least two annotators labelled."""
    at = told.counts[:, h] >= 2
    m, mean, spread = told.counts[at, h].astype(np.float64), told.mean[at, h], told.spread[at, h]
    centred = mean - mean.mean() if at.any() else mean
    gap = 2 * m * m * spread**2 / (m - 1)  # 2 (m q - s^2) / (m - 1), with q = m (spread^2 + mean^2) and s = m mean
    return np.stack([m, m * centred, m * (spread**2 + centred**2), gap], axis=1)
