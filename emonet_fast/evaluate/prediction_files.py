"""Files of predictions: each gives keys, statuses and the columns of one kind, unchecked."""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.labels import head_slug
from ..errors import DataError
from ..files import is_file
from ..population.json_rows import json_rows
from ..population.tables import as_written, open_scores
from ..sources.whole_table import read_whole
from ..sources.workbook import WORKBOOK, read_workbook
from .metrics import Floats

if TYPE_CHECKING:
    import pyarrow


@dataclass(frozen=True, slots=True)
class FileColumns:
    """What a file says of N images.

    Args:
        keys: N keys.
        status: N statuses; "ok" where the file has none.
        columns: [N] values for each column name of an emotion; NaN where there is no number.
    """

    keys: list[str]
    status: list[str]
    columns: dict[str, Floats]


def arrow_table(source: Any, what: str) -> "pyarrow.Table":
    """A table of pandas, polars or pyarrow, or Scores, as pyarrow's. Raises DataError for anything else.

    what: what the source is to hold, for the error.
    """
    import pyarrow as pa

    if not hasattr(source, "__arrow_c_stream__"):
        raise DataError(
            f"a {type(source).__name__} came as {what}; expected the path of a file, or a table of pandas, polars or "
            "pyarrow"
        )
    return pa.table(source)


def table_columns(table: "pyarrow.Table", prefix: str) -> FileColumns:
    """As `read_columns`, of a table in memory."""
    return _from_arrow(table, "the table", prefix)


def read_columns(path: Path, prefix: str) -> FileColumns:
    """The file's columns `prefix`<dimension>."""
    readers = {".parquet": _from_parquet, ".csv": _from_csv, ".jsonl": _from_jsonl, WORKBOOK: _from_workbook}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} ends in {path.suffix!r}; expected predictions in {', '.join(readers)}")
    if not is_file(path):
        raise DataError(f"{path} is not a file; expected predictions, as `emonet-fast score --output` writes them")
    return reader(path, prefix)


def _from_parquet(path: Path, prefix: str) -> FileColumns:
    try:
        table = read_whole(path, lambda name: name in ("key", "status") or name.startswith(prefix))
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(f"{path} cannot be read as parquet ({str(error)[:200]})") from None
    return _from_arrow(table, path, prefix)


def _from_csv(path: Path, prefix: str) -> FileColumns:
    try:
        with open_scores(path) as stream:
            names = stream.schema.names
        with open_scores(path, [n for n in names if n in ("key", "status") or n.startswith(prefix)]) as stream:
            table = stream.read_all()
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(
            f"{path} cannot be read as CSV with a header and numbers ({str(error)[:200]}); see docs/output-formats.md"
        ) from None
    return _from_arrow(table, path, prefix)


def _from_workbook(path: Path, prefix: str) -> FileColumns:
    import pyarrow as pa

    table = read_workbook(path)
    names = [name for name in table.column_names if name in ("key", "status") or name.startswith(prefix)]
    with suppress(pa.ArrowInvalid, KeyError):  # of texts, or of a name that comes twice: _from_arrow tells which
        table = as_written(table, names)
    return _from_arrow(table, path, prefix)


def _from_arrow(table: "pyarrow.Table", path: Path | str, prefix: str) -> FileColumns:
    names = table.schema.names
    if len(set(names)) != len(names):
        raise DataError(f"{path} has a column name twice: {sorted({n for n in names if names.count(n) > 1})}")
    if "key" not in names:
        raise DataError(
            f"{path} has no column key; expected key, status and {prefix}<emotion>, see docs/output-formats.md"
        )
    keys = ["" if k is None else str(k) for k in table.column("key").to_pylist()]
    status = table.column("status").to_pylist() if "status" in names else ["ok"] * len(keys)
    columns: dict[str, Floats] = {}
    for name in names:
        if name.startswith(prefix):
            slug = head_slug(name.removeprefix(prefix))
            if slug in columns:
                raise DataError(f"{path} has {slug} twice, in two spellings")
            columns[slug] = _numbers(table.column(name), name, path)
    return FileColumns(keys, [str(s) for s in status], columns)


def _numbers(column: "pyarrow.ChunkedArray", name: str, path: Path | str) -> Floats:
    import pyarrow as pa

    try:
        floats = column.cast(pa.float64()).combine_chunks()
    except pa.ArrowInvalid as error:
        raise DataError(f"{path}: column {name} holds {column.type}, not numbers ({error})") from None
    return np.array(floats.to_numpy(zero_copy_only=False), dtype=np.float64)


def _from_jsonl(path: Path, prefix: str) -> FileColumns:
    rows = []
    for row in json_rows(path, prefix):
        if not isinstance(row.cells.get("key"), str):
            raise DataError(
                f"{row.where} has no text `key`, nor LAION's `image_path` beside `results`; see docs/output-formats.md"
            )
        rows.append(row)
    slugs = dict.fromkeys(slug for row in rows for slug in row.scores)
    columns = {head_slug(s): np.array([row.scores.get(s, np.nan) for row in rows], np.float64) for s in slugs}
    if len(columns) < len(slugs):
        raise DataError(f"{path} has helplessness twice, in two spellings")
    return FileColumns([row.cells["key"] for row in rows], [row.status for row in rows], columns)
