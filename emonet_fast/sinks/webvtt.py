"""WebVTT: a cue for each track while its strongest emotion stays the same, for any player's subtitles."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import taxonomy
from ..records import Status
from ..timeline import NO_TRACK, Timeline
from .encoders import warnings_of
from .growing import GrowingSink

# A cue ends where its face was not seen for longer than this.
_GAP = 1.5
# The length of a cue of one frame.
_SHORTEST = 0.5


@dataclass(slots=True)
class _Cue:
    start: float
    end: float
    emotion: str
    value: float


class WebVtt(GrowingSink):
    """The subtitles of one video; `rows` counts the scored rows. Players accept cues in the order of their ends."""

    def __init__(self, path: Path, metadata: Mapping[str, str]) -> None:
        super().__init__(path)
        self._open: dict[int, _Cue] = {}
        with self.piece():
            self.file.write(
                ("WEBVTT\n\n" + "".join(f"NOTE {warning}\n\n" for warning in warnings_of(metadata))).encode()
            )

    def write(self, timeline: Timeline) -> None:
        top = timeline.scores.top(1)
        for i in range(len(timeline)):
            now = float(timeline.seconds[i])
            for track in [t for t, cue in self._open.items() if not -_GAP <= now - cue.end <= _GAP]:
                self._end(track)
            if timeline.scores.status[i] != Status.OK or not top[i]:
                continue
            track = int(timeline.track[i])
            (emotion, value), cue = top[i][0], self._open.get(track)
            self.rows += 1
            if cue is not None:
                cue.end = max(cue.end, now)
                if cue.emotion == emotion:
                    cue.value = max(cue.value, value)
                    continue
                self._end(track)
            self._open[track] = _Cue(now, now, emotion, value)

    def _end(self, track: int) -> None:
        cue = self._open.pop(track)
        start = max(0.0, cue.start)  # WebVTT has no times before 0
        end = max(cue.end, start + _SHORTEST) if cue.end <= cue.start else max(cue.end, start)
        name = taxonomy.find(cue.emotion).name.replace("&", "&amp;")  # WebVTT has HTML's escapes
        who = "" if track == NO_TRACK else f"<v Face {track}>"
        text = f"{_clock(start)} --> {_clock(end)}\n{who}{name} {cue.value:.2f}\n\n"
        with self.piece():
            self.file.write(text.encode())

    def close(self) -> None:
        try:
            for track in list(self._open):
                self._end(track)
        finally:
            super().close()


def _clock(seconds: float) -> str:
    ticks = round(seconds * 1000)
    return f"{ticks // 3_600_000:02d}:{ticks // 60_000 % 60:02d}:{ticks // 1000 % 60:02d}.{ticks % 1000:03d}"
