"""WebVTT: a cue for each face while its strongest emotion stays the same, for any player's subtitles.

https://www.w3.org/TR/webvtt1/ asks for cues in the order of their starts. So a finished cue waits for those that began
before it, and a cue that would become very long is cut, which bounds what waits.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from .. import taxonomy
from ..records import Status
from ..text import value_text
from ..timeline import NO_TRACK, Timeline, VideoFacts
from .encoders import warnings_of
from .episodes import Episode, Episodes, name_of, who
from .growing import GrowingSink

_LONGEST = 30_000  # milliseconds
_EARLY = "what happens before the time 0 has no place in this format"


class WebVtt(GrowingSink):
    """The subtitles of one video; `rows` counts the scored rows. min_reliability: as of `Scores.ranking`."""

    def __init__(self, path: Path, metadata: Mapping[str, str], min_reliability: float | None = None) -> None:
        super().__init__(path)
        self._min_reliability = min_reliability
        self._episodes = Episodes(_LONGEST)
        self._kind = "raw"
        self._facts = VideoFacts()
        self._notes: set[str] = set()
        with self.piece():
            self.file.write(b"WEBVTT\n\n")
        for warning in warnings_of(metadata):
            self._note(warning)

    def write(self, timeline: Timeline) -> None:
        if self._facts.add(timeline):
            for name, fact in self._facts.metadata.items():
                self._note(f"{name}: {fact}")
        top, self._kind = timeline.scores.top(1, min_reliability=self._min_reliability), timeline.scores.value_kind
        for i in range(len(timeline)):
            self._episodes.at(float(timeline.seconds[i]))
            if timeline.scores.status[i] == Status.OK and top[i]:
                self.rows += 1
                self._episodes.see(who(int(timeline.track[i]), timeline.scores.keys[i]), *top[i][0])
        self._flush()

    def _flush(self) -> None:
        """Write the finished cues that began no later than any open one."""
        episodes = self._episodes
        if any(one.end <= 0 for one in episodes.done):
            self._note(_EARLY)
        for one in episodes.done:
            one.start = max(0, one.start)
        first = min((one.start for one in episodes.open.values()), default=None)
        ready = [one for one in episodes.done if one.end > 0 and (first is None or one.start <= max(0, first))]
        episodes.done = [one for one in episodes.done if first is not None and one.start > max(0, first)]
        if ready:
            ready.sort(key=lambda one: (one.start, one.end, one.face))
            with self.piece():
                self.file.write("".join(_cue(one, self._kind) for one in ready).encode())

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.add(text)
            with self.piece():
                self.file.write(f"NOTE {_one_line(text)}\n\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        try:
            self._episodes.finish()
            self._flush()
        finally:
            super().close()


def _cue(one: Episode, kind: str) -> str:
    voice = "" if one.face[0] == NO_TRACK else f"<v {name_of(one.face)}>"
    says = f"{voice}{_escaped(taxonomy.find(one.emotion).name)} {value_text(one.value, kind)}"
    return f"{_clock(one.start)} --> {_clock(one.end)}\n{says}\n\n"


def _one_line(text: str) -> str:
    """A comment's text: an arrow would begin a cue, an empty line end the comment."""
    return re.sub(r"\s+", " ", text.replace("\0", "")).replace("-->", "→")


def _escaped(text: str) -> str:
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(ticks: int) -> str:
    return f"{ticks // 3_600_000:02d}:{ticks // 60_000 % 60:02d}:{ticks // 1000 % 60:02d}.{ticks % 1000:03d}"
