"""Video by PyAV (FFmpeg): files, URLs, cameras and open containers, decoded in order on FFmpeg's threads.

Nothing is ever sought: a frame's place is exact only where every frame before it was decoded. What a frame costs when
it is not sampled is its decoding; colours are converted for sampled frames alone.
"""

import logging
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.cuda.device import driver_present
from ..errors import InputError
from ..machine import available_cores
from ..optional import need
from ..records import UInt8Array
from .frames import Faults, Frame, Sampling, Sound

_log = logging.getLogger("emonet_fast")
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.I)
_LIVE_URL = re.compile(r"(rtsps?|rtmps?|udp|rtp|srt|mms[ht]?)://", re.I)
_CAMERA = re.compile(r"\d+|/dev/video\d+")
_TIMEOUT = 10.0  # seconds that a network source or camera may stay silent
# Broken packets in a row after which a source counts as ended: what follows is no video any more.
_MAX_BROKEN = 1000
_DEFAULT_STEP = Fraction(1, 25)


def is_live(where: str) -> bool:
    """Whether a source of that name does not wait for its reader: a camera, or a streaming protocol."""
    return bool(_CAMERA.fullmatch(where) or _LIVE_URL.match(where))


def without_password(where: str) -> str:
    """A URL as it may be shown and written: what stands before the host's @ is taken out."""
    return re.sub(r"^([a-z][a-z0-9+.-]+://)[^/?#]*@", r"\1", where, flags=re.I)


class AvSource:
    """See VideoSource. where: a path, a URL, a camera (`0`, `/dev/video0`), or an open av.container.InputContainer.

    every: give frames that are not sampled too, with chosen False, and audio packets as Sound, for an overlay.
    hardware: try FFmpeg's NVDEC where PyAV was built with it and a GPU is there. threads: of the decoder, None for
    the cores that this process may use.

    Raises:
        MissingPackageError: PyAV is not installed. InputError: it cannot be opened, or has no video.
    """

    def __init__(
        self,
        where: Any,
        sampling: Sampling,
        *,
        every: bool = False,
        live: bool | None = None,
        hardware: bool = False,
        threads: int | None = None,
    ) -> None:
        self._av = need("av", "reading video")
        self._sampling, self._every = sampling, every
        self.faults = Faults()
        self._own = not hasattr(where, "demux")
        self.name = without_password(str(where) if self._own else str(getattr(where, "name", "container")))
        self._container = self._open(str(where), hardware) if self._own else where
        if not self._container.streams.video:
            kinds = sorted({s.type for s in self._container.streams}) or ["nothing"]
            self.close()
            raise InputError(f"{self.name} has no video stream, only {', '.join(kinds)}; expected a video")
        self._stream = self._container.streams.video[0]
        self._stream.thread_type = "AUTO"
        self._stream.codec_context.thread_count = threads or available_cores()
        self.time_base = self._stream.time_base or Fraction(1, 1_000_000)
        length = self._container.duration
        self.duration = None if not length or length < 0 else length / 1_000_000
        self.live = (self._own and is_live(str(where))) if live is None else live
        self.decoder = _decoder_name(self._stream)
        self._kind: tuple[int, int, int] | None = None
        self._matrix: tuple[int, int, int, int] | None = None

    @property
    def audio(self) -> Any:
        """The first audio stream, None without one."""
        return self._container.streams.audio[0] if self._container.streams.audio else None

    @property
    def rate(self) -> Fraction | None:
        """Frames a second as the stream says, which may be wrong: for encoders and estimates only."""
        found: Fraction | None = self._stream.guessed_rate or self._stream.average_rate
        return found

    def _open(self, name: str, hardware: bool) -> Any:
        options: dict[str, Any] = {"timeout": _TIMEOUT} if _URL.match(name) else {}
        target = name
        if _CAMERA.fullmatch(name):
            target = f"/dev/video{name}" if name.isdigit() else name
            options |= {"format": "v4l2", "timeout": _TIMEOUT}
        elif not _URL.match(name):
            path = Path(name)
            if path.is_dir():
                raise InputError(f"{name} is a folder; expected a video file, URL or camera")
            if path.is_file() and path.stat().st_size == 0:
                raise InputError(f"{name} has zero bytes; expected a video")
        if name.startswith(("rtsp://", "rtsps://")):
            options["options"] = {"rtsp_transport": "tcp"}
        if hardware and driver_present():
            opened = self._open_by_nvdec(target, options)
            if opened is not None:
                return opened
        try:
            return self._av.open(target, **options)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            shown = without_password(name)
            raise InputError(f"{shown} cannot be opened as video: {_reason(error, name)}") from None

    def _open_by_nvdec(self, target: str, options: dict[str, Any]) -> Any | None:
        """Opened with FFmpeg's NVDEC, whose frames come back to the host; None, and a line that says so, without it."""
        hwaccel = self._av.codec.hwaccel
        try:
            if "cuda" in hwaccel.hwdevices_available():
                return self._av.open(target, hwaccel=hwaccel.HWAccel("cuda", allow_software_fallback=True), **options)
            _log.info("video is decoded by PyAV on the CPU: this PyAV was built without NVDEC")
        except (self._av.error.FFmpegError, OSError, ValueError, RuntimeError) as error:
            _log.info("video is decoded by PyAV on the CPU: NVDEC cannot be used (%s)", error)
        return None

    def __iter__(self) -> Iterator[Frame | Sound]:
        last: Fraction | None = None
        step = 1 / self.rate if self.rate else _DEFAULT_STEP
        index = -1
        for raw in self._decoded():
            if isinstance(raw, Sound):
                yield raw
                continue
            index += 1
            at, estimated = self._time(raw, last, step)
            self.faults.estimated += estimated
            if last is not None and at > last and not estimated:
                step = at - last
            last = at
            if self._sampling.over(at):
                return
            chosen = self._sampling.take(at)
            if chosen or (self._every and not self._sampling.before(at)):
                base = raw.time_base or self.time_base
                pts = raw.pts if raw.pts is not None else round(at / base)
                yield Frame(index, pts, base, _Rgb(raw, self._aspect(raw), self._turn(raw)), chosen, estimated)

    def _time(self, raw: Any, last: Fraction | None, step: Fraction) -> tuple[Fraction, bool]:
        if raw.pts is not None:
            return raw.pts * (raw.time_base or self.time_base), False
        return (Fraction(0) if last is None else last + step), True

    def _turn(self, raw: Any) -> tuple[int, int, int, int] | None:
        """The frame's display matrix, read anew where its angle or the size changes.

        Not at every frame: PyAV's side data refers to its frame and the frame to it, and such a circle keeps a picture
        in memory until Python's collector comes by; 200 MB were seen.
        """
        kind = (raw.rotation, raw.width, raw.height)
        if kind != self._kind:
            self._kind, self._matrix = kind, display_matrix(raw)
        return self._matrix

    def _aspect(self, raw: Any) -> Fraction:
        found = getattr(raw, "sample_aspect_ratio", None) or self._stream.sample_aspect_ratio
        return Fraction(found) if found else Fraction(1)

    def _decoded(self) -> Iterator[Any]:
        """Frames in presentation order and Sound between them; a broken packet costs its frames, a broken end the rest.

        Audio packets come as Sound when they are met.
        """
        streams = [self._stream, *([self.audio] if self._every and self.audio is not None else [])]
        packets = self._container.demux(*streams)
        in_a_row = 0
        while True:
            try:
                packet = next(packets)
            except (StopIteration, self._av.error.EOFError):
                break
            except self._av.error.BlockingIOError:  # a camera without a new frame yet
                time.sleep(0.001)
                continue
            except (self._av.error.FFmpegError, OSError) as error:
                self.faults.ended = _reason(error, self.name)
                break
            # Not packet.stream_index, which is 0 for the empty packets that flush a decoder.
            if packet.stream.index != self._stream.index:
                if packet.size:
                    yield Sound(packet)
                continue
            try:
                frames = packet.decode()
                in_a_row = 0
            except self._av.error.EOFError:
                break
            except (self._av.error.FFmpegError, ValueError) as error:
                self.faults.broken += 1
                in_a_row += 1
                if in_a_row > _MAX_BROKEN:
                    self.faults.ended = f"{in_a_row} packets in a row could not be decoded ({_reason(error, '')})"
                    break
                continue
            yield from frames
        if self.faults.ended:
            yield from self._flushed()

    def _flushed(self) -> Iterator[Any]:
        """What the decoder still holds after reading failed."""
        try:
            yield from self._stream.codec_context.decode(None)
        except (self._av.error.FFmpegError, ValueError):
            return

    def close(self) -> None:
        """See VideoSource.close. A container that came from outside stays open."""
        if self._own and self._container is not None:
            self._container.close()
        self._container = None


