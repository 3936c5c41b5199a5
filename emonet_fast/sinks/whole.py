"""Table files that appear whole or not at all: batches in, one file in place at the end."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ..errors import EmonetError, OptionError
from ..files import PendingFile, writing
from ..scores import Scores
from .encoders import TextEncoder, file_metadata, sidecar
from .parquet import ParquetEncoder

if TYPE_CHECKING:
    import pyarrow


class WholeOutput(ABC):
    """An output whose `with` block puts it in place, or removes it when the block ends by an exception."""

    @abstractmethod
    def close(self) -> None:
        """Put the output in place."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()


class Sink(WholeOutput):
    """One output file, written batch by batch in bounded memory. Made by `open_sink`, for a `with` block.

    Leaving the block normally puts the finished file in place. Leaving it by any exception, KeyboardInterrupt
    too, removes what was written and leaves an older file as it was.

    Args:
        path: The file, and the attribute of that name. The attribute `rows` counts the rows written.
        kind: As the metadata names the format.
        encode: The encoder of a text format, whose metadata lies in `<name>.meta.json`. None means Parquet.
        metadata: Facts for the reader, as text.
        embeddings: Whether `Scores.embeddings` are written too.

    Raises:
        OptionError: when the file cannot be written there.
    """

    def __init__(
        self, path: Path, kind: str, encode: TextEncoder | None, metadata: Mapping[str, str], embeddings: bool
    ) -> None:
        self.path = path
        self.rows = 0
        self._embeddings = embeddings
        self._kind, self._encode = kind, encode
        self._metadata = file_metadata(metadata)
        self._schema: pyarrow.Schema | None = None
        self._open = True
        self._parquet: ParquetEncoder | None = None
        self._broken = False
        self._files: list[PendingFile] = []  # in the order of publishing: the data last, so that it is complete
        try:
            if encode is not None:
                self._files.append(PendingFile(path.with_name(path.name + ".meta.json"), follow=False))
            self._files.append(PendingFile(path))
            if encode is None:
                self._parquet = ParquetEncoder(self._files[-1].file)
        except BaseException:
            self.abort()
            raise

    def write(self, scores: Scores) -> None:
        """Append rows, which have the heads, the baseline and the embedding width of the first batch.

        Raises OptionError when they have others, or lack the promised embeddings; EmonetError when the disk is full.
        """
        if not self._open:
            raise EmonetError(f"{self.path} is already closed; open a new sink to write more")
        if self._embeddings and scores.embeddings is None:
            raise OptionError(
                f"{self.path} was opened with embeddings=True, but these scores have none; "
                "rows without scores need a row of NaN there"
            )
        self._broken = True  # until the batch is written: half a row must never be published
        table = scores.to_arrow().replace_schema_metadata(self._metadata)
        if not self._embeddings and scores.embeddings is not None:
            table = table.drop_columns(["embedding"])
        if self._schema is not None and table.schema != self._schema:
            self._broken = False
            raise OptionError(
                f"a batch for {self.path} has {_describe(table.schema)}; the file was begun with "
                f"{_describe(self._schema)}. Write scores of one checkpoint to one file"
            )
        self._put(table)
        self._broken = False

    def close(self) -> None:
        """Finish the file and rename it into place; a second call does nothing.

        Raises EmonetError when the disk refuses, or an earlier write failed; nothing is published then.
        """
        if not self._open:
            return
        try:
            if self._broken:
                raise EmonetError(f"an earlier write to {self.path} failed, so nothing was put in place")
            self._finish()
            for file in self._files:
                file.finish()
            for file in self._files:
                file.publish()
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what was written and is not in place yet; after `close` this does nothing."""
        if self._open and self._parquet is not None:
            self._parquet.abandon()
        self._open = False
        for file in self._files:
            file.discard()

    def _put(self, table: "pyarrow.Table") -> None:
        begins, self._schema = self._schema is None, table.schema
        with writing(self.path):
            if self._parquet is not None:
                self._parquet.write(table)
            elif self._encode is not None:
                self._files[-1].file.write(self._encode(table, begins))
        self.rows += table.num_rows

    def _finish(self) -> None:
        if self._schema is None:  # no batch came: the columns that every file has
            import pyarrow as pa

            schema = pa.schema([(name, pa.string()) for name in ("key", "status", "reason")], self._metadata)
            self._put(schema.empty_table())
        with writing(self.path):
            if self._parquet is not None:
                self._parquet.finish()
            else:
                self._files[0].file.write(sidecar(self._metadata | {"emonet_fast.format": self._kind}, self.rows))


def _describe(schema: "pyarrow.Schema") -> str:
    counts = {k: sum(name.startswith(k) for name in schema.names) for k in ("raw_", "score_", "prob_")}
    listed = ", ".join(f"{n} {k}* columns" for k, n in counts.items())
    width = schema.field("embedding").type.list_size if "embedding" in schema.names else 0
    return f"{listed}, embedding width {width}"
