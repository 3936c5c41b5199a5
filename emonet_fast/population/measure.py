"""Median, MAD, mean, deviation and quantiles of any number of rows: exact, in bounded memory, in a few passes.

Sketches (DDSketch, KLL, t-digest) need one pass, and err by about 1% of a value or of a rank. Stored scores can be
read again, and a float32 has only 32 bits: so the order statistics are selected by radix. A pass counts one digit of
the bits of those values whose higher digits are the wanted ones; after the last digit the value is known to its last
bit. The same serves the MAD, on the 64 bits of |raw - median|.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ..baseline import PROBABILITIES, Baseline, known_facts
from ..errors import DataError
from ..process import available_cores
from ..records import Float32Array, Float64Array

# Rows of [n, D] float32, the same ones at each call.
Blocks: TypeAlias = Callable[[], Iterable[Float32Array]]
_AnyBlocks: TypeAlias = Callable[[], Iterable[Float32Array | Float64Array]]
Keys: TypeAlias = npt.NDArray[np.uint64]
# A head's column to numbers that are ordered as its values are.
ToKeys: TypeAlias = Callable[[int, Any], Keys]

# Up to so many rows the figures are taken in memory: 176 MB of 44 heads.
IN_MEMORY = 1_000_000
# The digits of a pass, high to low: few counters where many values are wanted, few passes where one is.
_FLOAT32, _FLOAT64, _FLOAT64_MANY = (16, 10, 6), (16, 16, 16, 16), (16, 12, 12, 12, 12)


def measure(
    blocks: Blocks,
    names: Sequence[str],
    metadata: Mapping[str, str],
    sources: Sequence[str] = (),
    in_memory: int = IN_MEMORY,
) -> Baseline:
    """The baseline of stored rows: `Baseline.of` up to `in_memory` rows, and the same figures beyond.

    The blocks are read once, or eight times. Raises DataError where there is no row.
    """
    kept: list[Float32Array] = []
    for block in blocks():
        kept.append(block)
        if sum(map(len, kept)) > in_memory:
            kept.clear()
            return _streamed(blocks, tuple(names), metadata, tuple(sources))
    if not sum(map(len, kept)):
        raise DataError(f"no row of {', '.join(sources) or 'the population'} has scores; expected some that have")
    return Baseline.of(np.concatenate(kept), names, metadata, sources)


def _streamed(
    blocks: Blocks, names: tuple[str, ...], metadata: Mapping[str, str], sources: tuple[str, ...]
) -> Baseline:
    rows, mean, squares = _moments(blocks, len(names))
    positions = np.array([*PROBABILITIES, 0.5]) * (rows - 1)
    found = _selected(blocks, len(names), positions, lambda head, values: _ordered(values), _FLOAT32)
    values = _between(_values(found), positions)
    median = values[:, -1].copy()

    def distances(head: int, column: Float32Array) -> Keys:
        distance: Float64Array = np.abs(column.astype(np.float64) - median[head])
        return distance.view(np.uint64)  # of positive floats, ordered as they are

    middle = positions[-1:]
    mad = _between(_selected(blocks, len(names), middle, distances, _FLOAT64).view(np.float64), middle)[:, 0]
    return Baseline(
        names=names,
        rows=rows,
        median=median,
        mad=mad,
        mean=mean,
        deviation=np.sqrt(squares / (rows - 1)),
        quantiles=np.ascontiguousarray(values[:, :-1]),
        metadata=known_facts(metadata),
        sources=sources,
    )


def quantiles(
    blocks: Callable[[], Iterable[Float64Array]], columns: int, rows: int, probabilities: Sequence[float]
) -> Float64Array:
    """[P, columns] quantiles of any number of rows of [n, columns] float64, as np.quantile's; reads them five times."""
    positions = np.array(probabilities) * (rows - 1)
    keys = _selected(blocks, columns, positions, lambda _, values: _ordered(values), _FLOAT64_MANY)
    return _between(_values(keys, np.float64), positions).T


def _moments(blocks: Blocks, heads: int) -> tuple[int, Float64Array, Float64Array]:
    """Rows, means and sums of squared deviations, joined block by block (Chan, Golub and LeVeque 1979)."""
    rows, mean, squares = 0, np.zeros(heads), np.zeros(heads)
    for block in blocks():
        if not len(block):
            continue
        values = block.astype(np.float64)
        own = values.mean(axis=0)
        both, shift = rows + len(values), own - mean
        squares += ((values - own) ** 2).sum(axis=0) + shift**2 * (rows * len(values) / both)
        mean += shift * (len(values) / both)
        rows = both
    return rows, mean, squares


