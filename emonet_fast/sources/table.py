"""Parquet tables with a column of encoded images, read in small batches of rows."""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..records import Picture, Status
from ..text import shorten_end, shorten_middle
from .folder import open_file, reason_of, stat_file, too_many_bytes
from .pages import Chunk, Readable, read_chunks, readable_rows
from .remote import file_of, is_remote

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

TABLE_SUFFIXES = (".parquet",)
# Names that say "image" for a column of plain bytes. Any other name must be given: old writers store text so too.
_IMAGE_NAMES = frozenset({
    "image", "images", "image_bytes", "img", "img_bytes", "picture", "photo", "face", "crop", "jpg", "jpeg", "png",
    "webp", "bytes", "data", "content",
})  # fmt: skip
_LONGEST = 300
_BATCH_ROWS = 16
# More rows than so many, and so many a byte, are a damaged footer: each one would become a row of the output.
_ROWS, _ROWS_A_BYTE = 1_000_000, 64
_BUFFER = 1 << 20


class NoImageColumnError(InputError):
    """A table has no column of encoded images: it is about pictures, perhaps, as img2dataset's metadata is."""


def is_table_name(name: str) -> bool:
    """Whether a file name ends in one of TABLE_SUFFIXES, in upper or lower case."""
    return file_of(name).lower().endswith(TABLE_SUFFIXES)


@dataclass(frozen=True, slots=True)
class TableFooter:
    """What the footer of a parquet file says.

    Args:
        schema: of all columns.
        column: name of the image column.
        groups: number of rows of each row group.
    """

    schema: "pyarrow.Schema"
    column: str
    groups: tuple[int, ...]


def read_footer(path: str, image_column: str | None) -> TableFooter:
    """The footer of a parquet file, and its image column.

    The column is `image_column`, or the only struct with a binary field `bytes` (Hugging Face's image feature), or
    the only binary column with a name such as image, jpg or bytes. Raises as `stat_file`, `open_table`, `rows_of` and
    `choose_column` do.
    """
    size = stat_file(path).st_size
    with open_table(path) as file:
        groups, schema = rows_of(file.metadata, size), file.schema_arrow
    return TableFooter(schema, choose_column(schema, image_column, path), groups)


def rows_of(metadata: "pyarrow.parquet.FileMetaData", size: int) -> tuple[int, ...]:
    """The number of rows of each row group. Raises ValueError for more than a file of `size` bytes can have."""
    rows = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
    most = max(_ROWS, _ROWS_A_BYTE * size)
    if min(rows, default=0) < 0 or sum(rows) > most:
        raise ValueError(f"its footer claims {sum(rows):,} rows; expected at most {most:,} in a file of its size")
    return rows


def choose_column(schema: "pyarrow.Schema", image_column: str | None, path: str) -> str:
    """The image column of `schema`, by the rule of `read_footer`. path: for the error's text.

    Raises NoImageColumnError, which names the columns, when there is no such column, and InputError for several.
    """
    if image_column is not None:
        if schema.names.count(image_column) != 1:
            raise NoImageColumnError(_text(path, f"no single column {image_column!r}", schema))
        if not _is_struct(schema.field(image_column).type) and not _is_binary(schema.field(image_column).type):
            what = f"no encoded images in its column {image_column!r}: expected binary, or a struct with binary 'bytes'"
            raise NoImageColumnError(_text(path, what, schema))
        return image_column
    structs = [f.name for f in schema if _is_struct(f.type)]
    plain = [f.name for f in schema if _is_binary(f.type) and f.name.lower() in _IMAGE_NAMES]
    found = structs or plain
    if len(found) == 1 and schema.names.count(found[0]) == 1:
        return str(found[0])
    if found:
        raise InputError(_text(path, f"several image columns ({', '.join(found)})", schema))
    raise NoImageColumnError(_text(path, "no column known to hold images", schema))


