"""One HTML page of a video run: for each track a heat map of emotions over time, its strongest lines, and its peaks.

Nothing is executed and nothing loaded: the page's pictures are in it. The look is in `timeline.html`.
"""

import base64
import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from .. import taxonomy
from ..files import PendingFile
from ..records import Float64Array
from ..scores import distinct_notes
from ..sinks.apart import RunOutput
from ..sinks.encoders import SCHEMA_VERSION
from ..timeline import NO_TRACK, Timeline
from .render import MEASURES, publish
from .timeline_collect import BINS, TimelineTotals, Track, Video

_SHOWN_TRACKS = 16
_LINES = 5
_PEAKS = 6
_WIDTH, _HEIGHT = 1000, 160  # of the lines' drawing, in its own units
# Dark to light, even steps to the eye (viridis, matplotlib, CC0).
_SCALE = np.array(
    [(68, 1, 84), (72, 40, 120), (62, 74, 137), (49, 104, 142), (38, 130, 142), (31, 158, 137), (53, 183, 121),
     (110, 206, 88), (181, 222, 43), (253, 231, 37)],
    np.float64,
)  # fmt: skip


class TimelineReport(RunOutput):
    """The page of a video run, written at the end.

    Args:
        path: The page's name.
        title: For people.
        metadata: As in the tables.

    The attribute `facts` holds facts of the run for the page's head: frames, times, speed.

    Raises:
        OptionError: when the folder is missing or cannot be written.
    """

    def __init__(self, path: Path, title: str, metadata: Mapping[str, str]) -> None:
        self.path = path
        self._title, self._metadata = title, {**metadata, "schema_version": SCHEMA_VERSION}
        self._totals = TimelineTotals()
        self._notes: tuple[str, ...] = ()
        self.facts: Mapping[str, str] = {}
        self._file = PendingFile(path)

    def write(self, timeline: Timeline) -> None:
        """Take in some rows, with their crops where peaks are to have pictures."""
        self._totals.add(timeline)
        self._notes = distinct_notes((*self._notes, *timeline.scores.notes))

    @property
    def empty(self) -> bool:
        return not self._totals.videos

    def close(self) -> None:
        """Write the page. Raises EmonetError when the disk refuses."""
        totals = self._totals
        variables = {
            "title": self._title,
            "notes": self._notes,
            "facts_of_run": self.facts,
            "metadata": self._metadata,
            "videos": [self._video(video) for video in totals.videos.values()],
            "left_out": totals.left_out,
            "measure": MEASURES[totals.kind or "raw"],
        }
        publish(self._file, "reports/timeline.html", variables)

    def abort(self) -> None:
        """Give up: nothing is written."""
        self._file.discard()

    def _video(self, video: Video) -> dict[str, object]:
        tracks = sorted(video.tracks.values(), key=lambda t: (-t.rows, t.first))
        shown = sorted(tracks[:_SHOWN_TRACKS], key=lambda t: (t.first, t.number))
        width = video.width or 1.0
        used = min(BINS, int((video.end - video.start) / width) + 1)
        return {
            "video": video,
            "bin": f"{width:.3g} s",
            "ticks": [video.start + part * used * width for part in (0, 0.25, 0.5, 0.75, 1)],
            "tracks": [self._track(track, used) for track in shown],
            "hidden": len(tracks) - len(shown) + video.forgotten,
        }

    def _track(self, track: Track, used: int) -> dict[str, object]:
        counts = track.counts[:used]
        known = counts > 0
        means = np.full((used, len(self._totals.emotions)), np.nan)
        means[known] = track.sums[:used][known] / counts[known, None]
        overall = track.sums.sum(axis=0) / max(1.0, float(track.counts.sum()))
        order = np.argsort(-overall, kind="stable")
        top = float(np.nanmax(means)) if known.any() else 0.0
        emotions = [taxonomy.find(slug).name for slug in self._totals.emotions]
        peaks = sorted(track.peaks.items(), key=lambda item: -item[1].value)
        return {
            "name": "all frames" if track.number == NO_TRACK else f"Face {track.number}",
            "track": track,
            "heat": heat_map(means[:, order]),
            "emotions": [emotions[e] for e in order],
            "top": f"{top:.2f}",
            "lines": self._lines(means, order[:_LINES].tolist(), overall),
            "peaks": [(emotions[e], peak) for e, peak in peaks[:_PEAKS]],
        }

    def _lines(self, means: Float64Array, places: list[int], overall: Float64Array) -> list[dict[str, object]]:
        """The name, the mean and the points of each line; all lines have one scale."""
        known = means[:, places][np.isfinite(means[:, places])]
        low, high = (min(0.0, float(known.min())), float(known.max())) if known.size else (0.0, 1.0)
        return [
            {
                "name": taxonomy.find(self._totals.emotions[place]).name,
                "mean": f"{overall[place]:.2f}",
                "points": polylines((means[:, place] - low) / max(high - low, 1e-9)),
            }
            for place in places
        ]


def heat_map(means: Float64Array) -> str:
    """A base64 PNG of [bins, E] values, one row an emotion: 0 is dark, the largest value light, NaN transparent."""
    known = np.isfinite(means)
    high = float(np.max(means, where=known, initial=0.0))
    low = float(np.min(means, where=known, initial=0.0))
    place = (np.where(known, means, low) - low) / max(high - low, 1e-12) * (len(_SCALE) - 1)
    below = np.minimum(place.astype(int), len(_SCALE) - 2)
    rest = (place - below)[..., None]
    rgb = _SCALE[below] * (1 - rest) + _SCALE[below + 1] * rest
    rgba = np.concatenate([rgb, np.where(known, 255.0, 0.0)[..., None]], axis=2).round().astype(np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgba.transpose(1, 0, 2)), "RGBA").save(out, "PNG", optimize=True)
    return base64.b64encode(out.getvalue()).decode()


def polylines(values: Float64Array) -> tuple[str, ...]:
    """The points of SVG polylines of [bins] values of 0..1, NaN for gaps. A lone bin becomes a short dash."""
    step = _WIDTH / len(values)
    lines = []
    runs: list[slice] = np.ma.clump_unmasked(np.ma.masked_invalid(values))  # type: ignore[no-untyped-call]
    for run in runs:
        x = (np.arange(run.start, run.stop) + 0.5) * step
        y = _HEIGHT - 4 - values[run] * (_HEIGHT - 8)
        if len(x) == 1:
            x, y = x[0] + np.array([-step / 2, step / 2]), np.repeat(y, 2)
        lines.append(" ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True)))
    return tuple(lines)
