"""Tables that grow, written as the rows come: CSV, JSON lines, Parquet, Excel; and what a killed run has left."""

import contextlib
import functools
import os
import time
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeAlias

from ..errors import EmonetError, OptionError
from ..files import PendingFile, write_whole
from ..optional import require
from ..timeline import Timeline, VideoFacts
from .encoders import AddColumns, TextEncoder, beside, encode_csv, encode_excel_csv, encode_jsonl, sidecar
from .growing import GrowingSink, partial_of
from .npy import recover_npy
from .parquet import ParquetEncoder
from .rewrite import add_columns
from .xlsx import XlsxEncoder, check_fits

if TYPE_CHECKING:
    import pyarrow

# A parquet run's rows wait for a group of so many, or so long, in its partial file's format.
_GROUP_ROWS, _GROUP_SECONDS = 64, 2.0
# Bytes that are copied at once.
_PIECE = 1 << 20


class GrowingTable(GrowingSink):
    """A table of rows that `write` takes.

    Args:
        path: The final name.
        metadata: Facts for the reader, as text.
        arrow: Makes an Arrow table of what `write` takes.

    Raises:
        OptionError: when the file cannot be written there.
    """

    def __init__(self, path: Path, metadata: Mapping[str, str], arrow: Callable[[Any], "pyarrow.Table"]) -> None:
        super().__init__(path)
        self._metadata, self._arrow = dict(metadata), arrow
        self._facts = VideoFacts()
        self._schema: pyarrow.Schema | None = None
        self._add: AddColumns | None = None
        self._more: Mapping[str, str] = {}

    def annotate(self, add: AddColumns, facts: Mapping[str, str]) -> None:
        """Let the whole table have more columns, and its metadata more facts, once it is closed."""
        self._add, self._more = add, facts

    def write(self, rows: Any) -> None:
        """Append rows, which have the columns of the first ones.

        Raises OptionError when they have others; EmonetError when the disk is full.
        """
        if self.file.closed:
            raise EmonetError(f"{self.path} is already closed; open a new sink to write more")
        table = self._arrow(rows)
        if isinstance(rows, Timeline) and self._facts.add(rows):
            self._metadata |= self._facts.metadata
        if self._schema is not None and table.schema != self._schema:
            raise OptionError(
                f"a batch for {self.path} has {_describe(table.schema)}; the file was begun with "
                f"{_describe(self._schema)}. Write scores of one checkpoint to one file"
            )
        self._put(table, self._schema is None)
        self._schema = table.schema

    @abstractmethod
    def _put(self, table: "pyarrow.Table", begins: bool) -> None:
        """Append rows; the first begin the file."""

    def close(self) -> None:
        """Put the table in place; a second call does nothing. Without any batch it has the columns of every table."""
        if self.file.closed:
            return
        if self._schema is None and not self.rows:  # a first batch that failed may have left some
            import pyarrow as pa

            self._put(pa.schema([(name, pa.string()) for name in ("key", "status", "reason")]).empty_table(), True)
        self._finish()

    def _finish(self) -> None:
        super().close()


class TextTable(GrowingTable):
    """CSV or JSON lines; the metadata goes to `<name>.meta.json` at the end."""

    def __init__(
        self, path: Path, metadata: Mapping[str, str], arrow: Callable[[Any], "pyarrow.Table"], encode: TextEncoder
    ) -> None:
        PendingFile(beside(path), follow=False).discard()
        super().__init__(path, metadata, arrow)
        self._encode = encode

    def _put(self, table: "pyarrow.Table", begins: bool) -> None:
        try:
            with self.piece():
                self.file.write(self._encode(table, begins))
            self.rows += table.num_rows
        except EmonetError:
            if table.num_rows < 2:
                raise
            for i in range(table.num_rows):  # as many as there is room for
                self._put(table.slice(i, 1), begins and not i)

    def _finish(self) -> None:
        refused: EmonetError | None = None
        try:  # first: once the table is there, so is all that belongs to it
            write_whole(beside(self.path), sidecar(self._metadata, self.rows), follow=False)
        except EmonetError as error:
            refused = error
        super()._finish()
        if refused is not None:
            raise EmonetError(f"{refused}; the table itself is in place") from refused
        if self._add is not None:
            try:
                add_columns(self.path, self._add, self._more)
            except EmonetError as error:
                raise EmonetError(f"{error}; the table is in place without the columns of its baseline") from error


