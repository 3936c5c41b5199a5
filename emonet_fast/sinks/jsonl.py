"""JSON lines: one object a row with the columns as keys; null where there is no value, never NaN."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow


def json_line(row: Mapping[str, Any]) -> bytes:
    """One UTF-8 line with its line feed. Raises ValueError for NaN and infinities, which JSON lacks."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


def encode(table: "pyarrow.Table", begins: bool) -> bytes:
    """The rows of a table as lines; a file of JSON lines has no head."""
    del begins
    return b"".join(map(json_line, table.to_pylist()))
