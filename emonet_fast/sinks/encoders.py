"""What every table file has in common: an encoder takes Arrow tables and gives bytes.

Encoders of text formats are here, Parquet's is in parquet.py. tables.py writes with them files that are readable while
the rows come. docs/output-formats.md describes the formats.
"""

import codecs
import csv
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import reliability, taxonomy
from ..files import beside
from ..records import Status
from ..text import utf8_text

if TYPE_CHECKING:
    import pyarrow

# Raised when a reader of older files would misread newer ones; see docs/output-formats.md, "Schema version".
SCHEMA_VERSION = "2"

# A table's rows as bytes. The second argument says whether they begin the file.
TextEncoder: TypeAlias = Callable[["pyarrow.Table", bool], bytes]
# Appends columns to a table of some rows.
AddColumns: TypeAlias = Callable[["pyarrow.Table"], "pyarrow.Table"]


def warnings_of(metadata: Mapping[str, str]) -> list[str]:
    """What a person must know beside the numbers, where a file is looked at rather than read."""
    return [metadata[key] for key in ("untrained", "missing_heads", "accepted_fidelity") if key in metadata]


def file_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """A file's metadata as every format can hold it, with the schema version and how far experts agree."""
    ours = {"emonet_fast.schema_version": SCHEMA_VERSION, "reliability": reliability.record()}
    return {utf8_text(k): utf8_text(v) for k, v in metadata.items()} | ours


def companions(path: Path | None) -> tuple[Path, ...]:
    """The files that a table or a .npy comes with, itself the last; none for None."""
    if path is None:
        return ()
    return (beside(path), path) if path.suffix.lower() in (".csv", ".jsonl", ".npy") else (path,)


def sidecar(metadata: Mapping[str, str], rows: int) -> bytes:
    """The content of `<name>.meta.json`, for formats that have no place for metadata."""
    facts = dict(metadata) | {"emonet_fast.rows": str(rows)}
    return (json.dumps(facts, ensure_ascii=False, indent=2) + "\n").encode()


def encode_csv(table: "pyarrow.Table", begins: bool) -> bytes:
    r"""CSV (RFC 4180, but lines end with "\n"): a header, one record a row, an empty field where there is no value.

    Keys are quoted where CSV needs it and nothing more: a key that begins with = + - or @ is the name of a file, and a
    changed name would no longer find it. Numbers are the shortest text that reads back to the same number of the same
    type; lists are one field, as JSON.
    """
    # CRLF goes to the writer, though not to the file: with "\n" it leaves a carriage return in a key unquoted.
    writer = csv.writer(_Record(), lineterminator="\r\n")
    header = [table.column_names] if begins else []
    rows = itertools.chain(header, zip(*map(_fields, table.columns), strict=True))
    return "".join(writer.writerow(row).removesuffix("\r\n") + "\n" for row in rows).encode()


def encode_excel_csv(table: "pyarrow.Table", begins: bool) -> bytes:
    """As `encode_csv`, after the mark (BOM) without which Excel takes UTF-8 for the machine's own encoding."""
    return (codecs.BOM_UTF8 if begins else b"") + encode_csv(table, begins)


class _Record:
    """Gives the text of a record back: `csv.writer.writerow` returns what this returns."""

    def write(self, text: str) -> str:
        return text


def _fields(column: "pyarrow.ChunkedArray") -> Iterable[str]:
    import pyarrow.types as kinds

    if kinds.is_boolean(column.type):
        column = column.cast("string")  # true and false
    if kinds.is_string(column.type):
        texts: list[str] = column.to_pylist()
        return texts
    if kinds.is_fixed_size_list(column.type):
        return ("[" + ", ".join(map(str, cell.values.to_numpy())) + "]" if cell.is_valid else "" for cell in column)
    known = column.is_valid().to_numpy()
    return [str(v) if k else "" for v, k in zip(column.fill_null(0).to_numpy(), known, strict=True)]


def encode_jsonl(table: "pyarrow.Table", begins: bool) -> bytes:
    """JSON lines: one object a row with the columns as keys; null where there is no value, never NaN."""
    del begins  # there is no header
    return b"".join(map(json_line, table.to_pylist()))


def encode_laion(table: "pyarrow.Table", begins: bool) -> bytes:
    """The JSON lines that EmoNet-Face's authors published (`eval/results/*.jsonl` of LAION-AI/emonet-face).

    A row without scores, which the published files do not have, has null for "results", and its status and reason.
    """
    del begins
    slugs = [name.removeprefix("raw_") for name in table.column_names if name.startswith("raw_")]
    stems = {slug: taxonomy.find(slug).file_stem for slug in slugs}
    return b"".join(json_line(_laion(row, stems)) for row in table.to_pylist())


def _laion(row: Mapping[str, Any], stems: Mapping[str, str]) -> dict[str, Any]:
    if row["status"] != Status.OK:
        return {"image_path": row["key"], "results": None, "status": row["status"], "reason": row["reason"]}
    results = {
        stem: {
            "raw": row["raw_" + slug],
            "mean_subtracted": row.get("score_" + slug),
            "softmax": row.get("softmax_" + slug),
        }
        for slug, stem in stems.items()
    }
    return {"image_path": row["key"], "results": results}


def json_line(row: Mapping[str, Any]) -> bytes:
    """A row as a line of JSON."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"
