"""A shard's spans to pictures, each with where it came from. Every planned row comes, readable or not."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..datasets.reader import class_names
from ..errors import DataError
from ..records import Picture, Status
from ..sources.folder import read_file, reason_of, stat_file
from ..sources.inputs import InputFile
from ..sources.shards import read_shard
from ..sources.table import open_table, read_rows
from .plan import FILES, Plan, Source, Span


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


def read_spans(plan: Plan, folder: Path, shard: int, max_bytes: int) -> Iterator[Picture]:
    """The picture of each row of a shard, in order, with its Origin. folder: where the plan's files.parquet lies."""
    for span in plan.shards[shard]:
        source = plan.sources[span.source]
        if span.stop is None:  # of a tar
            yield from _tar(source, (None,) * len(plan.keep_names), max_bytes)
        elif source.kind == "table":
            yield from _table(source, span.start, span.stop, plan.keep_names, max_bytes)
        else:
            yield from _files(folder, span, plan, max_bytes)


def _table(source: Source, start: int, stop: int, keep: Sequence[str], max_bytes: int) -> Iterator[Picture]:
    """Rows of a parquet file. Where it is gone, damaged or another one by now, each of them says so."""
    at = start
    fault = "the file has fewer rows than when the plan was made"
    try:
        _check_size(source)
        with open_table(source.path) as file:
            classes = class_names(file.schema_arrow, Path(source.path)) if keep else {}
            labels = tuple(classes.get(name) for name in keep)  # None for a column without classes
            for picture, kept in read_rows(file, source.key, source.column, max_bytes, start, stop, keep):
                yield replace(picture, origin=Origin(source.key, at, _named(kept, labels)))
                at += 1
    except GeneratorExit:
        raise
    except Exception as error:  # pyarrow's errors have no base of their own
        fault = f"parquet file: {reason_of(error)}"
    for lost in range(at, stop):
        origin = Origin(source.key, lost, (None,) * len(keep))
        yield Picture(f"{source.key}::{lost}", None, Status.UNREADABLE, fault, origin=origin)


def _named(values: tuple[Any, ...], labels: tuple[Sequence[str] | None, ...]) -> tuple[Any, ...]:
    """Class labels by name; null for -1, the published layout's "no label", and for a number without a name."""
    if not any(labels):
        return values
    return tuple(
        v if names is None else names[v] if isinstance(v, int) and 0 <= v < len(names) else None
        for v, names in zip(values, labels, strict=True)
    )


def _tar(source: Source, nothing: tuple[None, ...], max_bytes: int) -> Iterator[Picture]:
    try:
        _check_size(source)
    except (OSError, ValueError, DataError) as error:
        reason = f"tar archive: {reason_of(error)}"
        yield Picture(source.key, None, Status.UNREADABLE, reason, origin=Origin(source.key, 0, nothing))
        return
    for number, picture in enumerate(read_shard(source.path, source.key, max_bytes)):
        yield replace(picture, origin=Origin(source.key, number, nothing))


def _check_size(source: Source) -> None:
    """Raises DataError where the file is not the one that was planned."""
    size = stat_file(source.path).st_size
    if size != source.size:
        raise DataError(f"the file has changed since the plan was made: {size} bytes, not {source.size}")


def _files(folder: Path, span: Span, plan: Plan, max_bytes: int) -> Iterator[Picture]:
    nothing = (None,) * len(plan.keep_names)
    for file in read_files(folder / FILES, span, plan.shard_size):
        if file.fault:
            picture = Picture(file.key, None, Status.UNREADABLE, file.fault)
        else:
            picture = read_file(file.path, file.key, max_bytes)
        yield replace(picture, origin=Origin(file.key, 0, nothing))


def write_files(files: Iterable[InputFile], shard_size: int) -> bytes:
    """files.parquet: path, key and fault of each image file; a row group a shard. Paths as the bytes they are."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = [{"path": os.fsencode(file.path), "key": file.key, "fault": file.fault} for file in files]
    schema = pa.schema({"path": pa.binary(), "key": pa.string(), "fault": pa.string()})
    out = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema), out, compression="zstd", row_group_size=shard_size)
    return bytes(out.getvalue())


def read_files(path: Path, span: Span, shard_size: int) -> Iterator[InputFile]:
    """The image files of a span, which is one row group of the list. Raises DataError when it cannot be read."""
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows = file.read_row_group(span.start // shard_size).to_pylist()
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(f"{path} cannot be read ({error}); begin in a new folder") from None
    for row in rows:
        yield InputFile("file", os.fsdecode(row["path"]), row["key"], fault=row["fault"])
