"""Files of predictions: each gives keys, statuses and the columns of one kind, unchecked."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..datasets.labels import head_slug
from ..errors import DataError
from ..files import beside
from ..sources.json_lines import json_lines
from ..sources.whole_table import read_whole
from .metrics import Floats

if TYPE_CHECKING:
    import pyarrow

_LAION_FIELD = {"raw_": "raw", "score_": "mean_subtracted"}
_LARGEST = 1e300  # JSON knows whole numbers that no float64 holds; refused with NaN and infinities


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
    readers = {".parquet": _from_parquet, ".csv": _from_csv, ".jsonl": _from_jsonl}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path} ends in {path.suffix!r}; expected predictions in {', '.join(readers)}")
    if not path.is_file():
        raise DataError(f"{path} is not a file; expected predictions, as `emonet-fast score --output` writes them")
    return reader(path, prefix)


def warning(path: Path) -> str:
    """What the metadata of our own files warn of, untrained weights; "" where there is nothing to warn of."""
    try:
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            return warning_of(pq.read_schema(path))
        facts = json.loads(beside(path).read_bytes())
        return str(facts.get("untrained", "")) if isinstance(facts, dict) else ""
    except (OSError, ValueError, RecursionError):  # a file of somebody else's
        return ""


def warning_of(schema: "pyarrow.Schema") -> str:
    """As `warning`, of a table's schema."""
    return ((schema.metadata or {}).get(b"untrained") or b"").decode()


def _from_parquet(path: Path, prefix: str) -> FileColumns:
    try:
        table = read_whole(path, lambda name: name in ("key", "status") or name.startswith(prefix))
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(f"{path} cannot be read as parquet ({str(error)[:200]})") from None
    return _from_arrow(table, path, prefix)


def _from_csv(path: Path, prefix: str) -> FileColumns:
    import pyarrow as pa
    import pyarrow.csv as pc

    try:
        with pc.open_csv(path, parse_options=pc.ParseOptions(newlines_in_values=True)) as stream:
            names = stream.schema.names
        wanted = [n for n in names if n in ("key", "status") or n.startswith(prefix)]
        # Raw scores are float32, and written with as many digits as read back to the same float32.
        number = pa.float32() if prefix == "raw_" else pa.float64()
        types = {n: pa.string() if n in ("key", "status") else number for n in wanted}
        options = pc.ConvertOptions(
            column_types=types, include_columns=wanted, null_values=[""], strings_can_be_null=False
        )
        table = pc.read_csv(path, parse_options=pc.ParseOptions(newlines_in_values=True), convert_options=options)
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(
            f"{path} cannot be read as CSV with a header and numbers ({str(error)[:200]}); see docs/output-formats.md"
        ) from None
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
    keys, status, rows = [], [], []
    for number, line in json_lines(path):
        where = f"{path}, line {number}"
        key, state, cells = _laion_row(line, prefix, where) if "results" in line else _our_row(line, prefix, where)
        keys.append(key)
        status.append(state)
        rows.append(cells)
    slugs = list(dict.fromkeys(s for cells in rows for s in cells))
    columns = {s: np.array([cells.get(s, np.nan) for cells in rows], dtype=np.float64) for s in slugs}
    return FileColumns(keys, status, columns)


def _our_row(line: Mapping[str, Any], prefix: str, where: str) -> tuple[str, str, dict[str, float]]:
    if not isinstance(line.get("key"), str):
        raise DataError(f"{where} has neither a text `key` nor `image_path` and `results`; see docs/output-formats.md")
    cells = {n.removeprefix(prefix): v for n, v in line.items() if n.startswith(prefix)}
    return line["key"], str(line.get("status", "ok")), _cells(cells, where)


def _laion_row(line: Mapping[str, Any], prefix: str, where: str) -> tuple[str, str, dict[str, float]]:
    key, results = line.get("image_path"), line["results"]
    if not isinstance(key, str):
        raise DataError(f"{where} has `results` but no text `image_path`; expected the published layout")
    if results is None:
        return key, str(line.get("status", "failed")), {}
    if not isinstance(results, Mapping) or not all(isinstance(v, Mapping) for v in results.values()):
        raise DataError(f"{where}: `results` is not an object of heads; expected the published layout")
    cells = {head: values.get(_LAION_FIELD[prefix]) for head, values in results.items()}
    if cells and all(v is None for v in cells.values()):  # scored without neutral means: no such column at all
        cells = {}
    return key, str(line.get("status", "ok")), _cells(cells, where)


def _cells(cells: Mapping[str, Any], where: str) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, value in cells.items():
        slug = head_slug(name)
        if slug in out:
            raise DataError(f"{where} has {slug} twice, in two spellings")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise DataError(f"{where}: {name} is {value!r:.60}; expected a number or null")
        out[slug] = float("nan") if value is None or abs(value) > _LARGEST else float(value)
    return out
