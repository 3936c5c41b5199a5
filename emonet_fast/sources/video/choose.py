"""What a user gives as a video, to a VideoSource."""

import os
from collections.abc import Iterable
from typing import Any, TypeAlias

from ...errors import InputError
from ...options import VideoOptions
from .av import AvSource
from .frames import Sampling
from .given import GivenSource

AnySource: TypeAlias = AvSource | GivenSource


def open_video(source: Any, options: VideoOptions, *, every: bool = False, threads: int | None = None) -> AnySource:
    """A path, URL, camera (`0`, 0, `/dev/video0`), open PyAV container, or iterable of (seconds, frame).

    every: give frames that are not sampled, and audio, too.

    Raises:
        InputError: it cannot be opened, has no video, or is none of these. OptionError: fps or times cannot work.
        MissingPackageError: PyAV is not installed.
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