def _text(path: str, what: str, schema: "pyarrow.Schema") -> str:
    """An error's text, of _LONGEST characters at most: a table may have thousands of columns."""
    path, what = (shorten_middle(text, 100) for text in (path, what))
    columns = ", ".join(f"{f.name} ({shorten_end(str(f.type), 60)})" for f in schema) or "none"
    return shorten_end(f"{path} has {what}; name one with --image-column; its columns are: {columns}", _LONGEST)


def read_table(path: str, key: str, column: str, max_bytes: int) -> Iterator[Picture]:
    """The rows of a parquet file in order, with keys `key::row`, row counted from 0; see read_rows.

    A file that cannot be opened gives one UNREADABLE picture with the key `key`.
    """
    try:
        stat_file(path)
        file = open_table(path)
    except Exception as e:  # pyarrow's errors have no base of their own
        yield Picture(key, None, Status.UNREADABLE, f"parquet file: {reason_of(e)}")
        return
    with file:
        for picture, _ in read_rows(file, path, key, column, max_bytes):
            yield picture


def read_rows(
    file: "pyarrow.parquet.ParquetFile",
    path: str,
    key: str,
    column: str,
    max_bytes: int,
    start: int = 0,
    stop: int | None = None,
    keep: Sequence[str] = (),
) -> Iterator[tuple[Picture, tuple[Any, ...]]]:
    """Rows start to stop of the open file at `path`, in order: the picture with the key `key::row`, the kept values.

    A null, or a struct without bytes, is UNREADABLE. A path in the table is neither read nor followed, because the
    table may come from a stranger. Rows over max_bytes are TOO_LARGE, and so are, unread, those that a page holds which
    unpacks to far more bytes than it has. In a damaged row group each row that was not reached is UNREADABLE, with None
    in its kept columns; reading goes on with the next group. Row groups without a wanted row are not read.
    """
    metadata = file.metadata
    stop = metadata.num_rows if stop is None else min(stop, metadata.num_rows)
    wanted = [f"{column}.bytes" if _is_struct(file.schema_arrow.field(column).type) else column, *keep]
    readable_of, end = _limits(file, path, wanted, max_bytes, _BATCH_ROWS), 0
    for group in range(metadata.num_row_groups):
        begin, end = end, end + metadata.row_group(group).num_rows
        row, last = max(begin, start), min(end, stop)
        if row >= last:
            continue
        try:
            readable = readable_of(group)
            status, reason = readable.status, readable.reason
            until = min(last, begin + readable.rows)
            batches = file.iter_batches(readable.batch, row_groups=[group], columns=wanted, use_threads=False)
            for cell, values in _rows(batches, column, keep, row - begin, until - begin):
                picture = _picture(f"{key}::{row}", cell, max_bytes)
                if bad := [name for name, value in zip(keep, values, strict=True) if isinstance(value, ValueError)]:
                    picture = Picture(picture.key, None, Status.UNREADABLE, f"column {bad[0]!r} cannot be read")
                yield picture, tuple(None if isinstance(value, ValueError) else value for value in values)
                row += 1
        except Exception as e:  # pyarrow's errors have no base of their own
            status, reason = Status.UNREADABLE, reason_of(e)
        for lost in range(row, last):
            picture = Picture(f"{key}::{lost}", None, status, f"parquet row group {group}: {reason}")
            yield picture, (None,) * len(keep)


def read_batches(
    file: "pyarrow.parquet.ParquetFile", path: str, columns: Sequence[str], max_bytes: int, most: int
) -> Iterator["pyarrow.RecordBatch"]:
    """All rows of columns, at most `most` at once. Raises ValueError where a row group cannot be read to its end."""
    readable_of = _limits(file, path, columns, max_bytes, most)
    for group in range(file.metadata.num_row_groups):
        readable = readable_of(group)
        if readable.rows < file.metadata.row_group(group).num_rows:
            raise ValueError(f"row group {group}: {readable.reason}")
        yield from file.iter_batches(readable.batch, [group], list(columns), use_threads=False)


