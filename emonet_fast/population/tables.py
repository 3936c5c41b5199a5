"""One file of stored scores, read in blocks: parquet, CSV, Excel workbooks, JSON lines, LAION's JSON lines."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from .. import taxonomy
from ..errors import DataError, EmonetError
from ..files import beside
from ..records import Float64Array
from ..sources.json_lines import json_lines
from ..sources.table import open_table
from ..sources.workbook import WORKBOOK, is_workbook, workbook_batches, workbook_columns, workbook_facts
from .json_rows import RAW, SCORE, json_rows

if TYPE_CHECKING:
    import pyarrow

_CSV_BLOCK = 16 << 20  # bytes
# Rows of a block: in 44 heads 12 MB.
BLOCK_ROWS = 1 << 16


def facts_of(path: Path) -> dict[str, str]:
    """The metadata of a table, or of the file beside it; {} without any."""
    if path.suffix.lower() == ".parquet":
        with _reading(path), open_table(str(path)) as file:
            return facts_of_schema(file.schema_arrow)
    if is_workbook(path):
        return workbook_facts(path)
    try:
        facts = json.loads(beside(path).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in facts.items()} if isinstance(facts, dict) else {}


def facts_of_schema(schema: "pyarrow.Schema") -> dict[str, str]:
    """The metadata of a table in memory."""
    found: Mapping[bytes, bytes] = schema.metadata or {}
    return {k.decode("utf-8", "replace"): v.decode("utf-8", "replace") for k, v in found.items()}


def columns_of(path: Path) -> tuple[str, ...]:
    """The names of a table's columns; of JSON lines, the keys of the first. Raises DataError where it is no table."""
    suffix = path.suffix.lower()
    with _reading(path):
        if suffix == WORKBOOK:
            return workbook_columns(path)
        if suffix == ".parquet":
            with open_table(str(path)) as file:
                return tuple(file.schema_arrow.names)
        if suffix == ".csv":
            with open_scores(path) as stream:
                return tuple(stream.schema.names)
        return next((tuple(line) for _, line in json_lines(path)), ())


def fields_of(path: Path) -> tuple[str, ...]:
    """The columns of a table with our names; of JSON lines those of the first line with scores."""
    if path.suffix.lower() != ".jsonl":
        return columns_of(path)
    row = next((row for row in json_rows(path, RAW) if row.scores), None)
    if row is None:
        return ()
    return (*(name for name in row.cells if not name.startswith(RAW)), *(RAW + slug for slug in row.scores))


def names_of(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    """The heads of the file, in the order of `Scores.names`."""
    slugs = [name.removeprefix(RAW) for name in columns if name.startswith(RAW)]
    if len(set(slugs)) != len(slugs):
        raise DataError(f"{path} has a column name twice: {sorted({s for s in slugs if slugs.count(s) > 1})}")
    return tuple(taxonomy.canonical_order(slugs))


# Statuses [n], numbers of the columns `prefix`<name> [n, D], NaN where there is none, and n values of further columns.
_Part: TypeAlias = tuple[Any, Float64Array, dict[str, "pyarrow.Array"]]


def read_blocks(
    path: Path, names: tuple[str, ...], prefix: str, rows: int = BLOCK_ROWS, more: Sequence[str] = ()
) -> Iterator[_Part]:
    """The file's rows block by block."""
    import pyarrow as pa

    wanted = [prefix + name for name in names]
    suffix = path.suffix.lower()
    with _reading(path):
        if suffix == ".jsonl":
            yield from _read_lines(path, names, prefix, rows, more)
            return
        needed = [*dict.fromkeys(("status", *more)), *wanted]
        readers = {".parquet": _parquet_batches, WORKBOOK: _workbook_batches}
        batches = readers[suffix](path, needed, rows) if suffix in readers else _csv_batches(path, needed)
        for batch in batches:
            has = set(batch.schema.names)
            status = _texts(batch.column("status")) if "status" in has else np.full(batch.num_rows, "ok")
            values = np.full((batch.num_rows, len(wanted)), np.nan, np.float32 if prefix == RAW else np.float64)
            for i, name in enumerate(wanted):
                if name in has:
                    values[:, i] = batch.column(name).to_numpy(zero_copy_only=False)
            others = {n: batch.column(n) if n in has else pa.nulls(batch.num_rows, pa.string()) for n in more}
            yield status, values, others


def _texts(column: "pyarrow.Array") -> Any:
    """[n] texts of a column, each distinct one made once; "" where there is none."""
    import pyarrow.types as kinds

    encoded = column if kinds.is_dictionary(column.type) else column.dictionary_encode()
    texts = np.array([*("" if text is None else text for text in encoded.dictionary.to_pylist()), ""])
    return texts[encoded.indices.fill_null(len(texts) - 1).to_numpy()]


def _parquet_batches(path: Path, wanted: list[str], rows: int) -> "Iterator[pyarrow.RecordBatch]":
    with open_table(str(path), ["status"]) as file:
        there = [name for name in wanted if name in file.schema_arrow.names]
        yield from file.iter_batches(rows, columns=there)


def _workbook_batches(path: Path, wanted: list[str], rows: int) -> "Iterator[pyarrow.RecordBatch]":
    for table in workbook_batches(path, rows):
        yield from as_written(table, wanted).to_batches()


def as_written(table: "pyarrow.Table", columns: Sequence[str]) -> "pyarrow.Table":
    """Those of the columns of a workbook that are there, of the types that we write: an empty text is an empty cell."""
    import pyarrow as pa

    cast = {name: table.column(name).cast(kind_of(name)) for name in columns if name in table.column_names}
    return pa.table({name: c.fill_null("") if c.type == pa.string() else c for name, c in cast.items()})


def _csv_batches(path: Path, wanted: list[str]) -> "Iterator[pyarrow.RecordBatch]":
    with open_scores(path) as stream:
        there = [name for name in wanted if name in stream.schema.names]
    with open_scores(path, there) as stream:
        yield from stream


def kind_of(column: str) -> "pyarrow.DataType":
    """The type that we write a column with: of texts, for one that we do not know."""
    import pyarrow as pa

    if column.startswith(RAW):  # written with as many digits as read back to the same float32
        return pa.float32()
    if column.startswith(SCORE):
        return pa.float64()
    return {"seconds": pa.float64(), "track": pa.int64()}.get(column, pa.string())


def open_scores(path: Path, columns: Sequence[str] = ()) -> "pyarrow.csv.CSVStreamingReader":
    """A CSV with columns of the types that we write. columns: those to read; without any, all."""
    import pyarrow.csv as pc

    convert = pc.ConvertOptions(
        column_types={name: kind_of(name) for name in columns},
        include_columns=list(columns),
        null_values=[""],
        strings_can_be_null=False,
    )
    return pc.open_csv(
        path,
        read_options=pc.ReadOptions(block_size=_CSV_BLOCK),
        parse_options=pc.ParseOptions(newlines_in_values=True),
        convert_options=convert,
    )


def _read_lines(path: Path, names: tuple[str, ...], prefix: str, rows: int, more: Sequence[str]) -> Iterator[_Part]:
    import pyarrow as pa

    lines = json_rows(path, prefix)
    while block := list(islice(lines, rows)):
        values = np.array([[row.scores.get(name, np.nan) for name in names] for row in block])
        others = {name: pa.array([row.cells.get(name) for row in block]) for name in more}
        yield np.array([row.status for row in block]), values, others


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Errors inside, of a damaged file, become a DataError that names it."""
    try:
        yield
    except EmonetError:
        raise
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(f"{path} cannot be read as scores ({str(error)[:200]})") from None
