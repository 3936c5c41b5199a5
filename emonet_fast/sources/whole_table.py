"""Whole columns of texts and numbers, such as predictions and boxes: no more memory than the file can be worth."""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from .folder import stat_file
from .pages import read_chunks, read_pages
from .table import numbers_of, open_table, rows_of

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

# Columns may unpack to so many bytes, or to so many for each of the file's: texts shrink well, not without end.
_FREE, _SHRINKS = 64 << 20, 20


def read_whole(path: Path, wanted: Callable[[str], bool]) -> "pyarrow.Table":
    """The columns of a parquet file whose names are wanted. Raises ValueError where they unpack to far too much.

    Raises what pyarrow raises for a damaged file.
    """
    import pyarrow as pa
    import pyarrow.types as t

    size = stat_file(path).st_size
    with open_table(str(path)) as file, path.open("rb") as raw:
        schema = file.schema_arrow
        rows_of(file.metadata, size)
        names = [name for name in schema.names if wanted(name)]
        chunks = chain.from_iterable(read_chunks(raw, numbers_of(file, names)))
        _check(sum(page.size for chunk in chunks for page in read_pages(raw, chunk)), size)
    # As dictionaries, so that a value to which many rows refer is made once, before their sum is known.
    texts = [field.name for field in schema if field.name in names and t.is_string(field.type)]
    with open_table(str(path), texts) as file:
        table = _read(file, names)
    for column in table.columns:
        _check(sum(_lengths(column)), size)
    return table.cast(
        pa.schema([f.with_type(f.type.value_type) if t.is_dictionary(f.type) else f for f in table.schema])
    )


def _read(file: "pyarrow.parquet.ParquetFile", names: Sequence[str]) -> "pyarrow.Table":
    """Columns one after another, where each has its own name: all at once take 1.8 times their memory meanwhile."""
    import pyarrow as pa

    if not names or len(set(names)) < len(names):
        return file.read(columns=names, use_threads=False)
    return pa.table({name: file.read(columns=[name], use_threads=False).column(name) for name in names})


def _lengths(column: "pyarrow.ChunkedArray") -> Iterator[int]:
    """Bytes of the texts of each part of a column of dictionaries."""
    import pyarrow.compute as pc
    import pyarrow.types as t

    if t.is_dictionary(column.type) and t.is_string(column.type.value_type):
        for part in column.chunks:
            yield pc.sum(pc.take(pc.binary_length(part.dictionary), part.indices).cast("int64")).as_py() or 0


def _check(unpacked: int, size: int) -> None:
    if unpacked > max(_FREE, _SHRINKS * size):
        raise ValueError(f"its columns unpack to {unpacked:,} bytes, from a file of {size:,}")
