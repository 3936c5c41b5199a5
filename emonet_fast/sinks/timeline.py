"""The kinds of files that hold a time line, by their suffixes."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from ..errors import OptionError
from ..timeline import Timeline
from .boris import write_boris
from .coco import CocoJson
from .elan import write_eaf
from .encoders import file_metadata
from .episodes import EpisodeEncoder, EpisodeFile, EpisodeWriter
from .growing import GrowingSink
from .tables import SUFFIXES, open_rows
from .tables import recover as recover_rows
from .webvtt import WebVtt

# Kinds that say nothing of which video a row is of.
ONE_VIDEO = (".json", ".vtt", ".eaf", ".boris.tsv")


def open_timeline(
    path: Path,
    metadata: Mapping[str, str],
    *,
    excel: bool = False,
    min_reliability: float | None = None,
    annotated: bool = False,
) -> GrowingSink:
    """Open an output by its suffix: a table (see `open_rows`) or one of ONE_VIDEO: COCO, WebVTT, ELAN, BORIS.

    Args:
        path, metadata: as of GrowingTable.
        excel, annotated: as of `open_rows`; `excel` is for .csv alone.
        min_reliability: of what all but COCO show, as of `Scores.ranking`; COCO lists all emotions.

    Raises:
        OptionError: when the suffix is another one, or the folder is missing or cannot be written.
    """
    suffix, facts = path.suffix.lower(), file_metadata(metadata)
    if suffix == ".vtt":
        return WebVtt(path, facts, min_reliability)
    if suffix == ".json":
        return CocoJson(path, facts)
    write = _episodes(path)
    if write is not None:
        return EpisodeFile(path, facts, write, min_reliability)
    if suffix in SUFFIXES:
        return open_rows(
            path, facts, Timeline.to_arrow, dictionary=True, excel=excel and suffix == ".csv", annotated=annotated
        )
    kinds = ", ".join((*SUFFIXES, *ONE_VIDEO))
    raise OptionError(f"cannot tell the kind of output from {path.name!r}; expected one of {kinds}")


def one_video(path: Path) -> bool:
    """Whether a file of this name holds one video."""
    return path.name.lower().endswith(ONE_VIDEO)


def recover(path: Path) -> int | None:
    """As `tables.recover`, of every kind that `open_timeline` opens."""
    write = _episodes(path)
    return recover_rows(path, None if write is None else partial(EpisodeEncoder, write))


def _episodes(path: Path) -> EpisodeWriter | None:
    """What writes a file of this name, where it is made of episodes."""
    name = path.name.lower()
    if name.endswith(".eaf"):
        return partial(write_eaf, folder=path.parent)
    return write_boris if name.endswith(".boris.tsv") else None
