"""Time lines as files: tables whose rows are written as they come, and whatever else a video run writes."""

import contextlib
import io
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EmonetError, OptionError
from ..files import PendingFile, write_whole
from ..timeline import Timeline
from .coco import CocoJson
from .encoders import encode_csv, encode_jsonl, file_metadata, sidecar
from .growing import SUFFIX, GrowingSink
from .parquet import ParquetEncoder
from .webvtt import WebVtt

if TYPE_CHECKING:
    import pyarrow

# A parquet run's rows wait for a group of so many, or so long, in its partial file's format.
_GROUP_ROWS, _GROUP_SECONDS = 64, 2.0


class TextTable(GrowingSink):
    """CSV or JSON lines; the metadata goes to `<name>.meta.json` at the end."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        super().__init__(path)
        self._metadata = metadata
        self._encode = encode_csv if path.suffix.lower() == ".csv" else encode_jsonl

    def write(self, timeline: Timeline) -> None:
        with self.piece():
            self.file.write(self._encode(timeline.to_arrow(), self.rows == 0))
        self.rows += len(timeline)

    def close(self) -> None:
        super().close()
        beside = self.path.with_name(self.path.name + ".meta.json")
        write_whole(beside, sidecar(self._metadata, self.rows), follow=False)


class ParquetTable(GrowingSink):
    """Parquet, whose index comes last. So the partial file is an Arrow stream, which can be read up to its last whole
    group; closing copies it to Parquet, a group at a time."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        super().__init__(path)
        self._metadata = metadata
        self._stream: pyarrow.RecordBatchStreamWriter | None = None
        self._waiting: list[pyarrow.Table] = []
        self._since = time.monotonic()

    def write(self, timeline: Timeline) -> None:
        self._waiting.append(timeline.to_arrow().replace_schema_metadata(self._metadata))
        late = time.monotonic() - self._since > _GROUP_SECONDS
        if late or sum(t.num_rows for t in self._waiting) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        with self.piece():
            if self._stream is None:
                self._stream = pa.ipc.new_stream(self.file, table.schema)
            self._stream.write_table(table)
        self.rows += table.num_rows
        self._waiting, self._since = [], time.monotonic()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            with contextlib.suppress(OSError):
                self.file.close()
            if self.rows:
                _to_parquet(self.partial, self.path)
            self.abort()


def _to_parquet(partial: Path, target: Path) -> int:
    """Copy the whole groups of an Arrow stream, at least one, to Parquet. Returns the number of rows."""
    import pyarrow as pa

    rows = 0
    try:
        with PendingFile(target) as pending:
            encoder = ParquetEncoder(pending.file, dictionary=True)
            with partial.open("rb") as file, pa.ipc.open_stream(file) as stream:
                for batch in _whole_batches(stream):
                    encoder.write(pa.Table.from_batches([batch]))
                    rows += batch.num_rows
            encoder.finish()
            pending.finish()
            pending.publish()
    except (EmonetError, OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        raise EmonetError(f"cannot make {target} of {partial}: {error}; the rows are still in the latter") from error
    return rows


def recover(path: Path) -> int | None:
    """Make the file of the `<path>.partial` that a killed run left. Returns the number of rows of a table.

    A table (.parquet, .csv, .jsonl) gets the whole rows. Of other kinds the partial file is the file itself: it is
    renamed, uncounted. Raises EmonetError when there is no partial file, or nothing whole is in it.
    """
    partial = path.with_name(path.name + SUFFIX)
    if not partial.is_file():
        raise EmonetError(f"there is no {partial}; expected what a killed run left")
    recover_kind = _RECOVERED.get(path.suffix.lower())
    if recover_kind is None:
        partial.replace(path)
        return None
    rows = recover_kind(partial, path)
    partial.unlink()
    return rows


def _to_text(partial: Path, target: Path) -> int:
    """Copy the whole records. In CSV a record ends where all quotes are closed, as a key may hold line breaks."""
    is_csv = target.suffix.lower() == ".csv"
    data = partial.read_bytes()
    place = end = records = quotes = 0
    for line in io.BytesIO(data):
        place += len(line)
        quotes += line.count(b'"') if is_csv else 0
        if line.endswith(b"\n") and quotes % 2 == 0:
            end, records = place, records + 1
    write_whole(target, data[:end])
    return max(0, records - is_csv)  # without the header


def _whole_batches(stream: Any) -> "Iterator[pyarrow.RecordBatch]":
    """The stream's batches up to where it was cut."""
    import pyarrow as pa

    while True:
        try:
            yield stream.read_next_batch()
        except (StopIteration, EOFError, OSError, pa.ArrowInvalid):
            return


def open_timeline(path: Path, metadata: Mapping[str, str]) -> GrowingSink:
    """Open an output by its suffix: .parquet, .csv, .jsonl, .json (COCO) or .vtt (WebVTT).

    Raises OptionError when the suffix is another one, or the folder is missing or cannot be written.
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise OptionError(f"cannot tell the kind of output from {path.name!r}; expected one of {', '.join(_KINDS)}")
    return kind(path, file_metadata(metadata))


_KINDS: dict[str, Callable[[Path, Mapping[str, str]], GrowingSink]] = {
    ".parquet": ParquetTable,
    ".csv": TextTable,
    ".jsonl": TextTable,
    ".json": CocoJson,
    ".vtt": WebVtt,
}
_RECOVERED = {".parquet": _to_parquet, ".csv": _to_text, ".jsonl": _to_text}
