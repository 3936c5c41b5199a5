"""A column of vectors in Arrow's arrays: which column of a table it is, and its rows as numbers."""

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError, InputError
from ...records import Float32Array

if TYPE_CHECKING:
    import pyarrow

EMBEDDING = "embedding"


class NoEmbeddingError(DataError):
    """A table has no column of embeddings."""


def is_vectors(kind: "pyarrow.DataType") -> bool:
    """Whether a column of this type has a list of float16, float32 or float64 in each row."""
    import pyarrow.types as t

    return bool(
        (t.is_list(kind) or t.is_large_list(kind) or t.is_fixed_size_list(kind)) and t.is_floating(kind.value_type)
    )


def choose_vectors(schema: "pyarrow.Schema", column: str | None, path: str) -> str:
    """The column of embeddings: `column`, else `embedding`, else the only one that is_vectors.

    Raises NoEmbeddingError where there is none, and InputError for several.
    """
    there = [f.name for f in schema if is_vectors(f.type)]
    listed = ", ".join(schema.names[:20]) or "none"
    if column is not None:
        if schema.names.count(column) != 1 or column not in there:
            raise NoEmbeddingError(
                f"{path} has no single column {column!r} of lists of floats; its columns are: {listed}"
            )
        return column
    if there.count(EMBEDDING) == 1:
        return EMBEDDING
    if len(there) > 1:
        raise InputError(
            f"{path} has several columns that may be embeddings ({', '.join(there)}); name one by "
            "--embedding-column, or give a table with one of them alone"
        )
    if not there:
        raise NoEmbeddingError(
            f"{path} has no column of embeddings; expected lists of floats, as `emonet-fast score --embeddings` writes "
            f"them; its columns are: {listed}"
        )
    return str(there[0])


def width_of(column: "pyarrow.Array") -> int:
    """How many numbers the first row that has some has; 0 where none has."""
    return next((len(cell) for cell in column if cell.is_valid and len(cell)), 0)


def vectors_of(column: "pyarrow.Array", width: int) -> tuple[Float32Array, npt.NDArray[Any]]:
    """The rows as [n, width] float32, NaN where a row is null or of another width, and the widths [n], -1 for null."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if t.is_fixed_size_list(column.type):
        widths = np.where(column.is_valid().to_numpy(zero_copy_only=False), column.type.list_size, -1)
        values = column.values.slice(column.offset * column.type.list_size, len(column) * column.type.list_size)
    else:
        widths = pc.fill_null(pc.list_value_length(column), -1).to_numpy(zero_copy_only=False)
        values = None
    right = widths == width
    out = np.full((len(column), width), np.nan, np.float32)
    if values is None or not right.all():
        values = column.filter(pa.array(right)).flatten()
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite
        out[right] = values.to_numpy(zero_copy_only=False).astype(np.float32, copy=False).reshape(-1, width)
    return out, widths