@dataclass(slots=True)
class _Digits:
    """What is known of a head's wanted order statistics.

    Args:
        ranks: [K] int64, how many values lie before each among those with its prefix.
        prefixes: [K] uint64, its higher digits.
        slots: the distinct prefixes, ascending.
        counts: [slots, 2^width] int64, values by their next digit.
    """

    ranks: npt.NDArray[np.int64]
    prefixes: Keys
    slots: Keys
    counts: npt.NDArray[np.int64]

    def begin(self, width: int) -> None:
        self.slots = np.unique(self.prefixes)
        self.counts = np.zeros((len(self.slots), 1 << width), np.int64)

    def count(self, keys: Keys, shift: int, width: int) -> None:
        """Count the digits at `shift` of the keys that have one of the prefixes; may sort the keys."""
        above = shift + width
        if len(self.slots) == 1:
            low = int(self.slots[0]) << above
            known = keys[(keys >= np.uint64(low)) & (keys <= np.uint64(low + (1 << above) - 1))]
            place = np.zeros(len(known), np.intp)
        else:  # sorting costs less than looking up the slot of every key
            keys.sort()
            lows = self.slots << np.uint64(above)
            starts = np.searchsorted(keys, lows)
            lengths = np.searchsorted(keys, lows | np.uint64((1 << above) - 1), side="right") - starts
            place = np.repeat(np.arange(len(lows)), lengths)
            known = keys[np.arange(len(place)) + np.repeat(starts - (lengths.cumsum() - lengths), lengths)]
        digits = ((known >> np.uint64(shift)) & np.uint64((1 << width) - 1)).astype(np.intp)
        counts = np.bincount((place << width) + digits, minlength=self.counts.size)
        self.counts += counts.reshape(self.counts.shape)

    def end(self, width: int) -> None:
        """Take the digit of each wanted value, now that all values are counted."""
        sums = self.counts.cumsum(axis=1)
        for i, (rank, prefix) in enumerate(zip(self.ranks.tolist(), self.prefixes.tolist(), strict=True)):
            row = sums[np.searchsorted(self.slots, np.uint64(prefix))]
            digit = int(np.searchsorted(row, rank, side="right"))
            self.ranks[i] = rank - (int(row[digit - 1]) if digit else 0)
            self.prefixes[i] = (prefix << width) | digit


def _selected(
    blocks: _AnyBlocks, heads: int, positions: Float64Array, to_keys: ToKeys, widths: tuple[int, ...]
) -> Keys:
    """[D, 2 P] keys: of each head the values at the ranks below and above each of P positions."""
    below = np.floor(positions).astype(np.int64)
    ranks = np.concatenate([below, np.ceil(positions).astype(np.int64)])
    empty = np.zeros(0, np.uint64), np.zeros((0, 0), np.int64)
    states = [_Digits(ranks.copy(), np.zeros(len(ranks), np.uint64), *empty) for _ in range(heads)]
    shift = sum(widths)
    with ThreadPoolExecutor(available_cores()) as pool:  # numpy lets go of the interpreter's lock
        for width in widths:
            shift -= width
            for state in states:
                state.begin(width)
            for block in blocks():
                columns = _columns(block)

                def count(head: int, columns: Any = columns, shift: int = shift, width: int = width) -> None:
                    states[head].count(to_keys(head, columns[head]), shift, width)

                list(pool.map(count, range(heads)))
            for state in states:
                state.end(width)
    return np.array([state.prefixes for state in states], np.uint64)


def _columns(block: Float32Array | Float64Array) -> Any:
    return np.ascontiguousarray(block.T)


def _between(pairs: Float64Array, positions: Float64Array) -> Float64Array:
    """[D, P] values at positions between ranks, from [D, 2 P] values at the ranks below and above: linear."""
    below, above = np.split(pairs, 2, axis=1)
    part = positions - np.floor(positions)
    return np.where(part < 0.5, below + (above - below) * part, above - (above - below) * (1 - part))


def _ordered(values: Float32Array | Float64Array) -> Keys:
    """The bits of float values as whole numbers in the values' order."""
    bits = values.view(f"u{values.itemsize}")
    sign = bits.dtype.type(1 << (8 * values.itemsize - 1))
    flipped = np.where(bits & sign, ~bits, bits | sign)
    return flipped.astype(np.uint64)


def _values(keys: Keys, kind: type[np.float32] | type[np.float64] = np.float32) -> Float64Array:
    """The values of keys of `_ordered`, as float64."""
    bits = keys.astype(f"u{np.dtype(kind).itemsize}")
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    values = np.where(bits & sign, bits & ~sign, ~bits).view(kind)
    return values.astype(np.float64)
