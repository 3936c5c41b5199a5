"""NVDEC by PyNvVideoCodec: PyAV's packets go in, pictures with their packets' times come out.

PyAV still demuxes, so what a container says (times, edit lists, display matrix, audio) is read the same way with and
without a GPU. What libavcodec does beside decoding is done here:

- Packets become Annex B, by FFmpeg's own bitstream filter.
- The time goes with the packet through NVDEC and names the packet when its picture comes out, in order of presentation.
  So frames that an edit list hides are left out, and a packet without a time gives a frame without one.
- The first key frame is decoded by libavcodec too. It tells what NVDEC does not: the display matrix, colours, whether
  the picture is interlaced. The same is done, with a new decoder, where a key frame brings another sequence parameter
  set: PyNvVideoCodec itself would scale the new size to the old one.
- Until the first picture comes out the packets are kept. Where NVDEC cannot do it, libavcodec begins with them.

Pictures come in host memory as NV12. Only what is kept is copied, to planar 4:2:0 with all that libavcodec said of the
colours, so that swscale makes the pixels that libavcodec's frames would give. (Of NV12, or without the place of the
chroma samples, it interpolates colours in another way: up to 65 levels apart at hard edges.)

PyNvVideoCodec's interface is that of version 2 (version 1 carried no times).
"""

import ctypes
import importlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from ...optional import EXTRAS, available
from .packets import AvDecoder

_log = logging.getLogger("emonet_fast")
PACKAGE = "PyNvVideoCodec"
# FFmpeg's name: NVIDIA's name, the filter to Annex B, and the first byte's shift, mask and value of a sequence set.
CODECS = {
    "h264": ("H264", "h264_mp4toannexb", (0, 31, 7)),
    "hevc": ("HEVC", "hevc_mp4toannexb", (1, 63, 33)),
}
_FORMATS = ("yuv420p", "yuvj420p")
_PROGRESSIVE = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE
# Packets whose pictures may be pending: a decoder holds back 16 pictures at most, and some more are on their way.
_PENDING = 64


class NoNvdecError(Exception):
    """Why PyNvVideoCodec is not what decodes here."""


def library() -> ModuleType:
    """PyNvVideoCodec.

    Raises:
        NoNvdecError: it is not installed, or does not find the driver's video libraries.
    """
    if not available(PACKAGE):
        raise NoNvdecError(f"{PACKAGE} is not installed: pip install 'emonet-fast[{EXTRAS[PACKAGE]}]'")
    try:
        return importlib.import_module(PACKAGE)
    except Exception as error:  # RuntimeError where the driver's libraries are missing, ImportError for others
        raise NoNvdecError(f"{PACKAGE} cannot be used: {_said(error)}") from None


def unsuited(stream: Any) -> str:
    """Why a stream is not for this decoder, "" where it is."""
    context = stream.codec_context
    if context.name not in CODECS:
        return f"{PACKAGE} is used for {' and '.join(CODECS)}, and this is {context.name}"
    if context.pix_fmt not in _FORMATS:
        return f"{PACKAGE} is used for 4:2:0 of 8 bits, and this is {context.pix_fmt}"
    if getattr(context, "field_order", 0) not in _PROGRESSIVE:  # PyAV 16 does not say; the first frame will
        return f"{PACKAGE} is used for progressive video, and this is interlaced"
    return ""


def parameter_sets(data: bytes, codec: str) -> frozenset[bytes]:
    """The sequence parameter sets (NAL units) in an Annex B packet of H.264 or HEVC."""
    shift, mask, value = CODECS[codec][2]
    units = data.split(b"\0\0\1")[1:]
    return frozenset(unit.rstrip(b"\0") for unit in units if unit and unit[0] >> shift & mask == value)


@dataclass(frozen=True, slots=True)
class NvdecPicture:
    """A picture in the decoder's memory. address: of its NV12 planes. like: libavcodec's frame of the same sequence."""

    pts: int | None
    time_base: Any
    address: int
    like: Any

    @property
    def width(self) -> int:
        return int(self.like.width)

    @property
    def height(self) -> int:
        return int(self.like.height)

    @property
    def rotation(self) -> int:
        return int(self.like.rotation)

    @property
    def side_data(self) -> Any:
        return self.like.side_data


