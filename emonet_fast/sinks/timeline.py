"""Time lines as tables: parquet, CSV, JSON lines, rows written as they come."""

import contextlib
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import EmonetError, OptionError
from ..scores import utf8_text
from ..timeline import Timeline
from .base import ROWS_KEY, SCHEMA_VERSION, VERSION_KEY
from .growing import SUFFIX, GrowingFile
from .jsonl import json_line
from .parquet import ROW_GROUP

if TYPE_CHECKING:
    import pyarrow

# A parquet run's rows wait for a group of so many, or so long, in its partial file's format.
_GROUP_ROWS, _GROUP_SECONDS = 64, 2.0


class TimelineSink(Protocol):
    """One output of a video run. write() raises EmonetError when the disk refuses; close() finishes the file whatever
    happened, abort() removes it. rows: written so far."""

    path: Path
    rows: int

    def write(self, timeline: Timeline) -> None: ...

    def close(self) -> None: ...

    def abort(self) -> None: ...


class TextTable:
    """CSV (RFC 4180) or JSON lines; metadata in `<name>.meta.json`, which is written at the end."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self.path, self.rows = path, 0
        self._csv = path.suffix.lower() == ".csv"
        self._metadata = dict(metadata)
        self._growing = GrowingFile(path)

    def write(self, timeline: Timeline) -> None:
        if not len(timeline):
            return
        data = self._encoded(timeline)
        try:
            self._growing.file.write(data)
        except OSError as error:
            raise self._growing.failed(error) from error
        self._growing.good()
        self.rows += len(timeline)

    def _encoded(self, timeline: Timeline) -> bytes:
        if not self._csv:
            return b"".join(json_line(row) for row in timeline.to_dicts())
        import pyarrow as pa
        import pyarrow.csv

        table = timeline.to_arrow()
        if "embedding" in table.column_names:  # a list has no place in a CSV field of pyarrow
            lists = ["" if row is None else str(row) for row in table["embedding"].to_pylist()]
            table = table.set_column(table.column_names.index("embedding"), "embedding", pa.array(lists))
        out = io.BytesIO()
        options = pyarrow.csv.WriteOptions(include_header=self.rows == 0, quoting_style="needed")
        pyarrow.csv.write_csv(table, out, options)
        return out.getvalue()

    def close(self) -> None:
        self._growing.publish()
        import json

        facts = self._metadata | {ROWS_KEY: str(self.rows)}
        target = self.path.with_name(self.path.name + ".meta.json")
        try:
            target.write_text(json.dumps(facts, ensure_ascii=False, indent=2) + "\n", "utf-8")
        except OSError as error:
            raise EmonetError(f"cannot write {target}: {error.strerror or error}; the rows are in place") from error

    def abort(self) -> None:
        self._growing.discard()


class ParquetTable:
    """Parquet, whose index comes last: while it grows, the partial file is an Arrow stream, which is readable to its
    last whole group; closing copies it, a group at a time."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        self.path, self.rows = path, 0
        self._metadata = dict(metadata)
        self._growing = GrowingFile(path)
        self._writer: Any = None
        self._waiting: list[pyarrow.Table] = []
        self._since = time.monotonic()

    def write(self, timeline: Timeline) -> None:
        if not len(timeline):
            return
        self._waiting.append(timeline.to_arrow().replace_schema_metadata(self._metadata))
        late = time.monotonic() - self._since > _GROUP_SECONDS
        if late or sum(t.num_rows for t in self._waiting) >= _GROUP_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._waiting:
            return
        table = pa.concat_tables(self._waiting).combine_chunks()
        try:
            if self._writer is None:
                self._writer = pa.ipc.new_stream(self._growing.file, table.schema)
            self._writer.write_table(table)
        except OSError as error:
            raise self._growing.failed(error) from error
        self._growing.good()
        self.rows += table.num_rows
        self._waiting, self._since = [], time.monotonic()

    def close(self) -> None:
        try:
            self._flush()
        finally:
            with contextlib.suppress(OSError):
                self._growing.file.close()
            if self.rows:
                convert(self._growing.partial, self.path)
                self._growing.partial.unlink()
            else:
                self._growing.discard()

    def abort(self) -> None:
        self._growing.discard()


def convert(partial: Path, target: Path) -> int:
    """Copy the whole groups of a partial file (an Arrow stream) to parquet; how many rows. The partial file stays.

    Raises:
        EmonetError: it holds no row, or the parquet file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ..files import PendingFile

    pending = PendingFile(target)
    rows = 0
    try:
        with partial.open("rb") as file, pa.ipc.open_stream(file) as stream:
            writer = pq.ParquetWriter(pending.file, stream.schema, compression="zstd")
            group: list[pa.RecordBatch] = []
            for batch in _whole(stream):
                group.append(batch)
                rows += batch.num_rows
                if sum(b.num_rows for b in group) >= ROW_GROUP:
                    writer.write_table(pa.Table.from_batches(group))
                    group = []
            if group:
                writer.write_table(pa.Table.from_batches(group))
            writer.close()
        pending.finish()
        pending.publish()
    except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
        pending.discard()
        raise EmonetError(f"cannot make {target} of {partial}: {error}; the rows are still in the latter") from error
    except BaseException:
        pending.discard()
        raise
    return rows


def recover(path: Path) -> int:
    """Make `path` from the `<path>.partial` that a killed run left, and remove that; how many rows there are.

    Raises:
        EmonetError: there is none, or nothing whole is in it.
    """
    partial = path.with_name(path.name + SUFFIX)
    if not partial.is_file():
        raise EmonetError(f"there is no {partial}; expected what a killed run left")
    if path.suffix.lower() != ".parquet":
        data = partial.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        path.write_bytes(whole)
        partial.unlink()
        return whole.count(b"\n") - (path.suffix.lower() == ".csv")
    rows = convert(partial, path)
    partial.unlink()
    return rows


def _whole(stream: Any) -> Any:
    """The stream's batches up to where it was cut."""
    import pyarrow as pa

    while True:
        try:
            yield stream.read_next_batch()
        except (StopIteration, EOFError, OSError, pa.ArrowInvalid):
            return


def open_timeline(path: Path, metadata: Mapping[str, str]) -> TimelineSink:
    """Open an output by its suffix: .parquet, .csv, .jsonl, .json (COCO) or .vtt (WebVTT).

    Raises:
        OptionError: another suffix, or the folder is missing or cannot be written.
    """
    from .coco import CocoJson
    from .webvtt import WebVtt

    kinds: dict[str, Any] = {
        ".parquet": ParquetTable,
        ".csv": TextTable,
        ".jsonl": TextTable,
        ".json": CocoJson,
        ".vtt": WebVtt,
    }
    kind = kinds.get(path.suffix.lower())
    if kind is None:
        raise OptionError(f"cannot tell the kind of output from {path.name!r}; expected one of {', '.join(kinds)}")
    facts = {utf8_text(k): utf8_text(v) for k, v in metadata.items()} | {VERSION_KEY: SCHEMA_VERSION}
    sink: TimelineSink = kind(path, facts)
    return sink
