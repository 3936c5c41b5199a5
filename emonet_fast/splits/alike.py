"""Embeddings that lie closer than a threshold: every pair, found exactly, in bounded memory.

For unit rows x and y, and any orthonormal directions P, Cauchy and Schwarz bound what the directions leave out:

    x.y = Px.Py + (x - P'Px).(y - P'Py) <= Px.Py + |x - P'Px| |y - P'Py|

So a product of k + 1 numbers a row says which pairs can reach the threshold at all, and only those are computed whole.
The directions are the rows' own strongest ones, and k is what a sample of the rows says is cheapest.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from ..errors import DataError, OptionError
from ..records import Float32Array, FloatArray

Ints: TypeAlias = npt.NDArray[np.intp]
Bools: TypeAlias = npt.NDArray[np.bool_]
# Called with (rows done, rows in all).
Step: TypeAlias = Callable[[int, int], None]

DUPLICATE = 0.98
_ROWS = 1024  # of a block: its products take 4 MB, which the cache holds
_SAMPLE = 2048  # rows that the directions are chosen by
_PAIRS = 8192  # computed at once where few of a block are: 75 MB of gathered rows at 1152
_SLACK = 1e-5  # what float32 sums of a bound may be off by; the cosines themselves are good to 1e-6
# Costs in multiply-adds of a blocked product, for one pair: looking at a bound, and computing one pair apart.
_LOOK, _APART = 60, 20


@dataclass(frozen=True, slots=True)
class Pairs:
    """P pairs of rows.

    Args:
        left: [P] rows of the first values.
        right: [P] rows of the second; of the first where there are no second, and then right > left.
        cosine: [P] float32, at least the threshold.
    """

    left: Ints
    right: Ints
    cosine: Float32Array


def similar_pairs(
    values: FloatArray,
    threshold: float,
    others: FloatArray | None = None,
    *,
    groups: Ints | None = None,
    step: Step | None = None,
) -> Iterator[Pairs]:
    """Give every pair of rows whose cosine is at least a threshold, block by block.

    Args:
        values: [N, W] embeddings; need not be of unit length.
        threshold: above 0, at most 1. A cosine is computed in float32: one within 1e-6 of it may fall to either side.
        others: [M, W]: pairs are of a row of `values` and one of `others`; None pairs the rows of `values`.
        groups: [N] numbers, read anew for each block: pairs of one number are of no interest. Without `others` only.
        step: called after each block of rows.

    Raises:
        DataError: when the arrays do not fit each other, or a row holds NaN, an infinity or zeros alone.
        OptionError: when the threshold cannot be a cosine of duplicates.
    """
    if not 0 < threshold <= 1:
        raise OptionError(f"threshold is {threshold!r}; expected a cosine above 0, at most 1")
    left = _Units(values)
    right = left if others is None else _Units(others)
    if len(left) == 0 or len(right) == 0:
        return
    if left.width != right.width:
        raise DataError(f"embeddings of {left.width} and of {right.width} numbers came; expected those of one encoder")
    directions = _directions(left, right, threshold)
    a = left if directions is None else left.bounds(directions)
    b = a if right is left else right if directions is None else right.bounds(directions)
    units = None if directions is None else (left, right)
    for start in range(0, len(left), _ROWS):
        for other in range(start if others is None else 0, len(right), _ROWS):
            mine, theirs = slice(start, start + _ROWS), slice(other, other + _ROWS)
            if groups is not None and (groups[mine] == groups[start]).all() and (groups[theirs] == groups[start]).all():
                continue
            upper = a[mine] @ b[theirs].T
            i, j = np.divmod(np.flatnonzero(upper >= threshold - (_SLACK if units else 0)), upper.shape[1])
            wanted = i < j if others is None and start == other else np.ones(len(i), dtype=bool)
            if groups is not None:
                wanted &= groups[i + start] != groups[j + other]
            found = _exact(upper, i[wanted], j[wanted], units, mine, theirs, threshold)
            if len(found.left):
                yield found
        if step is not None:
            step(min(start + _ROWS, len(left)), len(left))


def near_duplicates(values: FloatArray, threshold: float = DUPLICATE, step: Step | None = None) -> Ints:
    """[N] the group of each row: the first row that it is joined with by a chain of cosines of at least `threshold`.

    values: [N, W] embeddings. Takes and raises what `similar_pairs` does.
    """
    groups = np.arange(len(values))
    for pairs in similar_pairs(values, threshold, groups=groups, step=step):
        join(groups, pairs.left, pairs.right)
    return groups


def join(groups: Ints, left: Ints, right: Ints) -> None:
    """Join the groups of the rows of each pair, in place; a group keeps the number of its first row."""
    while True:
        a, b = groups[left], groups[right]
        differ = a != b
        if not differ.any():
            return
        a, b = a[differ], b[differ]
        np.minimum.at(groups, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(up := groups[groups], groups):
            groups[:] = up


class _Units:
    """Rows of an array [N, W], each divided by its length when it is asked for: no copy of the whole."""

    def __init__(self, values: FloatArray) -> None:
        if values.ndim != 2:
            raise DataError(f"an array of shape {values.shape} came as embeddings; expected [rows, numbers of one row]")
        self._values, self.width = values, values.shape[1]
        blocks = (values[i : i + _ROWS].astype(np.float32) for i in range(0, len(values), _ROWS))
        lengths = [np.linalg.norm(block, axis=1) for block in blocks]
        self._lengths = np.concatenate([*lengths, np.empty(0, np.float32)])[:, None]
        bad = np.flatnonzero(~(np.isfinite(self._lengths) & (self._lengths > 0)))
        if len(bad):
            raise DataError(
                f"{len(bad)} of {len(values)} embeddings hold NaN, an infinity or zeros alone (the first is row "
                f"{bad[0]}); leave rows without an embedding out"
            )

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, rows: "slice | Ints") -> Float32Array:
        unit: Float32Array = self._values[rows].astype(np.float32) / self._lengths[rows]
        return unit

    def bounds(self, directions: Float32Array) -> Float32Array:
        """[N, k + 1], see `_bounds`."""
        out = np.empty((len(self), len(directions) + 1), np.float32)
        for start in range(0, len(self), _ROWS):
            out[start : start + _ROWS] = _bounds(self[start : start + _ROWS], directions)
        return out


def _bounds(unit: Float32Array, directions: Float32Array) -> Float32Array:
    """[n, k + 1] for unit rows [n, W] and [k, W] directions: the rows along each, and the length of what is left."""
    along = unit @ directions.T
    left_over = np.linalg.norm(unit - along @ directions, axis=1, keepdims=True)
    return np.concatenate([along, left_over], axis=1)


def _directions(left: _Units, right: _Units, threshold: float) -> Float32Array | None:
    """[k, W] orthonormal rows, the cheapest k for a sample of the rows; None where looking first does not pay."""
    if max(len(left), len(right)) <= _SAMPLE:
        return None
    rng = np.random.default_rng(0)
    a, b = (u[np.sort(rng.choice(len(u), min(len(u), _SAMPLE), replace=False))] for u in (left, right))
    # float32 rounding leaves the basis orthonormal to 1e-6, within the slack
    basis = np.linalg.eigh((a.T @ a + b.T @ b).astype(np.float64))[1][:, ::-1].T.astype(np.float32)
    best, least = None, float(left.width + _LOOK)
    for k in (8, 16, 32, 64, 128, 256, 512):
        if k < left.width:
            near = _bounds(a, basis[:k]) @ _bounds(b, basis[:k]).T >= threshold - _SLACK
            cost = k + 2 * _LOOK + left.width * min(1.0, _APART * float(near.mean()))
            if cost < least:
                best, least = np.ascontiguousarray(basis[:k]), cost
    return best


def _exact(
    upper: Float32Array,
    i: Ints,
    j: Ints,
    units: tuple[_Units, _Units] | None,
    rows: slice,
    columns: slice,
    threshold: float,
) -> Pairs:
    """Those of the pairs (i, j) of a block [n, m] that reach the threshold.

    upper: [n, m] cosines where there are no units, else bounds of them.
    """
    if units is None:
        cosine = upper[i, j]
    elif _APART * len(i) > upper.size:
        cosine = (units[0][rows] @ units[1][columns].T)[i, j]
    else:
        parts = [slice(p, p + _PAIRS) for p in range(0, len(i), _PAIRS)]
        dots = [
            np.einsum("pw,pw->p", units[0][i[part] + rows.start], units[1][j[part] + columns.start]) for part in parts
        ]
        cosine = np.concatenate([*dots, np.empty(0, np.float32)])
    reached = cosine >= threshold
    return Pairs(i[reached] + rows.start, j[reached] + columns.start, np.minimum(cosine[reached], 1.0))
