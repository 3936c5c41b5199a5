"""Opens whatever a user names or hands over as a video."""

import os
from collections.abc import Iterable
from typing import Any

from ...errors import InputError
from ...options import VideoOptions
from .av import AvSource
from .frames import Sampling, VideoSource
from .given import GivenSource


def open_video(source: Any, options: VideoOptions, *, every: bool = False, threads: int | None = None) -> VideoSource:
    """Open a video.

    Args:
        source: a path, a URL, a camera (`0`, 0, `/dev/video0`), an open PyAV container, or an iterable of
            (seconds, frame).
        options: which frames are sampled, and how the source is read.
        every: give the frames that are not sampled, and the sound, too.
        threads: CPU threads of the decoder; None takes the cores that this process may use.

    Raises:
        InputError: when it cannot be opened, has no video, or is none of these.
        OptionError: when fps or the times cannot work.
        MissingPackageError: when PyAV is not installed.
    """
    sampling = Sampling(options.fps, options.start, options.end)
    if isinstance(source, int) and not isinstance(source, bool):
        source = str(source)
    if isinstance(source, (str, os.PathLike)) or hasattr(source, "demux"):
        where = os.fspath(source) if isinstance(source, os.PathLike) else source
        return AvSource(where, sampling, every=every, live=options.live, hardware=options.hardware, threads=threads)
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, dict)):
        return GivenSource(source, sampling, every=every, live=bool(options.live))
    raise InputError(
        f"a {type(source).__name__} came as video; expected a path, URL, camera, PyAV container or an iterable of "
        "(seconds, frame)"
    )