class _Rgb:
    """A decoded frame's pixels, converted when asked for."""

    __slots__ = ("_aspect", "_matrix", "_raw")

    def __init__(self, raw: Any, aspect: Fraction, matrix: tuple[int, int, int, int] | None) -> None:
        self._raw, self._aspect, self._matrix = raw, aspect, matrix

    def __call__(self) -> UInt8Array:
        width, height = square_size(self._raw.width, self._raw.height, self._aspect)
        rgb = self._raw.to_ndarray(format="rgb24", width=width, height=height)
        return np.ascontiguousarray(upright(rgb, self._matrix))


def square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Width and height in square pixels of a frame whose pixels are `aspect` times as wide as high; never smaller."""
    if not Fraction(1, 16) < aspect < 16 or aspect == 1:  # what no camera makes is a wrong tag
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def display_matrix(raw: Any) -> tuple[int, int, int, int] | None:
    """(a, b, c, d) of x' = a x + c y, y' = b x + d y from the frame's side data; None without one."""
    data = raw.side_data
    for i in range(len(data)):
        item = data[i]
        if item.type.name == "DISPLAYMATRIX" and item.buffer_size >= 36:
            a, b, _, c, d = np.frombuffer(bytes(item), np.int32, 5).tolist()
            return a, b, c, d
    return None


def upright(rgb: UInt8Array, matrix: tuple[int, int, int, int] | None) -> UInt8Array:
    """The picture as a player shows it: quarter turns and mirrors of the display matrix; other angles stay."""
    if matrix is None:
        return rgb
    a, b, c, d = matrix
    if abs(b) > abs(a):
        turned = rgb.transpose(1, 0, 2)
        return turned[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
    return rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _decoder_name(stream: Any) -> str:
    name = str(stream.codec_context.name)
    return f"{name} by NVDEC through PyAV" if getattr(stream.codec_context, "is_hwaccel", False) else f"{name} by PyAV"


def _reason(error: Exception, name: str) -> str:
    text = " ".join(str(getattr(error, "strerror", None) or error).split()) or type(error).__name__
    if type(error).__name__ == "InvalidDataError":
        text += " (damaged, cut short, or no video: of an MP4 the index `moov` may be missing)"
    if name.startswith("/dev/video") or name.isdigit():
        text += " (is the camera plugged in, and may this user read it?)"
    elif _URL.match(name):
        text += " (is the address right and the server running?)"
    return text
