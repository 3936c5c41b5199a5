"""Scores of a video's faces with their time: the table that video gives."""

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .records import Float64Array, UInt8Array
from .scores import Scores
from .text import utf8_text

if TYPE_CHECKING:
    import pyarrow

NO_TRACK = -1  # 0 may be an identity of a file of boxes


@dataclass(frozen=True)
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

    scores: Scores
    source: str
    pts: npt.NDArray[np.int64]
    seconds: Float64Array
    frame: npt.NDArray[np.int64]
    time_bases: tuple[Fraction, ...]
    track: npt.NDArray[np.int64]
    reused: npt.NDArray[np.bool_]
    smooth: Float64Array | None = None
    crops: tuple[UInt8Array | None, ...] = ()

    def __len__(self) -> int:
        return len(self.scores)

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
