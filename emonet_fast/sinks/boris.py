"""BORIS' tabular events (.boris.tsv): two rows for each episode, START and STOP, with the columns that BORIS exports.

The columns and their texts are those of BORIS 10.0.2, Observations > Export events > Tabular events, of one media file
without independent variables and modifiers. What BORIS itself does not know is NA there, and so here.
"""

import codecs
import csv
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from .. import taxonomy
from .encoders import warnings_of
from .episodes import Episode, name_of

COLUMNS = (
    "Observation id",
    "Observation date",
    "Description",
    "Observation duration",
    "Observation type",
    "Source",
    "Time offset (s)",
    "Media duration (s)",
    "FPS",
    "Subject",
    "Behavior",
    "Behavioral category",
    "Behavior type",
    "Time",
    "Media file name",
    "Image index",
    "Image file path",
    "Comment",
)


def write_boris(file: BinaryIO, episodes: list[Episode], source: str, kind: str, metadata: Mapping[str, str]) -> None:
    """Write the events, in the order of time, an end before the beginning that follows it; see EpisodeWriter."""
    ends = [(one.end, 0, one) for one in episodes]
    events = sorted(
        ends + [(one.start, 1, one) for one in episodes], key=lambda event: (event[0], event[1], event[2].face)
    )
    duration = events[-1][0] - events[0][0] if events else 0
    observation = (
        Path(source).stem or source,
        datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "; ".join(warnings_of(metadata)),
        _seconds(duration),
        "Media file(s)",
        f"player #1:{source}",
        "0.0",
        "NA",
        "NA",
    )
    rows = csv.writer(codecs.getwriter("utf-8")(file), dialect="excel-tab")
    rows.writerow(COLUMNS)
    for time, begins, one in events:
        emotion = taxonomy.find(one.emotion)
        what = (name_of(one.face), emotion.name, emotion.group, "START" if begins else "STOP", _seconds(time))
        says = f"{kind} {one.value:.4f}" if begins else ""
        rows.writerow((*observation, *what, source, "NA", "NA", says))


def _seconds(ticks: int) -> str:
    return f"{ticks / 1000:.3f}"
