"""One HTML page of a video run: who was seen, and for each track its scales, strongest emotions, heat map and peaks.

Nothing is executed and nothing loaded: the page's pictures are in it. The look is in `timeline.html`.
"""

from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import taxonomy
from ..baseline import Baseline
from ..files import PendingFile
from ..records import Float64Array
from ..reliability import reliable
from ..scores import distinct_notes
from ..sinks.apart import RunOutput
from ..sinks.encoders import SCHEMA_VERSION
from ..text import utf8_text, value_text
from ..timeline import NO_TRACK, Timeline
from .heat import heat_map
from .render import minus, publish, scale_text, switch
from .timeline_collect import BINS, TimelineTotals, Track, Video

_SHOWN_TRACKS = 16
_LINES = 5
_PEAKS = 6
_MEANS = 3  # emotions in a person's summary
_WIDTH, _HEIGHT, _SCALE_HEIGHT = 1000, 160, 84  # of the drawings, in their own units


class TimelineReport(RunOutput):
    """The page of a video run, written at the end.

    Args:
        path: The page's name.
        title: For people.
        metadata: As in the tables.
        min_reliability: Leave emotions out of the means, lines and peaks of which the experts' alpha is lower.

    The attribute `facts` holds facts of the run for the page's head: frames, times, speed. The attribute `baseline` is
    what the page ranks by z against, where the rows do not carry it: a population, or by (source, track) each person's
    own; it may be set until `close`.

    Raises:
        OptionError: when the folder is missing or cannot be written.
    """

    def __init__(
        self, path: Path, title: str, metadata: Mapping[str, str], min_reliability: float | None = None
    ) -> None:
        self.path = path
        self._title, self._metadata = title, {**metadata, "schema_version": SCHEMA_VERSION}
        self._totals = TimelineTotals()
        self._min_reliability = min_reliability
        self._notes: tuple[str, ...] = ()
        self.facts: Mapping[str, str] = {}
        self.baseline: Baseline | Mapping[Hashable, Baseline] | None = None
        self._views: list[dict[str, str]] = []
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
        baseline, facts, notes = self.baseline or totals.baseline, {}, []
        baselines = [baseline] if baseline is None or isinstance(baseline, Baseline) else [*baseline.values()]
        if isinstance(baseline, Baseline):
            facts, notes = baseline.facts, baseline.notes({})
        elif baseline:
            facts = {"baseline": "each person's own rows"}
        self._views = switch(totals.kinds.there(baselines))
        variables = {
            "title": self._title,
            "notes": distinct_notes((*self._notes, *notes)),
            "facts_of_run": self.facts,
            "metadata": self._metadata | facts,
            "views": self._views,
            "videos": [self._video(video, place) for place, video in enumerate(totals.videos.values())],
            "left_out": totals.left_out,
            "smoothed": totals.smoothed,
        }
        publish(self._file, "reports/timeline.html", variables)

    def abort(self) -> None:
        """Give up: nothing is written."""
        self._file.discard()

    def _video(self, video: Video, place: int) -> dict[str, object]:
        tracks = sorted(video.tracks.values(), key=lambda t: (-t.rows, t.first))
        shown = {track.number for track in tracks[:_SHOWN_TRACKS]}
        width = video.width or 1.0
        used = min(BINS, int((video.end - video.start) / width) + 1)
        # The bins end after the last row; a lone frame has one time.
        ticks = [video.start + part * used * width for part in (0, 0.25, 0.5, 0.75, 1)] if used > 1 else [video.start]
        views = []
        for track in sorted(tracks, key=lambda t: (t.first, t.number)):
            anchor = f"v{place}t{track.number}" if track.number in shown else ""
            views.append(self._track(video, track, used) | {"anchor": anchor})
        return {
            "video": video,
            "bin": f"{width:.3g} s" if used > 1 else "one frame",
            "ticks": ticks,
            "tracks": views,
            "hidden": len(tracks) - len(shown),
        }

    def _track(self, video: Video, track: Track, used: int) -> dict[str, Any]:
        counts = track.counts[:used]
        known = counts > 0
        means = np.full((used, track.sums.shape[1]), np.nan)
        means[known] = track.sums[:used][known] / counts[known, None]
        overall = track.sums.sum(axis=0) / max(1.0, float(track.counts.sum()))
        baseline = self.baseline or self._totals.baseline
        if baseline is not None and not isinstance(baseline, Baseline):
            baseline = baseline.get((utf8_text(video.name), track.number))
        return {
            "name": "all frames" if track.number == NO_TRACK else f"Face {track.number}",
            "track": track,
            "scales": self._scales(track, means, overall, used),
            "by": {view["kind"]: self._view(view["kind"], track, means, overall, baseline) for view in self._views},
        }

    def _view(
        self, kind: str, track: Track, means: Float64Array, overall: Float64Array, baseline: Baseline | None
    ) -> dict[str, Any] | None:
        """What is shown of one kind of values; None where a person has no baseline of their own."""
        kinds = self._totals.kinds
        if kind == "z" and not kinds.ranked(baseline):
            return None
        count = 2 * len(kinds.emotions)
        means, overall, best = (kinds.values(kind, of[..., :count], baseline) for of in (means, overall, track.best))
        high = np.max(means, axis=0, where=np.isfinite(means), initial=-np.inf)
        order = np.argsort(-overall, kind="stable").tolist()
        first = len(kinds.emotions) if kind == "softmax" else 0
        allowed = set(reliable(kinds.emotions, self._min_reliability))
        ranked = [e for e in order if kinds.emotions[e] in allowed]
        peaks = [e for e in np.argsort(-best, kind="stable").tolist() if e in ranked and np.isfinite(best[e])]
        return {
            "heat": heat_map(means[:, order], 0.0 if kind == "softmax" else None),
            "emotions": [(kinds.emotions[e], float(high[e])) for e in order],
            "means": [(kinds.emotions[e], float(overall[e])) for e in ranked[:_MEANS]],
            "lines": self._lines(kind, means, ranked[:_LINES], overall),
            "peaks": [(kinds.emotions[e], float(best[e]), track.peaks[first + e]) for e in peaks[:_PEAKS]],
        }

    def _scales(self, track: Track, means: Float64Array, overall: Float64Array, used: int) -> list[dict[str, object]]:
        """What stands above the emotions: for each scale its ends, the smoothed line, and the raw values behind it."""
        plots: list[dict[str, object]] = []
        first = 2 * len(self._totals.kinds.emotions)
        for i, slug in enumerate(self._totals.scales):
            dimension = taxonomy.find(slug)
            lows, highs = track.lows[:used, i], track.highs[:used, i]
            smooth = means[:, first + len(self._totals.scales) + i]
            there = np.isfinite(smooth)
            # The annotators' scale; values beyond it make it longer.
            low = float(np.floor(min(dimension.scale[0], np.min(lows, where=there, initial=0.0))))
            high = float(np.ceil(max(dimension.scale[1], np.max(highs, where=there, initial=0.0))))
            height = high - low
            plots.append(
                {
                    "name": dimension.name,
                    "mean": scale_text(float(overall[first + i]), dimension.scale[0]),
                    "ticks": [minus(f"{v:g}") for v in (high, (low + high) / 2, low)],
                    "zero": f"{_SCALE_HEIGHT * high / height:.1f}" if low < 0 < high else "",
                    "bands": bands((lows - low) / height, (highs - low) / height, _SCALE_HEIGHT),
                    "points": polylines((smooth - low) / height, _SCALE_HEIGHT),
                }
            )
        return plots

    def _lines(self, kind: str, means: Float64Array, places: list[int], overall: Float64Array) -> dict[str, object]:
        """The name, the mean and the points of each of the strongest emotions; all have one scale, with its ends."""
        known = means[:, places][np.isfinite(means[:, places])]
        low, high = (min(0.0, float(known.min())), float(known.max())) if known.size else (0.0, 1.0)
        return {
            "ticks": [minus(value_text(value, kind)) for value in (high, (low + high) / 2, low)],
            "lines": [
                {
                    "slug": self._totals.kinds.emotions[place],
                    "mean": float(overall[place]),
                    "points": polylines((means[:, place] - low) / max(high - low, 1e-9), _HEIGHT),
                }
                for place in places
            ],
        }


