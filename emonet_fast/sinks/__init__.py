"""Where scores go: Parquet, CSV, JSON lines, Excel, LAION's JSON lines; of a video also COCO, WebVTT and an overlay."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import OptionError
from .encoders import SCHEMA_VERSION, encode_laion, file_metadata
from .growing import GrowingTable
from .tables import SUFFIXES, open_rows

if TYPE_CHECKING:
    import pyarrow

    from ..scores import Scores

__all__ = ["FORMATS", "SCHEMA_VERSION", "open_sink"]

FORMATS = ("default", "laion")


def open_sink(
    path: Path,
    *,
    format: str = "default",
    metadata: Mapping[str, str],
    embeddings: bool = False,
    excel: bool = False,
    annotated: bool = False,
    carried: "pyarrow.Schema | None" = None,
) -> GrowingTable:
    """Open an output file for rows; its suffix tells its kind (see `open_rows`). `format` "laion" is for .jsonl.

    With `carried`, rows are (Scores, the cells of these columns for each row), which stand after those of the scores.

    Its partial file is made at once, so that a folder that cannot be written is known before anything is scored.
    Raises OptionError then, and when the suffix or the format is unknown.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise OptionError(
            f"cannot tell the kind of output from {path.name!r}; expected a name ending in {', '.join(SUFFIXES)}"
        )
    if format not in FORMATS:
        raise OptionError(f"format is {format!r}; expected one of {', '.join(FORMATS)}")
    if format == "laion":
        if suffix != ".jsonl":
            raise OptionError(f"format 'laion' is JSON lines, and {path.name!r} is not; name it .jsonl")
        if embeddings:
            raise OptionError("format 'laion' has no place for embeddings; use the default format for them")
    if embeddings and suffix == ".xlsx":
        raise OptionError(f"Excel has no place for embeddings; write {path.name!r} as .parquet, or leave them out")

    def arrow(rows: "Scores | tuple[Scores, list[tuple[Any, ...]]]") -> "pyarrow.Table":
        scores, cells = rows if isinstance(rows, tuple) else (rows, [])
        if embeddings and scores.embeddings is None:
            raise OptionError(
                f"{path} was opened with embeddings=True, but these scores have none; "
                "rows without scores need a row of NaN there"
            )
        table = scores.to_arrow()
        if not embeddings and scores.embeddings is not None:
            table = table.drop_columns(["embedding"])
        for at, field in enumerate(carried or () if format == "default" else ()):
            table = table.append_column(field, [[row[at] for row in cells]])
        return table

    facts = file_metadata(metadata)
    if suffix in (".csv", ".jsonl"):
        facts["emonet_fast.format"] = format if format == "laion" else suffix.removeprefix(".")
    encode = encode_laion if format == "laion" else None
    return open_rows(path, facts, arrow, ("status", "reason"), excel=excel, encode=encode, annotated=annotated)
