"""Episodes: for how long a face's strongest emotion stays the same: the cues of WebVTT, what ELAN and BORIS get."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol, TypeAlias

from ..text import utf8_text
from ..timeline import NO_TRACK, Timeline
from .encoders import AddColumns
from .streamed import StreamedTable

if TYPE_CHECKING:
    import pyarrow

# Milliseconds. An episode ends where its face was not seen for longer than _GAP; one of a frame is SHORTEST long.
_GAP, SHORTEST = 1500, 500

# A face while it is followed: its track, and where that is NO_TRACK its place in the frame, "" for the whole frame.
Who: TypeAlias = tuple[int, str]


def who(track: int, key: str) -> Who:
    """The face of a row. key: of the row, which ends with its place in the frame where faces were looked for."""
    place = key.rpartition("::box")[2]
    return (track, "") if track != NO_TRACK else (NO_TRACK, place if place.isdigit() else "")


def name_of(face: Who) -> str:
    """What people call a face: Face 3, Box 0 where faces are not followed, Frame where whole frames are scored."""
    track, place = face
    return f"Face {track}" if track != NO_TRACK else f"Box {place}" if place else "Frame"


@dataclass(slots=True)
class Episode:
    """What one face shows from start to end, in milliseconds. value: the largest of its strongest emotion."""

    start: int
    end: int
    face: Who
    emotion: str
    value: float


class Episodes:
    """Finds the episodes in rows that come in the order of time.

    Args:
        longest: milliseconds after which an episode is cut; None cuts none.

    Attributes:
        open: the episodes that go on, by their faces.
        done: the others, in no order; who takes them removes them.
    """

    def __init__(self, longest: int | None = None) -> None:
        self.open: dict[Who, Episode] = {}
        self.done: list[Episode] = []
        self._longest = longest
        self._latest: int | None = None
        self._gap = _GAP

    def at(self, seconds: float) -> None:
        """Take in that a frame of this time follows, whatever it shows."""
        now = round(seconds * 1000)
        for face in [f for f, one in self.open.items() if now - one.end > self._gap]:
            self._end(face)
        if self._latest is not None and now > self._latest:  # at a slow rate the next frame is no gap
            self._gap = max(_GAP, (now - self._latest) * 3 // 2)
        self._latest = now

    def see(self, face: Who, emotion: str, value: float) -> None:
        """Take in the strongest emotion of a face in the latest frame."""
        assert self._latest is not None  # noqa: S101 (at() comes first)
        start = now = self._latest
        one = self.open.get(face)
        if one is not None:
            one.end = max(one.end, now)
            if one.emotion == emotion and (self._longest is None or one.end - one.start < self._longest):
                one.value = max(one.value, value)
                return
            start = one.end
            self._end(face)
        self.open[face] = Episode(start, start, face, emotion, value)

    def finish(self) -> None:
        """End all episodes, as no frame follows."""
        for face in list(self.open):
            self._end(face)

    def _end(self, face: Who) -> None:
        one = self.open.pop(face)
        if one.end == one.start:
            one.end += SHORTEST
        self.done.append(one)


class EpisodeWriter(Protocol):
    """Writes a format of episodes.

    Args of its call:
        file: where to.
        episodes: none begins before 0, in the order of their starts.
        source: the video's name.
        kind: what emotions were compared by, as `Scores.value_kind`.
        metadata: facts of the run.
    """

    def __call__(
        self, file: BinaryIO, episodes: list[Episode], source: str, kind: str, metadata: Mapping[str, str]
    ) -> None: ...


class EpisodeEncoder:
    """Makes a file of episodes of the rows that `EpisodeFile` keeps. Only the episodes are in memory."""

    def __init__(self, write: EpisodeWriter, file: BinaryIO) -> None:
        self._write, self._file = write, file
        self._episodes = Episodes()
        self._source, self._kind = "", "raw"
        self._metadata: dict[str, str] = {}

    def write(self, table: "pyarrow.Table") -> None:
        if not self._metadata:
            self._metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        for row in table.to_pylist() if "emotion" in table.column_names else ():  # a run without rows has no columns
            self._source, self._kind = row["source"], row["kind"]
            self._episodes.at(row["seconds"])
            if row["emotion"] is not None:
                self._episodes.see((row["track"], row["place"]), row["emotion"], row["value"])

    def finish(self) -> None:
        self._episodes.finish()
        self._write(self._file, list(_from_zero(self._episodes.done)), self._source, self._kind, self._metadata)

    def abandon(self) -> None: ...


def _from_zero(episodes: list[Episode]) -> Iterator[Episode]:
    """In the order of their starts; what lies before the time 0 has no place in these formats."""
    for one in sorted(episodes, key=lambda one: (one.start, one.end, one.face)):
        if one.end > 0:
            one.start = max(0, one.start)
            yield one


class EpisodeFile(StreamedTable):
    """A file of the episodes of one video, made at the end of the run; until then its partial file has the rows.

    Args:
        path, metadata: as of GrowingTable.
        write: of the format.
        min_reliability: as of `Scores.ranking`.
    """

    def __init__(
        self, path: Path, metadata: Mapping[str, str], write: EpisodeWriter, min_reliability: float | None = None
    ) -> None:
        super().__init__(path, metadata, partial(_strongest, min_reliability), partial(EpisodeEncoder, write))

    def annotate(self, add: AddColumns, facts: Mapping[str, str]) -> None:
        """Rows are ranked as they come, as in WebVTT: a population that is known at the end comes too late."""


def _strongest(min_reliability: float | None, timeline: Timeline) -> "pyarrow.Table":
    """Of each row what episodes are made of."""
    import pyarrow as pa

    scores = timeline.scores
    top = scores.top(1, min_reliability=min_reliability)
    best: list[tuple[str | None, float | None]] = [one[0] if one else (None, None) for one in top]
    faces = [who(int(track), key) for track, key in zip(timeline.track, scores.keys, strict=True)]
    rows = len(timeline)
    return pa.table(
        {
            "source": pa.array([utf8_text(timeline.source)] * rows, pa.string()),
            "seconds": pa.array(timeline.seconds, pa.float64()),
            "track": pa.array([track for track, _ in faces], pa.int64()),
            "place": pa.array([place for _, place in faces], pa.string()),
            "emotion": pa.array([emotion for emotion, _ in best], pa.string()),
            "value": pa.array([value for _, value in best], pa.float64()),
            "kind": pa.array([scores.value_kind] * rows, pa.string()),
        }
    )
