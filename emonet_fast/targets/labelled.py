"""Stored embeddings with their labels: the rows that a probe or a training learns from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..evaluate.metrics import Bools
from ..records import Float32Array
from ..sources.embeddings import Embeddings
from ..text import counted, listed_have
from .record import Targets, join


@dataclass(frozen=True, slots=True)
class Labelled:
    """M rows with an embedding and at least one label.

    Args:
        keys: of the embeddings.
        values: [M, width] float32 of norm 1, as heads take them.
        targets: [M, H] float32, NaN where there is no label.
        weights: [M, H] float32, 0 where there is no label.
        groups: column -> each row's person or source, "" where unknown.
        joined: how many of how many rows these are, in words.
        notes: what a reader must know.
    """

    keys: tuple[str, ...]
    values: Float32Array
    targets: Float32Array
    weights: Float32Array
    groups: Mapping[str, tuple[str, ...]]
    joined: str
    notes: tuple[str, ...]


def labelled(embeddings: Embeddings, targets: Targets) -> Labelled:
    """Join embeddings with labels by `join`. Memory: 4.6 kB a row with labels, of 1152 numbers.

    Raises DataError when no row has both.
    """
    keys, places, unusable = [], [], 0
    for at, (key, ok) in enumerate((k, ok) for b in embeddings.batches() for k, ok in zip(b.keys, b.ok, strict=True)):
        unusable += not ok
        if ok:
            keys.append(key)
            places.append(at)
    if not keys:
        raise DataError(f"none of the {counted(embeddings.rows, 'row')} of the embeddings can be used")
    joined = join(targets, keys)
    told = np.asarray(~np.isnan(targets.values).all(axis=1))
    kept = (joined.rows >= 0) & told[joined.rows]
    if not kept.any():
        raise DataError(f"the pictures of {targets.source} that are among the embeddings have no labels")
    wanted = np.zeros(embeddings.rows, dtype=bool)
    wanted[np.array(places)[kept]] = True
    rows = joined.rows[kept]
    notes = [*embeddings.notes, *joined.notes]
    if unusable:
        notes.append(f"{counted(unusable, 'row')} of the embeddings cannot be used: left out")
    return Labelled(
        tuple(key for key, keep in zip(keys, kept.tolist(), strict=True) if keep),
        _values(embeddings, wanted),
        targets.values[rows],
        targets.weights[rows],
        {column: tuple(groups[row] for row in rows.tolist()) for column, groups in targets.groups.items()},
        f"{len(rows):,} of {embeddings.rows:,} rows of embeddings have labels",
        tuple(notes),
    )


def lone_labels(values: Float32Array, used: Bools, names: Sequence[str]) -> list[str]:
    """Names whose labels are all alike, in words: ["awe, fear have the label 0 alone"]. values, used: [N, H]."""
    found: dict[str, list[str]] = {}
    for h, name in enumerate(names):
        there = values[used[:, h], h]
        if len(there) and (there == there[0]).all():
            found.setdefault(f"{there[0]:g}", []).append(name)
    return [f"{listed_have(those)} the label {value} alone" for value, those in found.items()]


def _values(embeddings: Embeddings, wanted: Bools) -> Float32Array:
    out, at, done = np.empty((int(wanted.sum()), embeddings.width), np.float32), 0, 0
    for batch in embeddings.batches():
        rows = batch.values[wanted[at : at + len(batch)]]
        at += len(batch)
        np.divide(rows, np.linalg.norm(rows, axis=1, keepdims=True), out=out[done : done + len(rows)])
        done += len(rows)
    return out
