"""WebVTT: a cue for each face while its strongest emotion stays the same, for any player's subtitles.

https://www.w3.org/TR/webvtt1/ asks for cues in the order of their starts. So a finished cue waits for those that began
before it, and a cue that would become very long is cut, which bounds what waits.
"""

import re
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import taxonomy
from ..records import Status
from ..text import value_text
from ..timeline import NO_TRACK, Timeline, VideoFacts
from .encoders import warnings_of
from .growing import GrowingSink

# Milliseconds. A cue ends where its face was not seen for longer than _GAP; one of a single frame is _SHORTEST long.
_GAP, _SHORTEST, _LONGEST = 1500, 500, 30_000
_EARLY = "what happens before the time 0 has no place in this format"


@dataclass(slots=True)
class _Cue:
    """What one face shows from start to end, in milliseconds."""

    start: int
    end: int
    track: int
    emotion: str
    value: float

    def text(self, kind: str) -> str:
        who = "" if self.track == NO_TRACK else f"<v Face {self.track}>"
        says = f"{who}{_escaped(taxonomy.find(self.emotion).name)} {value_text(self.value, kind)}"
        return f"{_clock(self.start)} --> {_clock(self.end)}\n{says}\n\n"


class WebVtt(GrowingSink):
    """The subtitles of one video; `rows` counts the scored rows. min_reliability: as of `Scores.ranking`."""

    def __init__(self, path: Path, metadata: Mapping[str, str], min_reliability: float | None = None) -> None:
        super().__init__(path)
        self._min_reliability = min_reliability
        self._open: dict[Hashable, _Cue] = {}  # by track; faces without one by their place in the frame
        self._done: list[_Cue] = []  # in no order
        self._kind = "raw"
        self._latest: int | None = None
        self._gap = _GAP
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
            now = round(float(timeline.seconds[i]) * 1000)
            for face in [f for f, cue in self._open.items() if now - cue.end > self._gap]:
                self._end(face)
            if self._latest is not None and now > self._latest:  # at a slow rate the next frame is no gap
                self._gap = max(_GAP, (now - self._latest) * 3 // 2)
            self._latest = now
            if timeline.scores.status[i] == Status.OK and top[i]:
                self.rows += 1
                track = int(timeline.track[i])
                self._see(timeline.scores.keys[i] if track == NO_TRACK else track, track, now, *top[i][0])
        self._flush()

    def _see(self, face: Hashable, track: int, now: int, emotion: str, value: float) -> None:
        if isinstance(face, str):  # the key of a row, which ends with the face's place in its frame
            face = face.rpartition("::box")[2]
        cue = self._open.get(face)
        if cue is not None:
            cue.end = max(cue.end, now)
            if cue.emotion == emotion and cue.end - cue.start < _LONGEST:
                cue.value = max(cue.value, value)
                return
            now = cue.end
            self._end(face)
        self._open[face] = _Cue(now, now, track, emotion, value)

    def _end(self, face: Hashable) -> None:
        cue = self._open.pop(face)
        if cue.end == cue.start:
            cue.end += _SHORTEST
        if cue.end <= 0:
            self._note(_EARLY)
        else:
            cue.start = max(0, cue.start)
            self._done.append(cue)

    def _flush(self) -> None:
        """Write the finished cues that began no later than any open one."""
        first = min((cue.start for cue in self._open.values()), default=None)
        ready = [cue for cue in self._done if first is None or cue.start <= max(0, first)]
        self._done = [cue for cue in self._done if first is not None and cue.start > max(0, first)]
        if ready:
            ready.sort(key=lambda cue: (cue.start, cue.end, cue.track))
            with self.piece():
                self.file.write("".join(cue.text(self._kind) for cue in ready).encode())

    def _note(self, text: str) -> None:
        if text not in self._notes:
            self._notes.add(text)
            with self.piece():
                self.file.write(f"NOTE {_one_line(text)}\n\n".encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        try:
            for face in list(self._open):
                self._end(face)
            self._flush()
        finally:
            super().close()


def _one_line(text: str) -> str:
    """A comment's text: an arrow would begin a cue, an empty line end the comment."""
    return re.sub(r"\s+", " ", text.replace("\0", "")).replace("-->", "→")


def _escaped(text: str) -> str:
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _clock(ticks: int) -> str:
    return f"{ticks // 3_600_000:02d}:{ticks // 60_000 % 60:02d}:{ticks // 1000 % 60:02d}.{ticks % 1000:03d}"
