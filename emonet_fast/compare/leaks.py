"""What two parts of a data set share: keys, near-duplicates, people and sources."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..records import Float32Array
from ..splits import similar_pairs
from ..splits.alike import Bools, Step
from ..splits.split import unknown

_KEPT = 1000  # pairs that are shown or written, the most similar ones
_SAME = 1 - 1e-6  # the cosine from which two embeddings are equal but for rounding


@dataclass(frozen=True, slots=True)
class LeakSide:
    """One part, as its file tells it.

    Args:
        name: the file, or the value of the column.
        keys: N keys.
        values: [N, W] float32 embeddings.
        labels: column -> N labels, None where unknown.
    """

    name: str
    keys: Sequence[str]
    values: Float32Array
    labels: Mapping[str, Sequence[Hashable]]


@dataclass(frozen=True, slots=True)
class SharedLabel:
    """A person or source in both parts.

    Args:
        column: of the label.
        label: as text.
        a, b: its rows in A and in B.
    """

    column: str
    label: str
    a: int
    b: int


@dataclass(frozen=True, slots=True)
class Leaks:
    """What parts A and B share.

    Args:
        threshold: the cosine from which two rows are one picture.
        rows: of A and of B.
        same_keys: keys that are in both.
        pairs: number of pairs at the threshold or above.
        equal: number of those whose embeddings are equal but for rounding.
        a_rows, b_rows: rows of A, and of B, that have a near-duplicate in the other part.
        worst: (row of A, row of B, cosine) of the most similar pairs, 1000 at most.
        labels: people and sources in both parts, those with most rows of B first.
        label_rows: column -> rows of B whose label is in A too, and rows of B that have a label.
    """

    threshold: float
    rows: tuple[int, int]
    same_keys: tuple[str, ...]
    pairs: int
    equal: int
    a_rows: int
    b_rows: int
    worst: tuple[tuple[int, int, float], ...]
    labels: tuple[SharedLabel, ...]
    label_rows: Mapping[str, tuple[int, int]]


def leaks_between(a: LeakSide, b: LeakSide, threshold: float, step: Step | None = None) -> Leaks:
    """Find what two parts share. Takes and raises what splits.similar_pairs does."""
    in_a: Bools = np.zeros(len(a.keys), dtype=bool)
    in_b: Bools = np.zeros(len(b.keys), dtype=bool)
    worst: list[tuple[int, int, float]] = []
    pairs = equal = 0
    for found in similar_pairs(a.values, threshold, b.values, step=step):
        in_a[found.left], in_b[found.right] = True, True
        pairs += len(found.left)
        equal += int((found.cosine >= _SAME).sum())
        first = np.lexsort((found.right, found.left, -found.cosine))[:_KEPT]
        worst += zip(found.left[first].tolist(), found.right[first].tolist(), found.cosine[first].tolist(), strict=True)
        worst = sorted(worst, key=lambda pair: (-pair[2], pair[:2]))[:_KEPT]
    labels, label_rows = [], {}
    for column in a.labels:
        mine, theirs = (Counter(one for one in part.labels[column] if not unknown(one)) for part in (a, b))
        both = [SharedLabel(column, str(one), mine[one], theirs[one]) for one in theirs if one in mine]
        label_rows[column] = sum(one.b for one in both), theirs.total()
        labels += sorted(both, key=lambda one: (-one.b, -one.a, one.label))
    known = set(a.keys)
    return Leaks(
        threshold, (len(a.keys), len(b.keys)), tuple(key for key in b.keys if key in known), pairs, equal,
        int(in_a.sum()), int(in_b.sum()), tuple(worst), tuple(labels), label_rows,
    )  # fmt: skip
