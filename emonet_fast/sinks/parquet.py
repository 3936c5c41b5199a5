"""Parquet: `Scores.to_arrow()`, zstd, batches collected into row groups."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, BinaryIO

from ..scores import Scores

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

# 4096 rows of 124 columns and 1152 floats are about 23 MB before compression: small in memory, and large
# enough that a batch size of 1 costs nothing to readers.
ROW_GROUP = 4096


class ParquetEncoder:
    """Columns as in `Scores.columns()`, then `embedding`; metadata in the file's schema."""

    format = "parquet"
    sidecar = False

    def __init__(self, file: BinaryIO, metadata: Mapping[str, str], embeddings: bool) -> None:
        self._file = file
        self._metadata = dict(metadata)
        self._embeddings = embeddings
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._waiting: list[pyarrow.Table] = []
        self._rows = 0

    def write(self, scores: Scores) -> None:
        table = scores.to_arrow()
        if not self._embeddings and scores.embeddings is not None:
            table = table.drop_columns(["embedding"])
        if self._writer is None:
            self._begin(table.schema)
        self._waiting.append(table)
        self._rows += table.num_rows
        if self._rows >= ROW_GROUP:
            self._flush(self._rows - self._rows % ROW_GROUP)

    def finish(self) -> None:
        import pyarrow as pa

        if self._writer is None:  # no batch came: the columns that every file has
            self._begin(pa.schema([(name, pa.string()) for name in ("key", "status", "reason")]))
        if self._rows:
            self._flush(self._rows)
        assert self._writer is not None  # noqa: S101 (begun above; for the type checker)
        self._writer.close()

    def abandon(self) -> None:
        if self._writer is not None:  # left open, it would write its footer to a closed file when collected
            self._writer.close()

    def _begin(self, schema: "pyarrow.Schema") -> None:
        import pyarrow.parquet as pq

        self._schema = schema.with_metadata(self._metadata)
        # A dictionary of floats that hardly repeat only costs room and time.
        self._writer = pq.ParquetWriter(
            self._file, self._schema, compression="zstd", use_dictionary=["status", "reason"]
        )

    def _flush(self, rows: int) -> None:
        """Write the first `rows` waiting rows as row groups; the rest goes on waiting."""
        import pyarrow as pa

        table = pa.concat_tables([t.replace_schema_metadata(self._metadata) for t in self._waiting])
        assert self._writer is not None  # noqa: S101
        self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=ROW_GROUP)
        self._rows -= rows
        self._waiting = [table.slice(rows)] if self._rows else []
