"""Raw scores of groups in temporary files, so that each group's quantiles can be taken exactly in bounded memory."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
import numpy.typing as npt

from ..files import ScratchFile
from ..population.measure import quantiles
from ..records import Float32Array, Float64Array
from .functionals import Ids

# Rows that are looked at in memory at once: 44 heads take 44 MB raw, and 94 MB as float64 values.
IN_MEMORY = 250_000
_FILES, _READ = 64, 1 << 14


class GroupSpool:
    """Takes in raw scores of groups, and gives quantiles of what is made of them. Close it, which removes its files.

    Args:
        heads: D.
        values: makes [n, V] float64 of [n, D] raw scores.
        in_memory: rows that are looked at at once.
    """

    def __init__(self, heads: int, values: Callable[[Float32Array], Float64Array], in_memory: int = IN_MEMORY) -> None:
        self._record = np.dtype([("group", "<i4"), ("raw", "<f4", (heads,))])
        self._files: dict[int, ScratchFile] = {}
        self._values, self._in_memory = values, in_memory

    def add(self, group: Ids, raw: Float32Array) -> None:
        """Take in rows: groups [n] from 0, and raw scores [n, D]."""
        rows = np.empty(len(raw), self._record)
        rows["group"], rows["raw"] = group, raw
        for number in np.unique(group % _FILES).tolist():
            if number not in self._files:
                self._files[number] = ScratchFile()
            self._files[number].write(rows[group % _FILES == number].tobytes())

    def quantiles(self, counts: npt.NDArray[np.intp], width: int, at: Sequence[float]) -> Float64Array:
        """[G, len(at), V] quantiles, linear between the nearest rows; NaN for a group without rows.

        Args:
            counts: [G] rows of each group.
            width: V.
            at: probabilities.
        """
        found = np.full((len(counts), len(at), width), np.nan)
        for number in self._files:
            groups = np.arange(number, len(counts), _FILES)
            large = counts[groups] > self._in_memory
            for group in groups[large].tolist():
                found[group] = quantiles(partial(self._values_of, number, group), width, int(counts[group]), at)
            small = groups[~large & (counts[groups] > 0)]
            batches = np.flatnonzero(np.diff(counts[small].cumsum() // self._in_memory)) + 1
            for batch in np.split(small, batches) if len(small) else ():
                rows = np.concatenate(list(self._blocks(number, batch)))
                for group in batch.tolist():
                    found[group] = np.quantile(self._values(rows["raw"][rows["group"] == group]), at, axis=0)
        return found

    def _values_of(self, number: int, group: int) -> Iterator[Float64Array]:
        return (self._values(rows["raw"]) for rows in self._blocks(number, [group]))

    def _blocks(self, number: int, groups: Sequence[int] | Ids) -> Iterator[npt.NDArray[np.void]]:
        """The rows of some groups of a file, piece by piece."""
        file = self._files[number].from_start()
        while data := file.read(_READ * self._record.itemsize):
            rows = np.frombuffer(data, self._record)
            yield rows[np.isin(rows["group"], groups)]

    def close(self) -> None:
        """Remove the files."""
        for file in self._files.values():
            file.close()
