"""Scored frames to the rows of a Timeline."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ..records import Float64Array, Picture, Status, UInt8Array
from ..scores import Scores
from ..timeline import Timeline
from .faces import FrameFaces
from .smooth import Smoother


def timeline_of(
    name: str,
    frames: Sequence[FrameFaces],
    scores: Scores,
    reused: npt.NDArray[np.bool_],
    *,
    smoother: Smoother | None,
    crops: bool,
) -> Timeline:
    """The time line of some consecutive sampled frames of one video.

    Args:
        name: of the video.
        frames: the frames with their N rows, in order.
        scores: of the N rows.
        reused: [N] bool, which rows took over earlier scores.
        smoother: of the video; None leaves out the smoothed columns.
        crops: keep the pixels of each row's crop.
    """
    rows = [frame.frame for frame in frames for _ in frame.tracks]
    tracks = [track for frame in frames for track in frame.tracks]
    seconds = np.array([row.seconds for row in rows], np.float64)
    return Timeline(
        scores=scores,
        source=name,
        pts=np.array([row.pts for row in rows], np.int64),
        seconds=seconds,
        frame=np.array([row.index for row in rows], np.int64),
        time_bases=tuple(row.time_base for row in rows),
        track=np.array(tracks, np.int64),
        reused=reused,
        smooth=None if smoother is None else _smoothed(smoother, tracks, seconds, scores),
        crops=tuple(crop for frame in frames for crop in _crops(frame.picture)) if crops else (),
    )


def _smoothed(smoother: Smoother, tracks: Sequence[int], seconds: Float64Array, scores: Scores) -> Float64Array:
    smooth = np.full(scores.raw.shape, np.nan)
    for i in np.flatnonzero(scores.ok).tolist():
        smooth[i] = smoother(tracks[i], seconds[i].item(), scores.raw[i].astype(np.float64))
    return smooth


def _crops(picture: Picture) -> list[UInt8Array | None]:
    """The pixels of each row's crop, as far as it lies in the picture."""
    if picture.status != Status.OK:
        return [None]
    rgb = np.asarray(picture.data)
    if not picture.boxes:
        return [rgb]
    parts = [box.inside(rgb.shape[1], rgb.shape[0]) for box in picture.boxes]
    return [None if part is None else rgb[part.top : part.bottom, part.left : part.right] for part in parts]
