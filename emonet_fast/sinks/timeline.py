"""The kinds of files that hold a time line, by their suffixes."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import OptionError
from ..timeline import Timeline
from .coco import CocoJson
from .encoders import file_metadata
from .growing import GrowingSink
from .tables import SUFFIXES, open_rows
from .webvtt import WebVtt


def open_timeline(path: Path, metadata: Mapping[str, str], *, excel: bool = False) -> GrowingSink:
    """Open an output by its suffix: a table (see `open_rows`), .json (COCO) or .vtt (WebVTT).

    Raises OptionError when the suffix is another one, or the folder is missing or cannot be written.
    """
    suffix, facts = path.suffix.lower(), file_metadata(metadata)
    if suffix in SUFFIXES:
        return open_rows(path, facts, Timeline.to_arrow, dictionary=True, excel=excel and suffix == ".csv")
    if suffix not in _OTHERS:
        kinds = ", ".join((*SUFFIXES, *_OTHERS))
        raise OptionError(f"cannot tell the kind of output from {path.name!r}; expected one of {kinds}")
    return _OTHERS[suffix](path, facts)


_OTHERS: dict[str, Callable[[Path, Mapping[str, str]], GrowingSink]] = {".json": CocoJson, ".vtt": WebVtt}