class Encoder(Protocol):
    """Writes Arrow tables of one schema to a file, whose index comes last."""

    def write(self, table: "pyarrow.Table") -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None: ...


MakeEncoder: TypeAlias = Callable[[BinaryIO], Encoder]


class IndexedTable(GrowingTable):
    """Parquet or Excel, whose index comes last. So the partial file is an Arrow stream, which can be read up to its
    last whole group; closing copies it to the table, a group at a time. encoder: of the kind of table."""

    def __init__(
        self,
        path: Path,
        metadata: Mapping[str, str],
        arrow: Callable[[Any], "pyarrow.Table"],
        encoder: MakeEncoder,
    ) -> None:
        super().__init__(path, metadata, arrow)
        self._encoder = encoder
        self._stream: pyarrow.RecordBatchStreamWriter | None = None
        self._waiting: list[pyarrow.Table] = []
        self._since = time.monotonic()

    @property
    def empty(self) -> bool:
        return not self.rows and not self._waiting

    def _put(self, table: "pyarrow.Table", begins: bool) -> None:
        self._waiting.append(table.replace_schema_metadata(self._metadata))
        late = time.monotonic() - self._since > _GROUP_SECONDS
        if begins or late or sum(t.num_rows for t in self._waiting) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        self._waiting, self._since = [], time.monotonic()  # now: what a full disk refuses is not tried again
        self._append(table)

    def _append(self, table: "pyarrow.Table") -> None:
        import pyarrow as pa

        try:
            with self.piece():
                if self._stream is None:
                    self._stream = pa.ipc.new_stream(self.file, table.schema)
                self._stream.write_table(table)
            self.rows += table.num_rows
        except EmonetError:
            if not self.rows:
                self._stream = None  # its schema is not in the file
            if table.num_rows < 2:
                raise
            for i in range(table.num_rows):  # as many as there is room for
                self._append(table.slice(i, 1))

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
            _of_stream(self._encoder, self.partial, self.target, self._metadata | dict(self._more), self._add)
        self.partial.unlink(missing_ok=True)
        if refused is not None:
            raise refused

    def leave(self) -> str:
        self._flush()
        return super().leave()


class XlsxTable(IndexedTable):
    """An Excel workbook. Raises MissingPackageError without the extra `excel`."""

    def __init__(self, path: Path, metadata: Mapping[str, str], arrow: Callable[[Any], "pyarrow.Table"]) -> None:
        require("xlsxwriter", "writing .xlsx")
        super().__init__(path, metadata, arrow, XlsxEncoder)

    def _put(self, table: "pyarrow.Table", begins: bool) -> None:
        check_fits(self.path, table, self.rows + sum(t.num_rows for t in self._waiting))
        super()._put(table, begins)


SUFFIXES = (".parquet", ".csv", ".jsonl", ".xlsx")


def open_rows(
    path: Path,
    metadata: Mapping[str, str],
    arrow: Callable[[Any], "pyarrow.Table"],
    dictionary: Sequence[str] | bool,
    *,
    excel: bool = False,
    encode: TextEncoder | None = None,
) -> GrowingTable:
    """Open a table by its suffix, one of SUFFIXES.

    Args:
        path, metadata, arrow: as of GrowingTable.
        dictionary: as of ParquetEncoder.
        excel: whether .csv begins with the mark by which Excel knows UTF-8.
        encode: of another kind of text than the suffix says.

    Raises:
        OptionError: when `excel` is asked of another kind, or the file cannot be written there.
        MissingPackageError: for .xlsx without the extra `excel`.
    """
    suffix = path.suffix.lower()
    if excel and suffix not in (".csv", ".xlsx"):
        raise OptionError(f"excel is asked of {path.name!r}; expected a name ending in .csv or .xlsx")
    if suffix == ".parquet":
        return IndexedTable(path, metadata, arrow, functools.partial(ParquetEncoder, dictionary=dictionary))
    if suffix == ".xlsx":
        return XlsxTable(path, metadata, arrow)
    by_suffix = encode_jsonl if suffix == ".jsonl" else encode_excel_csv if excel else encode_csv
    return TextTable(path, metadata, arrow, encode or by_suffix)


