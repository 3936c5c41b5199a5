"""Tables that are made at their end, of an Arrow stream that grows with the run: Parquet, Excel, some texts."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

from ..errors import EmonetError
from ..files import PendingFile
from .encoders import AddColumns, TextEncoder
from .growing import GrowingTable
from .xlsx import check_fits

if TYPE_CHECKING:
    import pyarrow

# Rows wait for a group of so many, or so long.
_GROUP_ROWS, _GROUP_SECONDS = 64, 2.0


class Encoder(Protocol):
    """Writes Arrow tables of one schema to a file, whose index comes last."""

    def write(self, table: "pyarrow.Table") -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None: ...


MakeEncoder: TypeAlias = Callable[[BinaryIO], Encoder]


class StreamedTable(GrowingTable):
    """A table that is made at its end: of a kind whose index comes last, or with columns that are known then.

    Until then the partial file is an Arrow stream, which can be read up to its last whole group. Closing copies it to
    the table, a group at a time.

    Args:
        path, metadata, arrow, text: as of GrowingTable.
        encoder: of the kind of table.
    """

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, str],
        arrow: Callable[[Any], "pyarrow.Table"],
        encoder: MakeEncoder,
        *,
        text: bool = False,
    ) -> None:
        super().__init__(path, metadata, arrow, text=text)
        self._encoder = encoder
        self._stream: pyarrow.RecordBatchStreamWriter | None = None
        self._waiting: list[pyarrow.Table] = []
        self._since = time.monotonic()
        self._add: AddColumns = lambda table: table

    def annotate(self, add: AddColumns, facts: Mapping[str, str]) -> None:
        """Let all rows have more columns, and the metadata more facts, now that the rows are there."""
        self._add = add
        self._metadata |= facts

    @property
    def empty(self) -> bool:
        return not self.rows and not self._waiting

    def _put(self, table: "pyarrow.Table") -> None:
        self._waiting.append(table.replace_schema_metadata(self._metadata))
        late = time.monotonic() - self._since > _GROUP_SECONDS
        if self._schema is None or late or sum(t.num_rows for t in self._waiting) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._since = [], time.monotonic()  # now: what a full disk refuses is not tried again
        super()._put(table)

    def _append(self, table: "pyarrow.Table", *, begins: bool) -> None:
        import pyarrow as pa

        if begins:
            self._stream = pa.ipc.new_stream(self.file, table.schema)
        assert self._stream is not None  # noqa: S101 (for the type checker)
        self._stream.write_table(table)

    def _finish(self) -> None:
        refused: EmonetError | None = None
        try:
            self._flush()
            with self.piece():  # of a table without rows, only this writes the columns
                assert self._stream is not None  # noqa: S101 (the first batch begins it)
                self._stream.close()
        except EmonetError as error:
            refused = error
        with contextlib.suppress(OSError):
            self.file.close()
        if self.rows or refused is None:
            refused = self._write_beside() or refused
            of_stream(self._encoder, self.partial, self.target, self._metadata, self._add)
        self.partial.unlink(missing_ok=True)
        if refused is not None:
            raise refused

    def leave(self) -> str:
        self._flush()
        return super().leave()


class XlsxTable(StreamedTable):
    """An Excel workbook."""

    def _put(self, table: "pyarrow.Table") -> None:
        check_fits(self.path, table, self.rows + sum(t.num_rows for t in self._waiting))
        super()._put(table)


class TextRows:
    """Writes Arrow tables to a file as a text, as an Encoder."""

    def __init__(self, encode: TextEncoder, file: BinaryIO) -> None:
        self._encode, self._file, self._begins = encode, file, True

    def write(self, table: "pyarrow.Table") -> None:
        self._file.write(self._encode(table, self._begins))
        self._begins = False

    def finish(self) -> None: ...
    def abandon(self) -> None: ...


def of_stream(
    encoder_of: MakeEncoder,
    partial: Path,
    target: Path,
    metadata: Mapping[str, str] | None = None,
    add: AddColumns = lambda table: table,
) -> int:
    """Copy the whole groups of an Arrow stream to a table. Returns the number of rows.

    metadata: None for its own. add: gives more columns.
    """
    import pyarrow as pa

    try:
        with PendingFile(target) as pending, partial.open("rb") as file, pa.ipc.open_stream(file) as stream:
            facts = stream.schema.metadata if metadata is None else metadata
            rows = encode(encoder_of(pending.file), stream.schema, _whole_batches(stream), facts, add)
            pending.finish()
            pending.publish()
    except (EmonetError, OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise EmonetError(f"cannot make {target} of {partial}: {error}; the rows are still in the latter") from error
    return rows


def encode(
    encoder: Encoder,
    schema: "pyarrow.Schema",
    batches: "Iterable[pyarrow.RecordBatch]",
    metadata: Mapping[Any, Any] | None,
    add: AddColumns,
) -> int:
    """Write all rows, with more columns and this metadata, to an encoder's file. Returns their number."""
    import pyarrow as pa

    rows = 0
    try:
        encoder.write(add(schema.empty_table()).replace_schema_metadata(metadata))
        for batch in batches:
            encoder.write(add(pa.Table.from_batches([batch])).replace_schema_metadata(metadata))
            rows += batch.num_rows
        encoder.finish()
    finally:
        encoder.abandon()
    return rows


def _whole_batches(stream: Any) -> "Iterator[pyarrow.RecordBatch]":
    """The stream's batches up to where it was cut."""
    import pyarrow as pa

    while True:
        try:
            yield stream.read_next_batch()
        except (StopIteration, EOFError, OSError, pa.ArrowInvalid):
            return