def _limits(
    file: "pyarrow.parquet.ParquetFile", path: str, columns: Sequence[str], max_bytes: int, most: int
) -> Callable[[int], Readable]:
    """Tells how much of a row group, by its number, may be read. It raises OSError or ValueError for a damaged file."""
    numbers = numbers_of(file, columns)
    flat = [file.schema.column(i).max_repetition_level == 0 for i in numbers]
    chunks: list[list[Chunk]] = []

    def readable(group: int) -> Readable:
        with open_file(path) as raw:
            chunks.extend([] if chunks else read_chunks(raw, numbers))
            rows = file.metadata.row_group(group).num_rows
            return readable_rows(raw, rows, zip(chunks[group], flat, strict=True), max_bytes, most)

    return readable


def numbers_of(file: "pyarrow.parquet.ParquetFile", columns: Sequence[str]) -> list[int]:
    """The numbers under which columns, and the parts of nested ones, are stored."""
    named, parts = set(columns), tuple(f"{column}." for column in columns)
    paths = (file.schema.column(i).path for i in range(len(file.schema)))
    return [i for i, path in enumerate(paths) if path in named or path.startswith(parts)]


def _rows(
    batches: "Iterator[pyarrow.RecordBatch]", column: str, keep: Sequence[str], start: int, stop: int
) -> Iterator[tuple[Any, tuple[Any, ...]]]:
    """Rows start to stop of a row group: the binary scalar of `column`, and the kept values."""
    at = 0
    for batch in batches if start < stop else ():
        part = batch.slice(max(start - at, 0), stop - max(start, at))
        at += batch.num_rows
        kept = zip(*(_values(part.column(name)) for name in keep), strict=True) if keep else repeat(())
        yield from zip(_cells(part.column(column)), kept, strict=False)
        if at >= stop:
            return


def _values(column: "pyarrow.Array") -> list[Any]:
    """A column's values, an error in the place of each that cannot be read, as a text that is not UTF-8."""
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except ValueError:
        return [_value(cell) for cell in column]


def _value(cell: "pyarrow.Scalar") -> Any:
    try:
        return cell.as_py()
    except ValueError as error:
        return error


def open_table(path: str, dictionaries: Sequence[str] = ()) -> "pyarrow.parquet.ParquetFile":
    """The file, set up so that rows with large images take little memory. Raises what pyarrow raises.

    dictionaries: columns of texts that are given as dictionaries.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    # With a buffer and without pre_buffer, a page is read when it is needed, not its whole column chunk. Many writers
    # put 1024 rows into one page whatever their size, so the writer's choice bounds the memory: 100 rows of 1 MB held
    # 35 MB from pages of 1 MB, 116 MB from a single page.
    # A text must be UTF-8, which names of files need not be.
    source = pa.PythonFile(open_file(path), "r") if is_remote(path) else pa.OSFile(os.fsencode(path))
    return pq.ParquetFile(source, buffer_size=_BUFFER, pre_buffer=False, read_dictionary=list(dictionaries))


def _is_binary(kind: "pyarrow.DataType") -> bool:
    import pyarrow.types as t

    return bool(t.is_binary(kind) or t.is_large_binary(kind) or t.is_binary_view(kind))


def _is_struct(kind: "pyarrow.DataType") -> bool:
    import pyarrow.types as t

    names = [kind.field(i).name for i in range(kind.num_fields)] if t.is_struct(kind) else []
    return names.count("bytes") == 1 and _is_binary(kind.field("bytes").type)


def _cells(column: "pyarrow.Array") -> Iterator[Any]:
    """Each row's binary scalar, null where there is no image."""
    import pyarrow.compute as pc

    return iter(pc.struct_field(column, "bytes") if _is_struct(column.type) else column)


def _picture(key: str, cell: Any, max_bytes: int) -> Picture:
    if not cell.is_valid:
        return Picture(key, None, Status.UNREADABLE, "no image in the row; a path in a table is not followed")
    buffer = cell.as_buffer()
    if buffer.size > max_bytes:
        return Picture(key, None, Status.TOO_LARGE, too_many_bytes(buffer.size, max_bytes))
    return Picture(key, buffer.to_pybytes())