def polylines(values: Float64Array, height: int) -> tuple[str, ...]:
    """The points of SVG polylines of [bins] values of 0..1, NaN for gaps. A lone bin becomes a short dash."""
    return tuple(_points(x, y) for x, (y,) in _runs((values,), height))


def bands(lows: Float64Array, highs: Float64Array, height: int) -> tuple[str, ...]:
    """The points of SVG polygons between two lines, as of `polylines`; infinite values are gaps."""
    runs = _runs((np.where(np.isfinite(lows), lows, np.nan), np.where(np.isfinite(highs), highs, np.nan)), height)
    return tuple(_points(np.concatenate([x, x[::-1]]), np.concatenate([low, high[::-1]])) for x, (low, high) in runs)


def _runs(values: tuple[Float64Array, ...], height: int) -> Iterator[tuple[Float64Array, tuple[Float64Array, ...]]]:
    """Places on the drawing of the bins that follow each other: across, and from the top for each of the lines."""
    step = _WIDTH / len(values[0])
    runs: list[slice] = np.ma.clump_unmasked(np.ma.masked_invalid(values[0]))  # type: ignore[no-untyped-call]
    for run in runs:
        x = (np.arange(run.start, run.stop) + 0.5) * step
        y = tuple(height - 4 - one[run] * (height - 8) for one in values)
        if len(x) == 1:
            x, y = x[0] + np.array([-step / 2, step / 2]), tuple(np.repeat(one, 2) for one in y)
        yield x, y


def _points(x: Float64Array, y: Float64Array) -> str:
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
