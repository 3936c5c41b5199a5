"""Video by PyAV (FFmpeg): files, URLs, cameras and open containers, decoded in order on FFmpeg's threads.

The reader never seeks: a frame's index is exact only where every frame before it was decoded. A frame that is not
sampled costs its decoding; colours are converted for sampled frames alone.
"""

import contextlib
import errno
import re
import time
from collections.abc import Callable, Generator, Iterator
from fractions import Fraction
from typing import Any, TypeAlias

from ...errors import InputError
from ...optional import need
from ...process import available_cores
from ...records import UInt8Array
from ...text import without_secrets
from .clock import DEFAULT_STEP, Clock
from .convert import Converter, Crop, PacketDecoder, crop_of
from .download import Download
from .fields import Deinterlacer
from .frames import Fact, Frame, Sampling, Sound, VideoSource
from .names import is_live
from .nvdec import NvdecDecoder
from .opening import Media, open_media, reason_of, to_beginning
from .raw import RawVideo
from .streams import MAX_FRAME, described, video_stream
from .structure import WITHIN

# Broken packets in a row after which a source counts as ended: what follows is no video any more.
_MAX_BROKEN = 1000
_GENERATE_PTS = 1  # AVFMT_FLAG_GENPTS
_UNALIGNED = 1  # AV_CODEC_FLAG_UNALIGNED
_CUT = 1.0  # seconds that are missing at the end of a file that is cut off

# Of a frame: its index, pts, time base, and whether it is sampled, as in Frame; None where it is not given at all.
_Place: TypeAlias = tuple[int, int, Fraction, bool | None, int]


