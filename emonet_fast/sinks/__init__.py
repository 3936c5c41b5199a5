"""Where scores go: Parquet, CSV, JSON lines, LAION's JSON lines, an HTML report, the terminal."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import OptionError
from .base import SCHEMA_VERSION, EncoderType, Sink
from .csv import CsvEncoder
from .jsonl import JsonlEncoder
from .laion import LaionEncoder
from .parquet import ParquetEncoder

__all__ = ["FORMATS", "SCHEMA_VERSION", "SUFFIXES", "Sink", "open_sink"]

_BY_SUFFIX: dict[str, EncoderType] = {".parquet": ParquetEncoder, ".csv": CsvEncoder, ".jsonl": JsonlEncoder}
SUFFIXES = tuple(_BY_SUFFIX)
FORMATS = ("default", "laion")


def open_sink(path: Path, *, format: str = "default", metadata: Mapping[str, str], embeddings: bool = False) -> Sink:
    """Open the output file `path` for streaming; the kind of file follows from its suffix.

    The temporary file beside it is made at once, so that a folder that cannot be written is known before
    anything is scored. format: "default", or "laion" for the published JSON lines (.jsonl only). metadata:
    checkpoint hash, precision, backend and version, as text; the schema version is added. embeddings: write
    `Scores.embeddings` too.

    Raises:
        OptionError: unknown suffix or format, or the folder is missing or cannot be written.
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
        if kind is not JsonlEncoder:
            raise OptionError(f"format 'laion' is JSON lines, but the output is {path.name!r}; name it .jsonl")
        if embeddings:
            raise OptionError("format 'laion' has no place for embeddings; use the default format for them")
        kind = LaionEncoder
    return Sink(path, kind, metadata, embeddings)
