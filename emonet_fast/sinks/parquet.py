"""Parquet: zstd, tables of any size collected into row groups of one size."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

# 4096 rows of 124 columns and 1152 floats are about 23 MB before compression: small in memory, and large
# enough that a batch size of 1 costs nothing to readers.
ROW_GROUP = 4096


class ParquetEncoder:
    """Writes Arrow tables of one schema to a binary file that it never closes.

    Args:
        file: Where the bytes go.
        dictionary: The columns whose values repeat. True means every column; a dictionary of floats that hardly repeat
            costs room and time.
    """

    def __init__(self, file: BinaryIO, dictionary: Sequence[str] | bool = ("status", "reason")) -> None:
        self._file = file
        self._dictionary = dictionary if isinstance(dictionary, bool) else list(dictionary)
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._waiting: list[pyarrow.Table] = []
        self._rows = 0

    def write(self, table: "pyarrow.Table") -> None:
        """Append the rows of a table; the first table, which may be empty, fixes the columns."""
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._file, table.schema, compression="zstd", use_dictionary=self._dictionary
            )
        self._waiting.append(table)
        self._rows += table.num_rows
        if self._rows >= ROW_GROUP:
            self._flush(self._rows - self._rows % ROW_GROUP)

    def finish(self) -> None:
        """Hand everything to the file."""
        if self._rows:
            self._flush(self._rows)
        if self._writer is not None:
            self._writer.close()

    def abandon(self) -> None:
        """Let go of the file, whose content no longer matters. Raises nothing: the reason must not be hidden."""
        if self._writer is not None:  # left open, it would write its footer to a closed file when collected
            with contextlib.suppress(Exception):
                self._writer.close()

    def _flush(self, rows: int) -> None:
        """Write the first `rows` waiting rows as row groups; the rest goes on waiting."""
        import pyarrow as pa

        table = pa.concat_tables(self._waiting)
        assert self._writer is not None  # noqa: S101 (begun by write; for the type checker)
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=ROW_GROUP)
        self._rows -= rows
        self._waiting = [table.slice(rows).combine_chunks()] if self._rows else []
