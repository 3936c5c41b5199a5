"""One shard's rows to one parquet file: `Scores.to_arrow()` beside where each row came from, see docs/bulk.md.

The bytes depend on the rows, the plan and the fingerprint alone: the same shard written twice is the same file.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..files import PendingFile, writing
from ..scores import Scores, embedding_column
from ..sinks.encoders import file_metadata
from ..sinks.parquet import ParquetEncoder
from ..text import utf8_text
from .rows import Origin

KEEP = "keep_"
# Rows turned into a table at once: one at a time would cost more than a small model.
_CHUNK = 512


class ShardFile:
    """The file of one shard while it is written, aside. Not in place before somebody publishes `pending`.

    The attribute `counts` has the number of rows so far, by status.

    Args:
        path: The shard's final name.
        keep: Names and types of the kept columns.
        embeddings: "none", "fp16" or "fp32".
        metadata: Facts for the reader, as text; the schema version is added.

    Raises:
        OptionError: when the file cannot be written there.
    """

    def __init__(self, path: Path, keep: pa.Schema, embeddings: str, metadata: Mapping[str, str]) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.pending = PendingFile(path, follow=False)
        self._keep, self._embeddings = keep, embeddings
        self._metadata = file_metadata(metadata)
        texts = [KEEP + f.name for f in keep if str(f.type) in ("string", "large_string")]
        self._encoder = ParquetEncoder(self.pending.file, ["status", "reason", "source", *texts])
        self._begun = False
        self._rows: list[Origin] = []
        self._scores: list[Scores] = []

    def write(self, scores: Scores, rows: list[Origin]) -> None:
        """Append scores, with where each of their rows came from. Raises EmonetError when the disk refuses."""
        self.counts.update(map(str, scores.status))
        self._scores.append(scores)
        self._rows.extend(rows)
        if len(self._rows) >= _CHUNK:
            self._gather()

    def finish(self, empty: Scores) -> None:
        """Bring all of it to the disk. empty: scores without rows, whose columns a shard without rows gets."""
        if self._rows or not self._begun:
            self._scores = self._scores or [empty]
            self._gather()
        with writing(self.path):
            self._encoder.finish()
        self.pending.finish()

    def discard(self) -> None:
        """Remove what was written and is not published; may be called at any time."""
        self._encoder.abandon()
        self.pending.discard()

    def _gather(self) -> None:
        table = self._table(Scores.concat(self._scores), self._rows)
        self._scores, self._rows, self._begun = [], [], True
        with writing(self.path):
            self._encoder.write(table)

    def _table(self, scores: Scores, rows: list[Origin]) -> pa.Table:
        table = scores.to_arrow()
        columns = dict(zip(table.column_names, table.columns, strict=True))
        vectors = columns.pop("embedding", None)
        arrays: dict[str, Any] = {name: columns.pop(name) for name in ("key", "status", "reason")}
        arrays["source"] = pa.array([utf8_text(r.source) for r in rows], pa.string())
        arrays["row"] = pa.array([r.number for r in rows], pa.int64())
        for i, field in enumerate(self._keep):
            arrays[KEEP + field.name] = pa.array([r.kept[i] for r in rows], field.type)
        arrays |= columns
        if self._embeddings == "fp32":
            arrays["embedding"] = vectors
        elif self._embeddings == "fp16" and scores.embeddings is not None:
            arrays["embedding"] = embedding_column(scores.embeddings, scores.ok, np.float16)
        return pa.table(arrays).replace_schema_metadata(self._metadata)
