"""z and percentile columns for a table that is written already: the second pass of a run against its own rows."""

import json
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..baseline import Baseline
from ..files import PendingFile, write_whole, writing
from ..records import Float32Array, Float64Array
from ..sinks.encoders import beside, encode_csv, json_line
from ..sinks.parquet import ROW_GROUP, ParquetEncoder
from ..sources.json_lines import json_lines
from ..timeline import NO_TRACK
from .stored import CSV_BLOCK, RAW

if TYPE_CHECKING:
    import pyarrow

# What rows are against: one population, or each person's own by (source, track).
Populations: TypeAlias = Baseline | Mapping[Hashable, Baseline]
KINDS = ("z", "percentile")


def values_against(
    raw: Float32Array, populations: Populations, people: Sequence[Hashable] = ()
) -> tuple[Float64Array, Float64Array]:
    """z and percentile [n, D] of raw scores [n, D]; NaN for a person without a baseline."""
    if isinstance(populations, Baseline):
        return populations.z(raw), populations.percentile(raw)
    z, percentile = np.full(raw.shape, np.nan), np.full(raw.shape, np.nan)
    for person in dict.fromkeys(people):
        own = populations.get(person)
        if own is not None:
            rows = [i for i, one in enumerate(people) if one == person]
            z[rows], percentile[rows] = own.z(raw[rows]), own.percentile(raw[rows])
    return z, percentile


def add_columns(path: Path, names: Sequence[str], populations: Populations, facts: Mapping[str, str]) -> None:
    """Write a table (.parquet, .csv, .jsonl) again, with z and percentile columns at its end, in one step.

    Args:
        path: the table. It stays as it is where the disk refuses.
        names: D slugs of its heads.
        populations: what its rows are against.
        facts: more of the metadata.

    Raises:
        EmonetError: when the disk refuses.
    """
    with PendingFile(path) as pending:
        write_annotated(path, pending, names, populations, facts)
        pending.finish()
        pending.publish()
    if path.suffix.lower() != ".parquet":
        known = json.loads(beside(path).read_bytes())
        write_whole(beside(path), (json.dumps(known | facts, ensure_ascii=False, indent=2) + "\n").encode())


def write_annotated(
    path: Path, pending: PendingFile, names: Sequence[str], populations: Populations, facts: Mapping[str, str]
) -> None:
    """As `add_columns`, into a pending file, which the caller finishes and puts in place."""
    writers = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}
    with writing(path):
        writers[path.suffix.lower()](path, pending, lambda table: _with_columns(table, names, populations), facts)


_Add: TypeAlias = Callable[["pyarrow.Table"], "pyarrow.Table"]


def _with_columns(table: "pyarrow.Table", names: Sequence[str], populations: Populations) -> "pyarrow.Table":
    import pyarrow as pa

    raw = np.full((table.num_rows, len(names)), np.nan, np.float32)
    for i, name in enumerate(names):
        column = table.column(RAW + name)
        if pa.types.is_string(column.type):  # of CSV: "" is no value
            raw[:, i] = [float(text) if text else np.nan for text in column.to_pylist()]
        else:
            raw[:, i] = column.to_numpy()
    people: list[Hashable] = []
    if "track" in table.column_names:
        tracks = table.column("track").to_pylist()
        people = [
            (source, NO_TRACK if track in (None, "") else int(track))
            for source, track in zip(table.column("source").to_pylist(), tracks, strict=True)
        ]
    for kind, values in zip(KINDS, values_against(raw, populations, people), strict=True):
        for i, name in enumerate(names):
            cells = pa.array(values[:, i], pa.float64(), mask=~np.isfinite(values[:, i]))
            table = table.append_column(f"{kind}_{name}", cells)
    return table


def _parquet(path: Path, pending: PendingFile, add: _Add, facts: Mapping[str, str]) -> None:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        texts = [f.name for f in file.schema_arrow if str(f.type) in ("string", "large_string") and f.name != "key"]
        encoder = ParquetEncoder(pending.file, texts)
        metadata = {k.decode(): v.decode() for k, v in (file.schema_arrow.metadata or {}).items()} | dict(facts)
        encoder.write(add(file.schema_arrow.empty_table()).replace_schema_metadata(metadata))
        for table in _tables(file.iter_batches(ROW_GROUP)):
            encoder.write(add(table).replace_schema_metadata(metadata))
        encoder.finish()


def _tables(batches: "Iterable[pyarrow.RecordBatch]") -> "Iterator[pyarrow.Table]":
    import pyarrow as pa

    return (pa.Table.from_batches([batch]) for batch in batches)


def _csv(path: Path, pending: PendingFile, add: _Add, facts: Mapping[str, str]) -> None:
    """Every field is kept as the text that it is."""
    import pyarrow as pa
    import pyarrow.csv as pc

    parse, read = pc.ParseOptions(newlines_in_values=True), pc.ReadOptions(block_size=CSV_BLOCK)
    with pc.open_csv(path, read, parse) as stream:
        kinds = dict.fromkeys(stream.schema.names, pa.string())
    convert = pc.ConvertOptions(column_types=kinds, null_values=[], strings_can_be_null=False)
    with pc.open_csv(path, read, parse, convert) as stream:
        for i, table in enumerate(_tables(stream)):
            pending.file.write(encode_csv(add(table), i == 0))


def _jsonl(path: Path, pending: PendingFile, add: _Add, facts: Mapping[str, str]) -> None:
    rows: list[dict[str, Any]] = []

    def write() -> None:
        import pyarrow as pa

        names = [n for n in rows[0] if n.startswith(RAW) or n in ("source", "track")]
        kinds = {"source": pa.string(), "track": pa.int64()}
        table = pa.table({n: pa.array([row[n] for row in rows], kinds.get(n, pa.float32())) for n in names})
        more = add(table).drop_columns(names).to_pylist()
        pending.file.write(b"".join(json_line(row | new) for row, new in zip(rows, more, strict=True)))
        rows.clear()

    for _, row in json_lines(path):
        rows.append(row)
        if len(rows) == ROW_GROUP:
            write()
    if rows:
        write()
