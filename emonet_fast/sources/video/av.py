"""Video by PyAV (FFmpeg): files, URLs, cameras and open containers, decoded in order on FFmpeg's threads.

Nothing is ever sought: a frame's place is exact only where every frame before it was decoded. What a frame costs when
it is not sampled is its decoding; colours are converted for sampled frames alone.
"""

import re
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from ...errors import InputError
from ...optional import need
from ...process import available_cores
from ...records import UInt8Array
from .frames import Faults, Frame, Sampling, Sound
from .opening import is_live, open_media, packet_decoder, reason_of, without_password

# Broken packets in a row after which a source counts as ended: what follows is no video any more.
_MAX_BROKEN = 1000
_DEFAULT_STEP = Fraction(1, 25)
_CUT = 1.0  # seconds that are missing at the end of a file that is cut off


class AvSource:
    """See VideoSource. where: a path, a URL, a camera (`0`, `/dev/video0`), or an open av.container.InputContainer.

    every: give frames that are not sampled too, with chosen False, and audio packets as Sound, for an overlay.
    hardware: decode by NVDEC where an NVIDIA driver is there, see opening.py. threads: of PyAV's decoder, None for the
    cores that this process may use. nvc: PyNvVideoCodec, where it is imported already.

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
        nvc: Any = None,
    ) -> None:
        self._av = need("av", "reading video")
        self._sampling, self._every = sampling, every
        self.faults = Faults()
        self._own = not hasattr(where, "demux")
        self.name = without_password(str(where) if self._own else str(getattr(where, "name", "container")))
        self._packets: Any = None
        self._container, nvc = open_media(self._av, str(where), hardware, nvc) if self._own else (where, None)
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
        self._packets = packet_decoder(self._av, self._stream, nvc)
        self._kind: tuple[int, int, int] | None = None
        self._matrix: tuple[int, int, int, int] | None = None

    @property
    def decoder(self) -> str:
        """See VideoSource."""
        return str(self._packets.name)

    @property
    def audio(self) -> Any:
        """The first audio stream, None without one."""
        return self._container.streams.audio[0] if self._container.streams.audio else None

    @property
    def rate(self) -> Fraction | None:
        """Frames a second as the stream says, which may be wrong: for encoders and estimates only."""
        found: Fraction | None = self._stream.guessed_rate or self._stream.average_rate
        return found

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
                yield Frame(index, pts, base, self._rgb(raw), chosen, estimated)
        if last is not None and not self.faults.ended:
            self.faults.ended = self._cut_off(last + step)

    def _cut_off(self, end: Fraction) -> str:
        """What to say where the video ends long before its stated end, "" otherwise.

        Of Matroska alone: other containers give an error where they are cut, or state nothing that edits leave true.
        """
        stated = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", self._stream.metadata.get("DURATION", ""))
        if stated is None:
            return ""
        expected = int(stated[1]) * 3600 + int(stated[2]) * 60 + float(stated[3])
        if expected - end <= _CUT:
            return ""
        return f"it ends at {float(end):.2f} s and should go on to {expected:.2f} s (cut short?)"

    def _rgb(self, raw: Any) -> "_Rgb":
        return _Rgb(self._packets.keep(raw), self._aspect(raw), self._turn(raw))

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
                packets = self._container.demux(*streams)  # an error ends PyAV's generator, not the reading
                continue
            except (self._av.error.FFmpegError, OSError) as error:
                self.faults.ended = reason_of(error, self.name)
                break
            # Not packet.stream_index, which is 0 for the empty packets that flush a decoder.
            if packet.stream.index != self._stream.index:
                if packet.size:
                    yield Sound(packet)
                continue
            try:
                yield from self._packets.decode(packet)
                in_a_row = 0
            except self._av.error.EOFError:
                break
            except (self._av.error.FFmpegError, ValueError) as error:
                self.faults.broken += 1
                in_a_row += 1
                if in_a_row > _MAX_BROKEN:
                    self.faults.ended = f"{in_a_row} packets in a row could not be decoded ({reason_of(error, '')})"
                    break
        if self.faults.ended:
            yield from self._flushed()

    def _flushed(self) -> Iterator[Any]:
        """What the decoder still holds after reading failed."""
        try:
            yield from self._packets.flush()
        except (self._av.error.FFmpegError, ValueError):
            return

    def close(self) -> None:
        """See VideoSource.close. A container that came from outside stays open."""
        if self._packets is not None:
            self._packets.close()
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
