"""The records of stored embeddings: a file as it tells of itself, a batch of rows that are checked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from ...records import Float32Array, Picture, Status
from ...text import utf8_text

if TYPE_CHECKING:
    import pyarrow

# What one row says of itself: key, status, reason.
Row: TypeAlias = tuple[str, Status, str]
_STATUSES = frozenset(Status)


@dataclass(frozen=True, slots=True)
class EmbeddingBatch:
    """Some consecutive rows.

    Args:
        keys: names of the rows: the file's column `key`, else `file::row`, row counted from 0.
        values: [n, width] float32 as stored; NaN in rows that cannot be used.
        status: OK where a row can be used. Else what our table says of it, or BAD_INPUT for one that is null, of
            another width, not finite or all zeros, or UNREADABLE where the file is damaged.
        reason: why a row cannot be used; "" where it can.
        columns: the further columns that were asked for, n rows.
    """

    keys: list[str]
    values: Float32Array
    status: list[Status]
    reason: list[str]
    columns: "pyarrow.Table"

    def __len__(self) -> int:
        return len(self.keys)

    def pictures(self) -> Iterator[Picture]:
        """The rows as what a Scorer `of_embeddings` takes; a picture's origin is its cells of `columns`."""
        cells = list(zip(*(column.to_pylist() for column in self.columns.columns), strict=True)) or [()] * len(self)
        rows = zip(self.keys, self.values, self.status, self.reason, cells, strict=True)
        for key, vector, status, reason, own in rows:
            yield Picture(key, vector if status == Status.OK else None, status, reason, origin=own)

    @property
    def ok(self) -> npt.NDArray[np.bool_]:
        """[n] bool: which rows can be used."""
        return np.array([one == Status.OK for one in self.status], dtype=bool)


@dataclass(frozen=True, slots=True)
class EmbeddingFile:
    """One file, as its header or footer tells it.

    Args:
        path: where it is.
        rows: how many it has.
        width: numbers of an embedding; 0 where no row has one.
        dtype: "float16", "float32" or "float64".
        metadata: what it says of itself, as text.
        column: name of the column of a table; None for a NumPy file.
        table: whose rows name those of a NumPy file; None where they have numbers.
    """

    path: str
    rows: int
    width: int
    dtype: str
    metadata: dict[str, str] = field(repr=False)
    column: str | None = None
    table: Path | None = None


def number_key(path: str, row: int) -> str:
    """The key of a row without a name."""
    return f"{utf8_text(path)}::{row}"


def status_of(text: Any) -> Status:
    """Our own word, or FAILED for one of a later version."""
    return Status(text) if text in _STATUSES else Status.FAILED


def checked_batch(
    rows: list[Row], values: Float32Array, widths: npt.NDArray[Any] | None, columns: "pyarrow.Table"
) -> EmbeddingBatch:
    """A batch whose rows are checked. widths: how many numbers each row came with, -1 for null; None: all are right."""
    status, reason = [one[1] for one in rows], [one[2] for one in rows]
    width = values.shape[1]
    finite, zero = np.isfinite(values).all(axis=1), ~(values != 0).any(axis=1)
    for i in np.flatnonzero(~finite | zero).tolist():
        if status[i] == Status.OK:
            came = width if widths is None else int(widths[i])
            status[i] = Status.BAD_INPUT
            reason[i] = (
                "no embedding in the row"
                if came < 0
                else f"an embedding of {came} numbers; expected {width}"
                if came != width
                else "an embedding of zeros only"
                if zero[i]
                else "an embedding that is not finite"
            )
    good = np.array([one == Status.OK for one in status], dtype=bool)
    reason = ["" if ok else why for ok, why in zip(good.tolist(), reason, strict=True)]
    if not good.all():
        values = np.where(good[:, None], values, np.float32(np.nan))
    return EmbeddingBatch([one[0] for one in rows], values, status, reason, columns)