class NvdecDecoder:
    """See PacketDecoder. stream: for which `unsuited` says nothing. nvc: see `library`."""

    def __init__(self, av: Any, stream: Any, nvc: Any) -> None:
        self._av, self._stream, self._nvc = av, stream, nvc
        self._codec = str(stream.codec_context.name)
        self._filter = av.bitstream.BitStreamFilterContext(CODECS[self._codec][1], stream)
        self._software = AvDecoder(stream)
        self.name = f"{self._codec} by NVDEC through {PACKAGE}"
        self._session: Any = None  # None before the first key frame, and when libavcodec has taken over
        self._given_up = False
        self._sets: frozenset[bytes] = frozenset()
        self._like: Any = None
        self._graph: Any = None  # hands out twins of `_like`
        self._first: int | None = None
        self._waiting: list[Any] | None = []  # the packets of a session without a picture yet
        self._fed: dict[int, tuple[int | None, bool]] = {}  # what NVDEC got as time: the packet's time, and not shown

    def decode(self, packet: Any) -> Iterator[Any]:
        if not packet.size:
            yield from self.flush()
        elif self._given_up or (self._session is None and not packet.is_keyframe):
            yield from self._software.decode(packet)
        else:
            for filtered in self._filter.filter(self._copied(packet)):  # it would take the packet itself away
                try:
                    yield from self._by_nvdec(packet, filtered)
                except NoNvdecError as why:
                    yield from self._give_up(packet, str(why))

    def flush(self) -> Iterator[Any]:
        try:
            yield from self._drained()
        except NoNvdecError as why:
            yield from self._give_up(None, str(why))
        if self._given_up or self._session is None:
            yield from self._software.flush()

    def _by_nvdec(self, packet: Any, filtered: Any) -> Iterator[NvdecPicture]:
        if packet.is_keyframe:
            sets = parameter_sets(bytes(filtered), self._codec)
            if self._session is None or (sets and sets != self._sets):
                yield from self._drained()
                self._begin(packet, sets)
        if self._waiting is not None:
            self._waiting.append(packet)
            if len(self._waiting) > _PENDING:
                raise NoNvdecError(f"NVDEC gave no picture for {_PENDING} packets")
        sent = self._nvc.PacketData()
        sent.bsl_data, sent.bsl = filtered.buffer_ptr, filtered.buffer_size
        sent.pts = self._named(packet)
        yield from self._pictures(sent)

    def _begin(self, packet: Any, sets: frozenset[bytes]) -> None:
        """A decoder for the sequence that begins with this key frame."""
        self._session, self._graph, self._waiting, self._fed = None, None, [], {}
        context = self._stream.codec_context
        if context.is_open:  # what came before the key frame, and its faults, are not this picture's
            context.flush_buffers()
        try:  # by a packet without the flag of an edit list, which would hide its picture
            found = context.decode(self._copied(packet)) + context.decode(None)
        finally:
            context.flush_buffers()
        if not found:
            raise NoNvdecError("its first key frame cannot be decoded by itself")
        self._like = found[0]
        if self._like.format.name not in _FORMATS or self._like.interlaced_frame:
            raise NoNvdecError("it is interlaced, or not 4:2:0 of 8 bits")
        codec = getattr(self._nvc.cudaVideoCodec, CODECS[self._codec][0])
        try:
            self._session = self._nvc.CreateDecoder(gpuid=0, codec=codec, usedevicememory=False)
        except Exception as error:  # PyNvVCException is derived from Exception alone
            raise NoNvdecError(_said(error)) from None
        self._sets, self._first = sets, packet.pts

    def _copied(self, packet: Any) -> Any:
        """The packet's bytes and side data (new extradata of an MP4), without its flags and times."""
        copied = self._av.Packet(bytes(packet))
        for side_data in packet.iter_sidedata():
            copied.set_sidedata(side_data)
        return copied

    def _named(self, packet: Any) -> int:
        """The time that goes with the packet into NVDEC: its own, or the next free number."""
        name = packet.pts if packet.pts is not None else packet.dts if packet.dts is not None else 0
        while name in self._fed:
            name += 1
        self._fed[name] = (packet.pts, bool(packet.is_discard))
        if len(self._fed) > _PENDING:
            del self._fed[next(iter(self._fed))]
        return int(name)

    def _pictures(self, sent: Any) -> Iterator[NvdecPicture]:
        try:
            found = self._session.Decode(sent)
        except Exception as error:  # see _begin
            if self._waiting is not None:
                raise NoNvdecError(_said(error)) from None
            raise ValueError(f"NVDEC: {_said(error)}") from None
        for picture in found:
            name = int(picture.getPTS())
            self._check(picture)
            if self._waiting is not None and name not in self._fed:
                raise NoNvdecError(f"this {PACKAGE} carries no times")
            self._waiting = None
            pts, hidden = self._fed.pop(name, (None, False))
            if not hidden and not self._early(pts):
                yield NvdecPicture(pts, self._stream.time_base, int(picture.GetPtrToPlane(0)), self._like)

    def _early(self, pts: int | None) -> bool:
        """Whether a picture of H.264 is shown before the first key frame: it refers to what never came.

        libavcodec leaves these out. Of HEVC NVIDIA's parser does, and knows those that can be shown.
        """
        if self._first is not None and (self._codec != "h264" or pts is None or pts >= self._first):
            self._first = None
        return self._first is not None

    def _check(self, picture: Any) -> None:
        """Whether a picture is what was asked for."""
        size = self._like.width * self._like.height * 3 // 2
        if picture.format != self._nvc.Pixel_Format.NV12 or picture.framesize() != size:
            raise NoNvdecError(f"NVDEC gave {picture.format} of {picture.framesize()} bytes; expected NV12 of {size}")

    def _drained(self) -> Iterator[NvdecPicture]:
        """What the decoder holds back; it is ready for a new sequence after that."""
        if self._session is not None:
            end = self._nvc.PacketData()
            end.decode_flag = int(self._nvc.VideoPacketFlag.ENDOFSTREAM)
            yield from self._pictures(end)
            if self._waiting:
                raise NoNvdecError("NVDEC gave no picture")

    def _give_up(self, packet: Any, why: str) -> Iterator[Any]:
        """libavcodec goes on, from the packets on that gave no picture yet."""
        _log.info("video is decoded by PyAV on the CPU from here on: %s", why)
        waiting = [*(self._waiting or [])]
        if packet is not None and packet not in waiting:
            waiting.append(packet)
        self.close()
        self._given_up, self.name = True, self._software.name
        fault: Exception | None = None
        for one in waiting:
            try:
                yield from self._software.decode(one)
            except (self._av.error.FFmpegError, ValueError) as error:
                fault = error
        if fault is not None:
            raise fault

    def keep(self, picture: Any) -> Any:
        if not isinstance(picture, NvdecPicture):
            return picture
        height, width = picture.height, picture.width
        raw = (ctypes.c_uint8 * (width * height * 3 // 2)).from_address(picture.address)
        nv12 = np.ctypeslib.as_array(raw).reshape(-1, width)
        colours = nv12[height:].reshape(-1, width // 2, 2)
        frame = self._twin(picture.like)
        for plane, values in zip(frame.planes, (nv12[:height], colours[..., 0], colours[..., 1]), strict=True):
            rows = np.frombuffer(plane, np.uint8)[: plane.line_size * len(values)].reshape(len(values), -1)
            rows[:, : values.shape[1]] = values
        frame.pts, frame.time_base = picture.pts, picture.time_base
        return frame

    def _twin(self, like: Any) -> Any:
        """A frame with memory of its own and all that libavcodec said of colours, which only a filter hands on."""
        if self._graph is None:
            self._graph = self._av.filter.Graph()
            entry = self._graph.add_buffer(
                width=like.width, height=like.height, format=like.format, time_base=self._stream.time_base
            )
            entry.link_to(self._graph.add("buffersink"))
            self._graph.configure()
        self._graph.push(like)
        twin = self._graph.pull()
        twin.make_writable()
        return twin

    def close(self) -> None:
        self._session, self._graph, self._waiting, self._fed = None, None, None, {}


def _said(error: Exception) -> str:
    """What an exception says: of PyNvVideoCodec's, which name function, number, reason and source line, the reason."""
    reason = re.search(r"Error Type : (.*?)(\nat |\Z)", str(error), re.DOTALL)
    lines = [" ".join(reason[1].split())] if reason else str(error).strip().splitlines()
    return (lines or [type(error).__name__])[0]
