"""What every table file has in common: an encoder takes Arrow tables, a policy says when their bytes are in place.

Encoders: parquet.py, and for text csv.py, jsonl.py and laion.py. Policies: whole.py (in place at the end or not at all)
and growing.py (readable while the rows come).
"""

import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

from ..scores import utf8_text

if TYPE_CHECKING:
    import pyarrow

# Raised when a reader of older files would misread newer ones; see docs/output-formats.md, "Schema version".
SCHEMA_VERSION = "1"
VERSION_KEY = "emonet_fast.schema_version"
FORMAT_KEY = "emonet_fast.format"
ROWS_KEY = "emonet_fast.rows"

# A table's rows as bytes. The second argument says whether they begin the file.
TextEncoder: TypeAlias = Callable[["pyarrow.Table", bool], bytes]


def file_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    """A file's metadata as every format can hold it, with the schema version."""
    return {utf8_text(k): utf8_text(v) for k, v in metadata.items()} | {VERSION_KEY: SCHEMA_VERSION}


def sidecar(metadata: Mapping[str, str], rows: int) -> bytes:
    """The content of `<name>.meta.json`, for formats that have no place for metadata."""
    facts = dict(metadata) | {ROWS_KEY: str(rows)}
    return (json.dumps(facts, ensure_ascii=False, indent=2) + "\n").encode()