class AvSource(VideoSource):
    """A VideoSource of all that PyAV opens.

    Args:
        where: a path, a URL, a camera (`0`, `/dev/video0`), a file object of bytes, or an open
            av.container.InputContainer. The latter two are read from their beginning and stay open.
        sampling: which frames are sampled.
        every: give the frames that are not sampled too, with `chosen` False, and audio packets as Sound.
        stream: the video stream's number within the container; None takes the one that players take.
        live: whether the source does not wait for its reader; None tells it by the name.
        hardware: decode by NVDEC where an NVIDIA driver is there, see opening.py.
        cuts: number the scenes between cuts.
        threads: of PyAV's decoder; None takes the cores that this process may use.
        download: how a file is kept that FFmpeg cannot read as it comes; a live one never is.
        raw: what its frames are where it has no container; None where it says so itself.

    Raises:
        MissingPackageError: when PyAV is not installed.
        InputError: when the source cannot be opened, or has no video.
    """

    def __init__(
        self,
        where: Any,
        sampling: Sampling,
        *,
        every: bool = False,
        stream: int | None = None,
        live: bool | None = None,
        hardware: bool = False,
        cuts: bool = False,
        threads: int | None = None,
        download: Download | None = None,
        raw: RawVideo | None = None,
    ) -> None:
        self._av = need("av", "reading video")
        self._own = not hasattr(where, "demux")
        name = where if isinstance(where, str) else str(getattr(where, "name", "file object"))
        name = "container" if name == "<none>" else name  # PyAV's name of a file object without one
        live = isinstance(where, str) and is_live(name) if live is None else live
        super().__init__(without_secrets(name), sampling, every, live, cuts)
        self._reading: Generator[Any] | None = None
        self._packets: Any = None
        self._partial = False  # whether the last packet of the video is cut
        fetching = None if live else download or Download()
        if raw is not None and not self._own:
            raise InputError(f"{self.name} is an open container, which says its size itself; leave video_size out")
        self._raw = raw
        opened = open_media(self._av, where, name, stream, hardware, fetching, raw) if self._own else Media(where)
        self._media: Media | None = opened
        self._container = opened.container
        self._unsized = opened.unsized
        self.patient = not isinstance(where, str) or opened.local is not None
        try:
            self._stream, note = video_stream(self._container, self.name, stream)
        except InputError:
            self.close()
            raise
        self.faults.notes += [note] if note else []
        # PyAV lets FFmpeg generate presentation times, which it does wrongly for B-frames in AVI.
        self._container.flags &= ~_GENERATE_PTS
        if not self._own:
            to_beginning(self._av, self._container, self._stream, self.name)
        if not self._stream.codec_context.is_open:
            self._stream.thread_type = "AUTO"
            self._stream.codec_context.thread_count = threads or available_cores()
            self._stream.codec_context.options = {"max_pixels": str(MAX_FRAME)}
        # Else a crop that H.264 or HEVC states at the left shrinks to a multiple of 32 pixels.
        self._stream.codec_context.flags |= _UNALIGNED
        crop = crop_of(self._av, self._stream)
        if crop != Crop():
            self.facts["cropped"] = Fact(f"{_listed(crop)}, as the container says")
        self._convert = Converter(self.facts, crop)
        self._fields: Deinterlacer[_Place] = Deinterlacer(self.facts, self._stream.codec_context.thread_count)
        self._time_base = self._stream.time_base or Fraction(1, 1_000_000)
        length = self._container.duration
        self.duration = None if not length or length < 0 else length / 1_000_000
        self.begin = (self._container.start_time or 0) / 1_000_000
        self.audio = self._container.streams.audio[0] if self._container.streams.audio else None
        self.contents = described(self._container, self._stream, self.audio)
        self.rate = self._stream.guessed_rate or self._stream.average_rate
        nvc = opened.nvc
        self._packets = PacketDecoder(self._stream) if nvc is None else NvdecDecoder(self._av, self._stream, nvc)

    def __iter__(self) -> Iterator[Frame | Sound]:
        for item in self._placed():
            if isinstance(item, Sound):
                yield item
            else:
                yield from self._frames(self._fields.put(*item))
        yield from self._frames(self._fields.end())

    def _frames(self, whole: Iterator[tuple[Any, _Place]]) -> Iterator[Frame]:
        for raw, (index, pts, base, chosen, scene) in whole:
            if chosen is not None:
                yield Frame(index, pts, base, self._rgb(raw), chosen, scene)

    def _placed(self) -> Iterator[tuple[Any, _Place] | Sound]:
        """Frames as they were decoded, each with its place, and the sound between them."""
        clock = Clock(1 / self.rate if self.rate else DEFAULT_STEP, self.faults)
        index, at = -1, Fraction(0)
        self._reading = self._decoded()
        for raw in self._reading:
            if isinstance(raw, Sound):
                yield raw
                continue
            index += 1
            base = raw.time_base or self._time_base
            pts = clock.next(raw.pts, getattr(raw, "dts", None), base)
            at = pts * base
            if self._sampling.over(at):
                return
            scene = 0 if self.cuts is None else self.cuts.scene(self._packets.luma(raw))
            yield raw, (index, pts, base, self._choice(at, base), scene)
        if self._raw is not None:
            self.faults.ended = self.faults.ended or self._raw.fault(index >= 0, self._partial)
        elif self._media is not None:
            local = self._media.local
            fault = local.fault(decoded=index >= 0) if local is not None else ""
            self.faults.ended = fault or self.faults.ended or self._cut_off(at)

    def _cut_off(self, end: Fraction) -> str:
        """What to say where the video ends long before its stated end, or within a packet, "" otherwise.

        Matroska alone states how long each stream is; the length of a whole file may be that of its audio.
        """
        stated = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", self._stream.metadata.get("DURATION", ""))
        expected = int(stated[1]) * 3600 + int(stated[2]) * 60 + float(stated[3]) if stated is not None else 0.0
        if expected - end > _CUT:
            return f"it ends at {float(end):.2f} s and should go on to {expected:.2f} s (cut short?)"
        return WITHIN if self._partial else ""

    def _rgb(self, raw: Any) -> Callable[[], UInt8Array]:
        aspect = getattr(raw, "sample_aspect_ratio", None) or self._stream.sample_aspect_ratio
        rgb = self._convert(self._packets.keep(raw), Fraction(aspect or 1))
        self.rotation = self._convert.rotation
        return rgb

    def _decoded(self) -> Generator[Any]:
        """Frames in the order of presentation, and audio packets as Sound where they are met.

        A broken packet costs its frames; what cannot be read any more ends the video.
        """
        streams = [self._stream, *([self.audio] if self.every and self.audio is not None else [])]
        packets = self._container.demux(*streams)
        in_a_row, whole = 0, True
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
                # FFmpeg gives this error at the end of whatever its server ends by hanging up.
                if not (self._unsized and error.errno == errno.EIO):
                    self.faults.ended = reason_of(error, self.name)
                whole = False
                break
            # Not packet.stream_index, which is 0 for the empty packets that flush a decoder.
            if packet.stream.index != self._stream.index:
                if packet.size:
                    yield Sound(packet)
                continue
            self._partial = packet.is_corrupt if packet.size else self._partial
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
                    whole = False
                    break
        if not whole:  # without the packet that makes the decoder give what it still holds
            with contextlib.suppress(self._av.error.FFmpegError, ValueError):
                yield from self._packets.flush()

    def close(self) -> None:
        """See VideoSource. A container that came from outside stays open.

        A decoder's threads end with its last reference, not with its container: so nothing is left here that leads to
        the stream, nor a generator that stopped in the middle.
        """
        if self._reading is not None:
            self._reading.close()
        if self._packets is not None:
            self._packets.close()
        if self._own and self._media is not None:
            self._media.close()
        self._reading = self._media = self._container = self._stream = self.audio = None


def _listed(crop: Crop) -> str:
    sides = [(name, getattr(crop, name)) for name in ("left", "right", "top", "bottom")]
    return "pixels " + ", ".join(f"{number} {name}" for name, number in sides if number)
