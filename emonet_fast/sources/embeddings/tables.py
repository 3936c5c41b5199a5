"""Embeddings in parquet tables: a column of lists of floats."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...errors import DataError
from ...records import Status
from ..folder import open_file, reason_of, stat_file
from ..pages import read_chunks, readable_rows
from ..table import numbers_of, open_table, rows_of
from .rows import EmbeddingBatch, EmbeddingFile, checked_batch, number_key, status_of
from .vectors import choose_vectors, vectors_of, width_of

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet

_OURS = "emonet_fast.schema_version"
# What every table of scores has of its own.
_MADE = ("key", "status", "reason", "file_name", "dominant_emotion", "embedding")
_SCORES = ("raw_", "score_", "softmax_", "z_", "percentile_", "smooth_")


def open_vectors(path: str, column: str | None, columns: Sequence[str]) -> EmbeddingFile:
    """What a table's footer says. Raises what pyarrow raises, and DataError where it has no such columns."""
    size = stat_file(path).st_size
    with open_table(path) as file:
        rows, schema = sum(rows_of(file.metadata, size)), file.schema_arrow
        chosen = choose_vectors(schema, column, path)
        missing = [name for name in columns if name not in schema.names]
        if missing:
            raise DataError(f"{path} has no column {missing[0]!r}; its columns are: {', '.join(schema.names[:20])}")
        kind = schema.field(chosen).type
        facts = {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in (schema.metadata or {}).items()}
        dtype = {"halffloat": "float16", "float": "float32", "double": "float64"}[str(kind.value_type)]
        width = getattr(kind, "list_size", 0) or next(filter(None, _widths(file, chosen)), 0)
    return EmbeddingFile(path, rows, width, dtype, facts, chosen)


def columns_beside(file: EmbeddingFile) -> "pyarrow.Schema":
    """The columns of texts, numbers and truths in a table of ours that no rescoring makes; none of another file."""
    import pyarrow as pa
    import pyarrow.types as kinds

    if file.column is None or _OURS not in file.metadata:
        return pa.schema([])
    known = (kinds.is_string, kinds.is_integer, kinds.is_float32, kinds.is_float64, kinds.is_boolean)
    with open_table(file.path) as table:
        fields = [pa.field(one.name, getattr(one.type, "value_type", one.type)) for one in table.schema_arrow]
        nested = {one.name for one in table.schema_arrow if kinds.is_nested(one.type)}
    made = {*_MADE, *nested}
    return pa.schema(
        [
            one
            for one in fields
            if one.name not in made and not one.name.startswith(_SCORES) and any(is_kind(one.type) for is_kind in known)
        ]
    )


def _widths(file: "pyarrow.parquet.ParquetFile", column: str) -> Iterator[int]:
    """The widths of lists of any length, block by block."""
    for group in range(file.num_row_groups):
        try:
            yield from (width_of(b.column(0)) for b in file.iter_batches(64, [group], [column], use_threads=False))
        except Exception:  # noqa: S112 - pyarrow's errors have no base of their own; its rows will say it
            continue


def table_batches(
    file: EmbeddingFile, width: int, columns: Sequence[str], most: int, start: int = 0, stop: int | None = None
) -> Iterator[EmbeddingBatch]:
    """Rows start to stop of a table, at most so many at once; those of a damaged row group are UNREADABLE."""
    import pyarrow as pa

    assert file.column is not None  # noqa: S101 - a table's
    with open_table(file.path) as table, open_file(file.path) as raw:
        schema = table.schema_arrow
        ours = _OURS in file.metadata
        own = [name for name in ("key", *(("status", "reason") if ours else ())) if name in schema.names]
        wanted = list(dict.fromkeys([file.column, *own, *columns]))
        numbers = numbers_of(table, wanted)
        chunks = read_chunks(raw, numbers)
        end = 0
        for group, found in enumerate(chunks):
            row, end = end, end + table.metadata.row_group(group).num_rows
            till = end if stop is None else min(end, stop)
            if till <= max(row, start):
                continue
            fault = "it has fewer rows than the footer says"
            try:
                flat = [table.schema.column(i).max_repetition_level == 0 for i in numbers]
                fine = readable_rows(raw, end - row, zip(found, flat, strict=True), 8, most)
                fault, last = fine.reason, row + fine.rows
                for batch in table.iter_batches(min(most, fine.rows or 1), [group], wanted, use_threads=False):
                    before = min(max(start - row, 0), batch.num_rows)
                    part = pa.Table.from_batches([batch.slice(before, min(last, till) - row - before)])
                    row += before
                    if part.num_rows:
                        yield _table_batch(file, part, row, width, own, columns)
                    row += part.num_rows
                    if row >= min(last, till):
                        break
            except Exception as error:  # pyarrow's errors have no base of their own
                fault = reason_of(error)
            kinds = pa.schema([schema.field(name) for name in columns])
            row = max(row, start)
            while row < till:
                n = min(most, till - row)
                lost = [(number_key(file.path, i), Status.UNREADABLE, fault) for i in range(row, row + n)]
                nothing = pa.table([pa.nulls(n, one.type) for one in kinds], kinds)
                yield checked_batch(lost, np.full((n, width), np.nan, np.float32), None, nothing)
                row += n


def _table_batch(
    file: EmbeddingFile, part: "pyarrow.Table", row: int, width: int, own: list[str], columns: Sequence[str]
) -> EmbeddingBatch:
    texts = {name: part.column(name).to_pylist() for name in own}
    rows = range(part.num_rows)
    keys = (
        [number_key(file.path, row + i) if (k := texts["key"][i]) is None else str(k) for i in rows]
        if "key" in texts
        else [number_key(file.path, row + i) for i in rows]
    )
    status = [status_of(one) for one in texts.get("status", ["ok"] * len(rows))]
    reason = [one or "" for one in texts.get("reason", [""] * len(rows))]
    values, widths = vectors_of(part.column(file.column).combine_chunks(), width)
    return checked_batch(list(zip(keys, status, reason, strict=True)), values, widths, part.select(list(columns)))
