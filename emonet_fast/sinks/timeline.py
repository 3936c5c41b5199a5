"""The kinds of files that hold a time line, by their suffixes."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import OptionError
from ..timeline import Timeline
from .coco import CocoJson
from .encoders import encode_csv, encode_jsonl, file_metadata
from .growing import GrowingSink
from .tables import ParquetTable, TextTable
from .webvtt import WebVtt


def open_timeline(path: Path, metadata: Mapping[str, str]) -> GrowingSink:
    """Open an output by its suffix: .parquet, .csv, .jsonl, .json (COCO) or .vtt (WebVTT).

    Raises OptionError when the suffix is another one, or the folder is missing or cannot be written.
    """
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise OptionError(f"cannot tell the kind of output from {path.name!r}; expected one of {', '.join(_KINDS)}")
    return kind(path, file_metadata(metadata))


_KINDS: dict[str, Callable[[Path, Mapping[str, str]], GrowingSink]] = {
    ".parquet": lambda path, metadata: ParquetTable(path, metadata, Timeline.to_arrow, dictionary=True),
    ".csv": lambda path, metadata: TextTable(path, metadata, Timeline.to_arrow, encode_csv),
    ".jsonl": lambda path, metadata: TextTable(path, metadata, Timeline.to_arrow, encode_jsonl),
    ".json": CocoJson,
    ".vtt": WebVtt,
}
