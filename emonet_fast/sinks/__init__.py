"""Where scores go: Parquet, CSV, JSON lines, LAION's JSON lines; of a video also COCO, WebVTT and an overlay."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..scores import Scores
from .encoders import SCHEMA_VERSION, TextEncoder, encode_csv, encode_jsonl, encode_laion, file_metadata
from .tables import GrowingTable, ParquetTable, TextTable

if TYPE_CHECKING:
    import pyarrow

__all__ = ["FORMATS", "SCHEMA_VERSION", "open_sink"]

# The encoder of a text format; Parquet is none.
_ENCODERS: dict[str, TextEncoder | None] = {".parquet": None, ".csv": encode_csv, ".jsonl": encode_jsonl}
FORMATS = ("default", "laion")


def open_sink(
    path: Path, *, format: str = "default", metadata: Mapping[str, str], embeddings: bool = False
) -> GrowingTable:
    """Open an output file for rows; the suffix .parquet, .csv or .jsonl tells its kind. `format` "laion" is for .jsonl.

    Its partial file is made at once, so that a folder that cannot be written is known before anything is scored.
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
    encode, kind = _ENCODERS[suffix], suffix.removeprefix(".")
    if format == "laion":
        if suffix != ".jsonl":
            raise OptionError(f"format 'laion' is JSON lines, and {path.name!r} is not; name it .jsonl")
        if embeddings:
            raise OptionError("format 'laion' has no place for embeddings; use the default format for them")
        encode, kind = encode_laion, format

    def arrow(scores: Scores) -> "pyarrow.Table":
        if embeddings and scores.embeddings is None:
            raise OptionError(
                f"{path} was opened with embeddings=True, but these scores have none; "
                "rows without scores need a row of NaN there"
            )
        table = scores.to_arrow()
        return table if embeddings or scores.embeddings is None else table.drop_columns(["embedding"])

    facts = file_metadata(metadata)
    if encode is None:
        return ParquetTable(path, facts, arrow, dictionary=("status", "reason"))
    return TextTable(path, facts | {"emonet_fast.format": kind}, arrow, encode)
