"""Where scores go: Parquet, CSV, JSON lines, LAION's JSON lines; of a video also COCO, WebVTT and an overlay."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import OptionError
from . import csv, jsonl, laion
from .encoders import SCHEMA_VERSION
from .whole import Sink, TableFormat

__all__ = ["FORMATS", "SCHEMA_VERSION", "SUFFIXES", "Sink", "open_sink"]

_BY_SUFFIX = {
    ".parquet": TableFormat("parquet"),
    ".csv": TableFormat("csv", csv.encode),
    ".jsonl": TableFormat("jsonl", jsonl.encode),
}
_LAION = TableFormat("laion", laion.encode)
SUFFIXES = tuple(_BY_SUFFIX)
FORMATS = ("default", "laion")


def open_sink(path: Path, *, format: str = "default", metadata: Mapping[str, str], embeddings: bool = False) -> Sink:
    """Open the output file `path` for streaming; the kind of file follows from its suffix.

    The temporary file beside it is made at once, so that a folder that cannot be written is known before
    anything is scored.

    Args:
        path: A name that ends in .parquet, .csv or .jsonl.
        format: "default", or "laion" for the published JSON lines (.jsonl only).
        metadata: Checkpoint hash, precision, backend and version, as text; the schema version is added.
        embeddings: Write `Scores.embeddings` too.

    Raises:
        OptionError: when the suffix or format is unknown, or the folder is missing or cannot be written.
    """
    path = Path(path)
    kind = _BY_SUFFIX.get(path.suffix.lower())
    if kind is None:
        raise OptionError(
            f"cannot tell the kind of output from {path.name!r}; expected a name ending in {', '.join(SUFFIXES)}"
        )
    if format not in FORMATS:
        raise OptionError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    if format == "laion":
        if kind.name != "jsonl":
            raise OptionError(f"format 'laion' is JSON lines, but the output is {path.name!r}; name it .jsonl")
        if embeddings:
            raise OptionError("format 'laion' has no place for embeddings; use the default format for them")
        kind = _LAION
    return Sink(path, kind, metadata, embeddings)
