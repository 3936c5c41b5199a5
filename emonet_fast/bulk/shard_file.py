"""One shard's rows to one parquet file: `Scores.to_arrow()` beside where each row came from.

    key, status, reason        as docs/output-formats.md
    source, row                the input file's key, and the row's or member's number in it
    keep_<column>              the data set's own columns that were asked for
    raw_*, score_*, prob_*     as docs/output-formats.md
    embedding                  fixed-size list of float16 or float32, if asked for

The bytes depend on the rows, the plan and the fingerprint alone: the same shard written twice is the same file.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..files import PendingFile, cannot_write
from ..scores import Scores, utf8_text
from ..sinks.base import SCHEMA_VERSION, VERSION_KEY
from .rows import Origin

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

ROW_GROUP = 4096
KEEP = "keep_"
# Rows turned into a table at once: one at a time would cost more than a small model.
_CHUNK = 512


class ShardFile:
    """The file of one shard while it is written, aside. Not in place before somebody publishes `pending`.

    embeddings: "none", "fp16" or "fp32". keep: names and types of the kept columns. counts: rows so far, by status.
    """

    def __init__(self, path: Path, keep: "pyarrow.Schema", embeddings: str, metadata: Mapping[str, str]) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.pending = PendingFile(path)
        self._keep, self._embeddings = keep, embeddings
        self._metadata = {utf8_text(k): utf8_text(v) for k, v in metadata.items()} | {VERSION_KEY: SCHEMA_VERSION}
        self._writer: pyarrow.parquet.ParquetWriter | None = None
        self._rows: list[Origin] = []
        self._scores: list[Scores] = []
        self._tables: list[pyarrow.Table] = []
        self._waiting = 0

    def write(self, scores: Scores, rows: list[Origin]) -> None:
        """Append rows: one of input for each of the scores'. Raises EmonetError if the disk refuses."""
        self.counts.update(map(str, scores.status))
        self._scores.append(scores)
        self._rows.extend(rows)
        if len(self._rows) >= _CHUNK:
            self._gather()

    def finish(self, empty: Scores) -> None:
        """Bring all of it to the disk. empty: scores without rows, whose columns a shard without rows gets."""
        if self._rows or (not self._tables and self._writer is None):
            self._scores = self._scores or [empty]
            self._gather()
        try:
            self._flush(self._waiting)
            assert self._writer is not None  # noqa: S101 - _flush made it
            self._writer.close()
        except OSError as error:
            raise cannot_write(self.path, error) from error
        self.pending.finish()

    def discard(self) -> None:
        """Remove what was written and is not published; may be called at any time."""
        if self._writer is not None and self._writer.is_open:
            with contextlib.suppress(Exception):  # left open it would write its footer when collected
                self._writer.close()
        self.pending.discard()

    def _gather(self) -> None:
        scores, rows = Scores.concat(self._scores), self._rows
        self._scores, self._rows = [], []
        self._tables.append(self._table(scores, rows))
        self._waiting += len(rows)
        if self._waiting >= ROW_GROUP or self._writer is None:
            try:
                self._flush(self._waiting - self._waiting % ROW_GROUP)
            except OSError as error:
                raise cannot_write(self.path, error) from error

    def _table(self, scores: Scores, rows: list[Origin]) -> "pyarrow.Table":
        import pyarrow as pa

        table = scores.to_arrow()
        vectors = table.column("embedding").combine_chunks() if "embedding" in table.column_names else None
        names = [n for n in table.column_names if n != "embedding"]
        arrays: dict[str, Any] = {n: table.column(n) for n in names[:3]}
        arrays["source"] = pa.array([utf8_text(r.source) for r in rows], pa.string())
        arrays["row"] = pa.array([r.number for r in rows], pa.int64())
        for i, field in enumerate(self._keep):
            arrays[KEEP + field.name] = pa.array([r.kept[i] for r in rows], field.type)
        arrays |= {n: table.column(n) for n in names[3:]}
        if self._embeddings != "none":
            assert vectors is not None  # noqa: S101 - they were asked for
            arrays["embedding"] = vectors if self._embeddings == "fp32" else _half(scores)
        return pa.table(arrays).replace_schema_metadata(self._metadata)

    def _flush(self, rows: int) -> None:
        """Write the first `rows` waiting rows as row groups; begins the file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            words = ["status", "reason", "source", *(KEEP + f.name for f in self._keep if _is_text(f.type))]
            self._writer = pq.ParquetWriter(
                self.pending.file, self._tables[0].schema, compression="zstd", use_dictionary=words
            )
        if rows:
            table = pa.concat_tables(self._tables)
            self._writer.write_table(table.slice(0, rows).combine_chunks(), row_group_size=ROW_GROUP)
            self._waiting -= rows
            self._tables = [table.slice(rows).combine_chunks()] if self._waiting else []


def _half(scores: Scores) -> "pyarrow.Array":
    """[N, W] embeddings as float16: null where a row has no scores, or a value is beyond float16 (65504)."""
    import pyarrow as pa

    assert scores.embeddings is not None  # noqa: S101 - for the type checker
    with np.errstate(over="ignore"):
        small = scores.embeddings.astype(np.float16)
    unknown = ~scores.ok | ~np.isfinite(small).all(axis=1)
    return pa.FixedSizeListArray.from_arrays(pa.array(small.ravel()), small.shape[1], mask=pa.array(unknown))


def _is_text(kind: "pyarrow.DataType") -> bool:
    import pyarrow.types as t

    return bool(t.is_string(kind) or t.is_large_string(kind))
