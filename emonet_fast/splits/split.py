"""Rows dealt to a training and a held-out part, or to folds, without tearing apart what belongs together."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError, OptionError
from ..records import FloatArray
from ..text import counted
from .alike import DUPLICATE, Bools, Ints, Step, join, near_duplicates


@dataclass(frozen=True, slots=True)
class Split:
    """Which part each of N rows is in.

    Args:
        part: [N] 0 is training and 1 is held out; with folds, the number of the fold.
        cluster: [N] rows of one number belong together: its first row.
        facts: what was done, in numbers, for a report: rows, clusters, rows of the largest cluster, rows that share a
            picture, or a label of each grouping, with another row, rows of each part.
    """

    part: Ints
    cluster: Ints
    facts: Mapping[str, int]

    @property
    def held_out(self) -> Bools:
        """[N] whether a row is held out; of a split without folds."""
        held: Bools = self.part == 1
        return held


def split_rows(
    values: FloatArray | None,
    groups: Mapping[str, Sequence[Hashable]],
    held_out: float = 0.1,
    folds: int | None = None,
    seed: int = 0,
    threshold: float = DUPLICATE,
    step: Step | None = None,
) -> Split:
    """Split rows so that near-duplicates, and rows of one person or source, are all in one part.

    The same arguments give the same split. Where clusters are large, the held-out part can stay smaller than asked
    for, but never becomes larger, unless every cluster is.

    Args:
        values: [N, W] embeddings that near-duplicates are found by; None looks for none.
        groups: for each name, such as "person", the label of each of N rows; rows without one (None, NaN or "") are
            not joined by it.
        held_out: the part of the rows to hold out, above 0 and below 1; of no use with folds.
        folds: deal the rows to this many parts of about one size instead.
        seed: of the order in which clusters are dealt.
        threshold: the cosine from which two rows are one picture, as of `near_duplicates`.
        step: called after each block of rows in which duplicates were looked for.

    Raises:
        DataError: when the groups do not have one label for each row, embeddings cannot be compared, or a part would
            have no rows: fewer clusters than parts.
        OptionError: when held_out or folds cannot be.
    """
    if folds is None and not 0 < held_out < 1:
        raise OptionError(f"held_out is {held_out!r}; expected a part above 0 and below 1")
    if folds is not None and folds < 2:
        raise OptionError(f"folds is {folds!r}; expected 2 or more")
    sizes = {len(labels) for labels in groups.values()} | ({len(values)} if values is not None else set())
    if len(sizes) != 1:
        raise DataError(f"embeddings and groups of {sorted(sizes)} rows came; expected as many of each, and some")
    rows = sizes.pop()
    cluster = np.arange(rows) if values is None else near_duplicates(values, threshold, step)
    facts = {"rows": rows, "rows with a near-duplicate": shared(cluster)} if values is not None else {"rows": rows}
    for name, labels in groups.items():
        firsts = first_rows(labels)
        facts[f"rows that share {name}"] = shared(firsts)
        join(cluster, np.arange(rows), firsts)
    part = _dealt(cluster, held_out, folds, seed)
    clusters, counts = np.unique(cluster, return_counts=True)
    facts |= {"clusters": len(clusters), "rows of the largest cluster": int(counts.max(initial=0))}
    names = ("training", "held out") if folds is None else [f"fold {i}" for i in range(folds)]
    facts |= {f"rows, {name}": int((part == i).sum()) for i, name in enumerate(names)}
    return Split(part, cluster, facts)


def first_rows(labels: Sequence[Hashable]) -> Ints:
    """[N] the first row that has the label of each row; a row without a label stands alone."""
    seen: dict[Hashable, int] = {}
    return np.array([i if unknown(one) else seen.setdefault(one, i) for i, one in enumerate(labels)], np.intp)


def unknown(label: Hashable) -> bool:
    """Whether a row has no label: None, NaN or an empty text."""
    return label is None or label == "" or label != label


def shared(groups: Ints) -> int:
    """How many rows are not alone in their group."""
    counts = np.bincount(groups, minlength=len(groups))
    return int((counts[groups] > 1).sum())


def _dealt(cluster: Ints, held_out: float, folds: int | None, seed: int) -> Ints:
    names, at, counts = np.unique(cluster, return_inverse=True, return_counts=True)
    parts = folds or 2
    if len(names) < parts:
        raise DataError(
            f"{counted(len(cluster), 'row')} came in {counted(len(names), 'cluster')} of one "
            "person, source or picture; expected at least "
            f"{parts}, one for each part. Give more data, or group by less"
        )
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = np.zeros(len(names), np.intp)
    if folds is not None:
        # The largest first, each to the emptiest fold; equals in the order of the seed.
        filled = np.zeros(folds, np.intp)
        for c in order[np.argsort(-counts[order], kind="stable")]:
            chosen[c] = np.argmin(filled)
            filled[chosen[c]] += counts[c]
        return chosen[at]
    room = held_out * len(cluster)
    for c in order:
        if counts[c] <= room:
            chosen[c] = 1
            room -= counts[c]
    if not chosen.any():  # every cluster is larger than the part: the smallest one
        chosen[order[np.argmin(counts[order])]] = 1
    return chosen[at]
