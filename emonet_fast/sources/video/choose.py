"""Opens whatever a user names or hands over as a video; an iterable of (seconds, frame) is a source of its own."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np

from ...errors import InputError
from ...optional import need
from ...options import VideoOptions
from ...records import UInt8Array
from ..memory import array_fault
from .av import AvSource
from .clock import DEFAULT_STEP, Clock
from .convert import Converter, Crop, luma
from .download import Download
from .frames import Fact, Frame, Sampling, Sound, VideoSource
from .raw import RawVideo

# Times come as numbers, not as ticks; a microsecond is FFmpeg's own unit.
_TIME_BASE = Fraction(1, 1_000_000)


class GivenSource(VideoSource):
    """A VideoSource of frames in memory; without sound.

    Args:
        pairs: (seconds, frame) in the order of time. Seconds are numbers of any kind, kept to the microsecond. A frame
            is [H, W, 3] uint8 RGB as a numpy array, an av.VideoFrame, or anything with `__dlpack__` (a torch or CuPy
            array, on the GPU too, which is copied to the host when the frame is sampled).
        sampling: which frames are sampled.
        every: give the frames that are not sampled too, with `chosen` False.
        live: whether the iterable does not wait for its reader.
        cuts: number the scenes between cuts.

    Raises:
        InputError: while iterating, when an item is no such pair.
    """

    def __init__(
        self, pairs: Iterable[Any], sampling: Sampling, *, every: bool = False, live: bool = False, cuts: bool = False
    ) -> None:
        super().__init__("frames", sampling, every, live, cuts)
        self._pairs, self._convert = pairs, Converter(self.facts, Crop())

    def __iter__(self) -> Iterator[Frame | Sound]:
        clock = Clock(DEFAULT_STEP, self.faults)
        for index, item in enumerate(self._pairs):
            if not isinstance(item, (tuple, list)) or len(item) != 2:
                raise InputError(f"item {index} of the frames is {type(item).__name__}; expected (seconds, frame)")
            pts = clock.next(_ticks(index, item[0]), None, _TIME_BASE)
            at = pts * _TIME_BASE
            if self._sampling.over(at):
                return
            scene = 0 if self.cuts is None else self.cuts.scene(self._luma(index, item[1]))
            chosen = self._choice(at, _TIME_BASE)
            if chosen is not None:
                yield Frame(index, pts, _TIME_BASE, partial(self._rgb, index, item[1]), chosen, scene)

    def _rgb(self, index: int, frame: Any) -> UInt8Array:
        array = self._on_host(frame)
        fault = array_fault(array)
        if fault:
            raise InputError(f"frame {index}: {fault}")
        return np.ascontiguousarray(array, np.uint8)

    def _luma(self, index: int, frame: Any) -> UInt8Array:
        """[h, w] brightness: of an array its green, every so many pixels, which alone leave a GPU."""
        if hasattr(frame, "to_ndarray") and hasattr(frame, "pts"):
            return luma(frame)
        shape: Sequence[int] = getattr(frame, "shape", ())
        if len(shape) == 3 and shape[2] == 3 and min(shape) > 0:
            frame = frame[:: max(1, shape[0] // 144), :: max(1, shape[1] // 256)]
        return self._rgb(index, frame)[..., 1]

    def _on_host(self, frame: Any) -> Any:
        """A frame as a numpy array; InputError when it is nothing that can become one."""
        if isinstance(frame, np.ndarray):
            return frame
        if hasattr(frame, "to_ndarray") and hasattr(frame, "pts"):  # an av.VideoFrame
            if frame.interlaced_frame:
                self.facts["interlaced"] = Fact("fields of given frames are left as they are")
            return self._convert(frame, Fraction(1))()
        if hasattr(frame, "__dlpack__"):
            kind = int(frame.__dlpack_device__()[0])
            if kind == 1:  # kDLCPU
                return np.from_dlpack(frame)
            return need("torch", "frames on the GPU").from_dlpack(frame).cpu().numpy()
        raise InputError(
            f"a frame of type {type(frame).__name__} came; expected [H, W, 3] uint8 RGB or an av.VideoFrame"
        )


def _ticks(index: int, seconds: Any) -> int:
    for convert in (Fraction, float):  # a Fraction keeps all digits; a number that is none of Python's becomes a float
        try:
            return round(convert(seconds) / convert(_TIME_BASE))
        except (TypeError, ValueError, OverflowError):
            continue
    raise InputError(f"item {index} of the frames has the time {seconds!r}; expected seconds")


def open_video(
    source: Any,
    options: VideoOptions,
    *,
    every: bool = False,
    threads: int | None = None,
    told: Callable[[int, int | None], None] | None = None,
) -> VideoSource:
    """Open a path, a URL, a camera (`0`, 0, `/dev/video0`), a file object, a PyAV container, or (seconds, frame) pairs.

    every: give the frames that are not sampled, and the sound, too. threads: see AvSource. told: see Download. Raises
    InputError when the source cannot be opened, has no video, or is none of these.
    """
    sampling = Sampling(options.fps, options.start, options.end)
    cuts = options.cuts and (options.track or options.smooth > 0)
    if isinstance(source, int) and not isinstance(source, bool):
        source = str(source)
    if isinstance(source, (str, os.PathLike)) or hasattr(source, "demux") or hasattr(source, "read"):
        where = os.fspath(source) if isinstance(source, os.PathLike) else source
        return AvSource(
            where,
            sampling,
            every=every,
            stream=options.stream,
            live=options.live,
            hardware=options.hardware,
            cuts=cuts,
            threads=threads,
            download=Download(options.max_download, told),
            raw=_raw(options),
        )
    if options.video_size is not None:
        raise InputError("video_size is for raw frames of a file or pipe; frames in memory have their size")
    if isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, dict)):
        return GivenSource(source, sampling, every=every, live=bool(options.live), cuts=cuts)
    raise InputError(
        f"a {type(source).__name__} came as video; expected a path, URL, camera, file object, PyAV container or an "
        "iterable of (seconds, frame)"
    )


def _raw(options: VideoOptions) -> RawVideo | None:
    if options.video_size is None or options.framerate is None:
        return None
    return RawVideo(options.video_size, options.framerate, options.pixel_format)
