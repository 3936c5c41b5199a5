"""A shard's spans to pictures, each with where it came from. Every planned row comes, readable or not."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..datasets.reader import class_names
from ..errors import DataError
from ..records import Picture, Status
from ..sources.embeddings import batches_of, open_embeddings
from ..sources.folder import read_file, reason_of
from ..sources.keys import numbered, unnumbered
from ..sources.shards import read_shard
from ..sources.table import open_table, read_rows
from .inputs import PlannedFile
from .plan import Plan, Source, Span
from .state import FileState, change


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a row comes from; a Picture's origin, and so its rows'.

    Args:
        source: the key of its file.
        number: of the row or member in that file, from 0.
        kept: its other columns, in the order of `keep`.
    """

    source: str
    number: int
    kept: tuple[Any, ...] = ()


def read_spans(
    plan: Plan, files: Path, shard: int, max_bytes: int, skipped: Counter[str] | None = None
) -> Iterator[Picture]:
    """The picture of each row of a shard, in order, with its Origin. files: the plan's list of image files.

    Members of tars that are no rows are counted in `skipped`.
    """
    for span in plan.shards[shard]:
        source = plan.sources[span.source]
        if span.stop is None:  # of a tar
            yield from _tar(source, (None,) * len(plan.keep_names), max_bytes, skipped)
        elif source.kind == "embeddings":
            yield from _embeddings(source, span.start, span.stop, plan.keep_names)
        elif source.kind == "table":
            yield from _table(source, span.start, span.stop, plan.keep_names, max_bytes)
        else:
            yield from _files(files, span, plan, max_bytes)


def _table(source: Source, start: int, stop: int, keep: Sequence[str], max_bytes: int) -> Iterator[Picture]:
    """Rows of a parquet file. Where it is gone, damaged or another one by now, each of them says so."""
    at, status = start, Status.CHANGED
    try:
        fault = source.changed()
        if not fault:
            with open_table(source.path) as file:
                classes = class_names(file.schema_arrow, Path(source.path)) if keep else {}
                labels = tuple(classes.get(name) for name in keep)  # None for a column without classes
                rows = read_rows(file, source.path, source.key, source.column, max_bytes, start, stop, keep)
                for picture, kept in rows:
                    yield replace(picture, origin=Origin(source.key, at, _named(kept, labels)))
                    at += 1
            fault = "the file has fewer rows than when the plan was made"
    except Exception as error:  # pyarrow's errors have no base of their own
        status, fault = Status.UNREADABLE, f"parquet file: {reason_of(error)}"
    yield from _lost(source, range(at, stop), len(keep), status, fault)


def _embeddings(source: Source, start: int, stop: int, keep: Sequence[str]) -> Iterator[Picture]:
    """Rows of a file of stored embeddings; as `_table`. Of one given again, their keys have its number too."""
    at, status = start, Status.CHANGED
    time = source.key.removeprefix(unnumbered(source.key))[1:]
    try:
        fault = source.changed()
        if not fault:
            file = open_embeddings(source.path, source.column or None, keep)
            for batch in batches_of(file, file.width, keep, start=start, stop=stop):
                kept = zip(*(batch.columns.column(name).to_pylist() for name in keep), strict=True) if keep else None
                for picture in batch.pictures():
                    key = numbered(picture.key, int(time)) if time else picture.key
                    own = next(kept) if kept is not None else ()
                    yield replace(picture, key=key, origin=Origin(source.key, at, own))
                    at += 1
            fault = "the file has fewer rows than when the plan was made"
    except Exception as error:  # pyarrow's errors have no base of their own
        status, fault = Status.UNREADABLE, f"embeddings: {reason_of(error)}"
    yield from _lost(source, range(at, stop), len(keep), status, fault)


def _lost(source: Source, rows: range, kept: int, status: Status, fault: str) -> Iterator[Picture]:
    """Rows that did not come, each of which says why."""
    for row in rows:
        yield Picture(f"{source.key}::{row}", None, status, fault, origin=Origin(source.key, row, (None,) * kept))


def _named(values: tuple[Any, ...], labels: tuple[Sequence[str] | None, ...]) -> tuple[Any, ...]:
    """Class labels by name; null for -1, the published layout's "no label", and for a number without a name."""
    if not any(labels):
        return values
    return tuple(
        v if names is None else names[v] if isinstance(v, int) and 0 <= v < len(names) else None
        for v, names in zip(values, labels, strict=True)
    )


def _tar(source: Source, nothing: tuple[None, ...], max_bytes: int, skipped: Counter[str] | None) -> Iterator[Picture]:
    try:
        status, fault = Status.CHANGED, source.changed()
    except (OSError, ValueError) as error:
        status, fault = Status.UNREADABLE, f"tar archive: {reason_of(error)}"
    if fault:
        yield Picture(source.key, None, status, fault, origin=Origin(source.key, 0, nothing))
        return
    for number, picture in enumerate(read_shard(source.path, source.key, max_bytes, skipped)):
        yield replace(picture, origin=Origin(source.key, number, nothing))


def _files(files: Path, span: Span, plan: Plan, max_bytes: int) -> Iterator[Picture]:
    nothing = (None,) * len(plan.keep_names)
    for file in read_files(files, span, plan.shard_size):
        yield replace(read_planned(file, max_bytes), origin=Origin(file.key, 0, nothing))


def read_planned(file: PlannedFile, max_bytes: int) -> Picture:
    """One image file, if it is still the planned one."""
    if file.fault:
        return Picture(file.key, None, Status.UNREADABLE, file.fault)
    picture = read_file(file.path, file.key, max_bytes)
    if picture.status == Status.UNREADABLE:
        return picture
    try:
        changed = change(file.state, file.path, "file")  # after reading: what changes meanwhile is noticed too
    except (OSError, ValueError) as error:
        changed = f"gone while it was read: {reason_of(error)}"
    return Picture(file.key, None, Status.CHANGED, changed) if changed else picture


def write_files(files: Iterable[PlannedFile], shard_size: int) -> bytes:
    """The list of image files, a parquet file with a row group a shard. Paths as the bytes they are."""
    rows = [
        {
            "path": os.fsencode(file.path),
            "key": file.key,
            "fault": file.fault,
            "size": file.state.size,
            "mtime_ns": file.state.mtime_ns,
        }
        for file in files
    ]
    texts = {"path": pa.binary(), "key": pa.string(), "fault": pa.string()}
    schema = pa.schema(texts | {"size": pa.int64(), "mtime_ns": pa.int64()})
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), out, compression="zstd", row_group_size=shard_size)
    return bytes(out.getvalue())


def read_files(path: Path, span: Span, shard_size: int) -> Iterator[PlannedFile]:
    """The image files of a span, which is one row group of the list. Raises DataError when it cannot be read."""
    try:
        with pq.ParquetFile(path) as file:
            rows = file.read_row_group(span.start // shard_size).to_pylist()
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(f"{path} cannot be read ({error}); begin in a new folder") from None
    for row in rows:
        state = FileState(row.get("size", 0), row.get("mtime_ns", 0))
        yield PlannedFile(os.fsdecode(row["path"]), row["key"], row["fault"], state)
