"""The kinds of files that hold a time line, by their suffixes."""

from collections.abc import Mapping
from pathlib import Path

from ..errors import OptionError
from ..timeline import Timeline
from .coco import CocoJson
from .encoders import file_metadata
from .growing import GrowingSink
from .tables import SUFFIXES, open_rows
from .webvtt import WebVtt


def open_timeline(
    path: Path,
    metadata: Mapping[str, str],
    *,
    excel: bool = False,
    min_reliability: float | None = None,
    annotated: bool = False,
) -> GrowingSink:
    """Open an output by its suffix: a table (see `open_rows`), .json (COCO) or .vtt (WebVTT).

    Args:
        path, metadata: as of GrowingTable.
        excel, annotated: as of `open_rows`; `excel` is for .csv alone.
        min_reliability: of what WebVTT shows, as of `Scores.ranking`; COCO lists all emotions.

    Raises:
        OptionError: when the suffix is another one, or the folder is missing or cannot be written.
    """
    suffix, facts = path.suffix.lower(), file_metadata(metadata)
    if suffix == ".vtt":
        return WebVtt(path, facts, min_reliability)
    if suffix == ".json":
        return CocoJson(path, facts)
    if suffix in SUFFIXES:
        return open_rows(
            path, facts, Timeline.to_arrow, dictionary=True, excel=excel and suffix == ".csv", annotated=annotated
        )
    kinds = ", ".join((*SUFFIXES, ".json", ".vtt"))
    raise OptionError(f"cannot tell the kind of output from {path.name!r}; expected one of {kinds}")