def _describe(schema: "pyarrow.Schema") -> str:
    counts = {k: sum(name.startswith(k) for name in schema.names) for k in ("raw_", "score_", "softmax_")}
    listed = ", ".join(f"{n} {k}* columns" for k, n in counts.items())
    width = schema.field("embedding").type.list_size if "embedding" in schema.names else 0
    return f"{listed}, embedding width {width}"


def _of_stream(
    encoder_of: MakeEncoder,
    partial: Path,
    target: Path,
    metadata: Mapping[str, str] | None = None,
    add: AddColumns | None = None,
) -> int:
    """Copy the whole groups of an Arrow stream to a table. Returns the number of rows.

    metadata: None for its own. add: gives more columns.
    """
    import pyarrow as pa

    rows = 0
    try:
        with PendingFile(target) as pending, partial.open("rb") as file, pa.ipc.open_stream(file) as stream:
            facts = stream.schema.metadata if metadata is None else dict(metadata)

            def whole(table: pa.Table) -> pa.Table:
                return (table if add is None else add(table)).replace_schema_metadata(facts)

            with contextlib.ExitStack() as stack:
                encoder = encoder_of(pending.file)
                stack.callback(encoder.abandon)
                encoder.write(whole(stream.schema.empty_table()))
                for batch in _whole_batches(stream):
                    encoder.write(whole(pa.Table.from_batches([batch])))
                    rows += batch.num_rows
                encoder.finish()
            pending.finish()
            pending.publish()
    except (EmonetError, OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise EmonetError(f"cannot make {target} of {partial}: {error}; the rows are still in the latter") from error
    return rows


def recover(path: Path) -> int | None:
    """Make the file of the `<path>.partial` that a run left. Returns the number of rows of a table.

    A table (one of SUFFIXES) and .npy get the whole rows. Of other kinds the partial file is the file itself: it is
    renamed, uncounted. Raises EmonetError when there is no partial file, or nothing whole is in it.
    """
    partial = partial_of(path)
    if not partial.is_file():
        raise EmonetError(f"there is no {partial}; expected what a killed run left")
    target = Path(os.path.realpath(path))
    recover_kind = _RECOVERED.get(path.suffix.lower())
    if recover_kind is None:
        partial.replace(target)
        return None
    rows = recover_kind(partial, target)
    partial.unlink(missing_ok=True)
    return rows


def _to_text(partial: Path, target: Path) -> int:
    """Copy the whole records. In CSV a record ends where all quotes are closed, as a key may hold line breaks."""
    is_csv = target.suffix.lower() == ".csv"
    place = end = records = quotes = 0
    with partial.open("rb") as file:
        for line in file:
            place += len(line)
            quotes += line.count(b'"') if is_csv else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                end, records = place, records + 1
        file.seek(0)
        with PendingFile(target) as pending:
            while end:  # in pieces: the table of a long run need not fit into memory
                end -= pending.file.write(file.read(min(end, _PIECE)))
            pending.finish()
            pending.publish()
    return max(0, records - is_csv)  # without the header


def _whole_batches(stream: Any) -> "Iterator[pyarrow.RecordBatch]":
    """The stream's batches up to where it was cut."""
    import pyarrow as pa

    while True:
        try:
            yield stream.read_next_batch()
        except (StopIteration, EOFError, OSError, pa.ArrowInvalid):
            return


_RECOVERED: dict[str, Callable[[Path, Path], int]] = {
    ".parquet": functools.partial(_of_stream, lambda file: ParquetEncoder(file, dictionary=True)),
    ".xlsx": functools.partial(_of_stream, XlsxEncoder),
    ".csv": _to_text,
    ".jsonl": _to_text,
    ".npy": recover_npy,
}
