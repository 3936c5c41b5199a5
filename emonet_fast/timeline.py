"""Scores of a video's faces with their time: the table that video gives."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .records import Float64Array, UInt8Array
from .text import counted, shorten_middle, utf8_text, visible

if TYPE_CHECKING:
    import pyarrow

    from .scores import Scores

NO_TRACK = -1  # 0 may be an identity of a file of boxes
# Keys of metadata: colours that were guessed or mapped, fields that were made one picture, pixels that were hidden.
FACTS = ("colours", "interlaced", "cropped")
_NAMED = 20  # videos that a file's metadata tells of


@dataclass(frozen=True, eq=False, repr=False)
class Timeline:
    """Some consecutive rows of one video: one for each face of a sampled frame, one for a frame without any.

    Args:
        scores: N rows with the boxes of their faces.
        source: The video's name.
        pts: [N] int64, times in units of time_bases.
        seconds: [N] float64, pts x time_base.
        frame: [N] int64, the number of frames that were decoded before this one.
        time_bases: N fractions of a second.
        track: [N] int64, the number of the face while it is followed; NO_TRACK where there is none.
        reused: [N] bool, whether the scores are those of the track's last scored crop.
        smooth: [N, D] float64, `scores.raw` smoothed, NaN where there is none. None means without smoothing.
        crops: N pictures [h, w, 3] uint8 RGB for thumbnails, or None for a row without; empty where nobody needs them.
    """

    scores: "Scores"
    source: str
    pts: npt.NDArray[np.int64]
    seconds: Float64Array
    frame: npt.NDArray[np.int64]
    time_bases: tuple[Fraction, ...]
    track: npt.NDArray[np.int64]
    reused: npt.NDArray[np.bool_]
    smooth: Float64Array | None = None
    crops: tuple[UInt8Array | None, ...] = ()

    def __repr__(self) -> str:
        when = f", {self.seconds[0]:.2f} to {self.seconds[-1]:.2f} s" if len(self) else ""
        return f"<Timeline {counted(len(self), 'row')} of {shorten_middle(visible(self.source), 40)}{when}>"

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def facts(self) -> dict[str, str]:
        """What was decided about the video's pixels until now, of FACTS; it stands in `scores.metadata` too."""
        return {name: self.scores.metadata[name] for name in FACTS if name in self.scores.metadata}

    def to_arrow(self) -> "pyarrow.Table":
        """Returns a pyarrow table: source, seconds, pts, time_base, frame, track, reused, the columns of Scores,
        smooth_<dim>. A cell is null where there is no value, as in `Scores.to_arrow`.
        """
        import pyarrow as pa

        n = len(self)
        arrays: dict[str, Any] = {
            "source": pa.array([utf8_text(self.source)] * n, pa.string()),
            "seconds": pa.array(self.seconds, pa.float64()),
            "pts": pa.array(self.pts, pa.int64()),
            "time_base": pa.array([str(base) for base in self.time_bases], pa.string()),
            "frame": pa.array(self.frame, pa.int64()),
            "track": pa.array(self.track, pa.int64(), mask=self.track == NO_TRACK),
            "reused": pa.array(self.reused, pa.bool_()),
        }
        table = self.scores.to_arrow()
        arrays |= dict(zip(table.column_names, table.columns, strict=True))
        if self.smooth is not None:
            for i, name in enumerate(self.scores.names):
                column = self.smooth[:, i]
                arrays[f"smooth_{name}"] = pa.array(column, pa.float64(), mask=~np.isfinite(column))
        return pa.table(arrays).replace_schema_metadata(table.schema.metadata)

    def to_dicts(self) -> list[dict[str, Any]]:
        """Returns one flat dict for each row, with the names of the columns."""
        rows: list[dict[str, Any]] = self.to_arrow().to_pylist()
        return rows


class VideoFacts:
    """The facts of all videos whose rows come into one file."""

    def __init__(self) -> None:
        self._by_name: dict[str, dict[str, str]] = {}
        self._sources: set[str] = set()

    def add(self, timeline: Timeline) -> bool:
        """Take in the facts of some rows; says whether there is news."""
        if len(self._sources) <= _NAMED:
            self._sources.add(timeline.source)
        news = False
        for name, fact in timeline.facts.items():
            of = self._by_name.setdefault(name, {})
            if of.get(timeline.source) != fact and (timeline.source in of or len(of) <= _NAMED):
                of[timeline.source], news = fact, True
        return news

    @property
    def metadata(self) -> dict[str, str]:
        """Texts by the names of FACTS; with the videos' names where there are several."""
        texts = {}
        for name, of in self._by_name.items():
            told = [fact if len(self._sources) == 1 else f"{source}: {fact}" for source, fact in of.items()]
            texts[name] = utf8_text("; ".join([*told[:_NAMED], *(["and others"] if len(told) > _NAMED else [])]))
        return texts
