"""Where scores go: Parquet, CSV, JSON lines, LAION's JSON lines; of a video also COCO, WebVTT and an overlay."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import OptionError
from .encoders import SCHEMA_VERSION, TextEncoder, encode_csv, encode_jsonl, encode_laion
from .whole import Sink

__all__ = ["FORMATS", "SCHEMA_VERSION", "Sink", "open_sink"]

# The encoder of a text format; Parquet is none.
_ENCODERS: dict[str, TextEncoder | None] = {".parquet": None, ".csv": encode_csv, ".jsonl": encode_jsonl}
FORMATS = ("default", "laion")


def open_sink(path: Path, *, format: str = "default", metadata: Mapping[str, str], embeddings: bool = False) -> Sink:
    """Open an output file for rows; the suffix .parquet, .csv or .jsonl tells its kind. `format` "laion" is for .jsonl.

    Its temporary file is made at once, so that a folder that cannot be written is known before anything is scored.
    Raises OptionError then, and when the suffix or the format is unknown.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in _ENCODERS:
        raise OptionError(
            f"cannot tell the kind of output from {path.name!r}; expected a name ending in {', '.join(_ENCODERS)}"
        )
    if format not in FORMATS:
        raise OptionError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    if format == "default":
        return Sink(path, suffix.removeprefix("."), _ENCODERS[suffix], metadata, embeddings)
    if suffix != ".jsonl":
        raise OptionError(f"format 'laion' is JSON lines, but the output is {path.name!r}; name it .jsonl")
    if embeddings:
        raise OptionError("format 'laion' has no place for embeddings; use the default format for them")
    return Sink(path, format, encode_laion, metadata, embeddings)
