"""A table that is in place written again with more columns at its end, in one step and in bounded memory."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..files import PendingFile, write_whole, writing
from ..sources.json_lines import json_lines
from .encoders import AddColumns, beside, encode_csv, json_line, starts_with_mark
from .parquet import ROW_GROUP, ParquetEncoder

if TYPE_CHECKING:
    import pyarrow

CSV_BLOCK = 16 << 20
# The column that is told anew when its row gets z.
DOMINANT = "dominant_emotion"
# What more columns are made of: of JSON lines only these become a table for `add`.
_MADE_OF = "raw_", "source", "track", DOMINANT


def add_columns(path: Path, add: AddColumns, facts: Mapping[str, str]) -> None:
    """Write a table (.parquet, .csv, .jsonl) again, with more columns.

    Args:
        path: the table. It stays as it is where the disk refuses.
        add: appends columns to a table of some rows, whose columns are texts where the file is one.
        facts: more of the metadata.

    Raises:
        EmonetError: when the disk refuses.
    """
    with PendingFile(path) as pending:
        rewrite(path, pending, add, facts)
        pending.finish()
        pending.publish()
    if path.suffix.lower() != ".parquet":
        known = json.loads(beside(path).read_bytes())
        write_whole(beside(path), (json.dumps(known | dict(facts), ensure_ascii=False, indent=2) + "\n").encode())


def rewrite(path: Path, pending: PendingFile, add: AddColumns, facts: Mapping[str, str]) -> None:
    """As `add_columns`, into a pending file, which the caller finishes and puts in place."""
    with writing(path):
        {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}[path.suffix.lower()](path, pending, add, facts)


def _parquet(path: Path, pending: PendingFile, add: AddColumns, facts: Mapping[str, str]) -> None:
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


def _csv(path: Path, pending: PendingFile, add: AddColumns, facts: Mapping[str, str]) -> None:
    """Every field is kept as the text that it is."""
    import pyarrow as pa
    import pyarrow.csv as pc

    parse, read = pc.ParseOptions(newlines_in_values=True), pc.ReadOptions(block_size=CSV_BLOCK)
    with pc.open_csv(path, read, parse) as stream:
        kinds = dict.fromkeys(stream.schema.names, pa.string())
    convert = pc.ConvertOptions(column_types=kinds, null_values=[], strings_can_be_null=False)
    pending.file.write(starts_with_mark(path))
    with pc.open_csv(path, read, parse, convert) as stream:
        for i, table in enumerate(_tables(stream)):
            pending.file.write(encode_csv(add(table), i == 0))


def _jsonl(path: Path, pending: PendingFile, add: AddColumns, facts: Mapping[str, str]) -> None:
    rows: list[dict[str, Any]] = []

    def write() -> None:
        import pyarrow as pa

        names = [name for name in rows[0] if name.startswith(_MADE_OF)]
        kinds = {"source": pa.string(), "track": pa.int64(), DOMINANT: pa.string()}
        table = pa.table({n: pa.array([row[n] for row in rows], kinds.get(n, pa.float32())) for n in names})
        more = add(table).drop_columns([n for n in names if n != DOMINANT]).to_pylist()
        pending.file.write(b"".join(json_line(row | new) for row, new in zip(rows, more, strict=True)))
        rows.clear()

    for _, row in json_lines(path):
        rows.append(row)
        if len(rows) == ROW_GROUP:
            write()
    if rows:
        write()
