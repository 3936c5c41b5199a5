"""NVDEC by PyNvVideoCodec, version 2: PyAV's packets go in, pictures with their packets' times come out.

PyAV still demuxes, so what a container says is read the same way with and without a GPU. A packet's time goes with it
through NVDEC, so that the picture is known by its packet: frames that an edit list hides are left out. libavcodec
decodes the first key frame of each sequence too, which tells what NVDEC does not, such as colours. A new sequence gets
a new decoder: PyNvVideoCodec itself would scale the new size to the old one.
"""

import ctypes
import importlib
import logging
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from ...optional import EXTRAS, available
from ...records import UInt8Array
from .convert import ANNEX_B, PacketDecoder
from .graphs import filter_graph

_log = logging.getLogger("emonet_fast")
PACKAGE = "PyNvVideoCodec"
# FFmpeg's name: NVIDIA's name, and the first byte's shift, mask and value of a sequence set.
CODECS = {"h264": ("H264", (0, 31, 7)), "hevc": ("HEVC", (1, 63, 33))}
_FORMATS = ("yuv420p", "yuvj420p")
_PROGRESSIVE = (0, 1)  # AV_FIELD_UNKNOWN, AV_FIELD_PROGRESSIVE
# Packets whose pictures may still come: a decoder holds back 16 pictures at most, and some more are on their way.
_PENDING = 64


class NoNvdecError(Exception):
    """Why PyNvVideoCodec is not what decodes here."""


def library() -> ModuleType:
    """PyNvVideoCodec's module; NoNvdecError where it is missing, or does not find the driver's video libraries."""
    if not available(PACKAGE):
        raise NoNvdecError(f"{PACKAGE} is not installed: pip install 'emonet-fast[{EXTRAS[PACKAGE]}]'")
    try:
        return importlib.import_module(PACKAGE)
    except Exception as error:  # RuntimeError where the driver's libraries are missing, ImportError for others
        raise NoNvdecError(f"{PACKAGE} cannot be used: {_reason(error)}") from None


def unsuited(stream: Any) -> str:
    """Why this decoder cannot take a stream, "" where it can."""
    context = stream.codec_context
    if context.name not in CODECS:
        return f"{PACKAGE} is used for {' and '.join(CODECS)}, and this is {context.name}"
    if context.pix_fmt not in _FORMATS:
        return f"{PACKAGE} is used for 4:2:0 of 8 bits, and this is {context.pix_fmt}"
    if getattr(context, "field_order", 0) not in _PROGRESSIVE:  # not every PyAV says; the first frame will
        return f"{PACKAGE} is used for progressive video, and this is interlaced"
    return ""


def parameter_sets(data: bytes, codec: str) -> frozenset[bytes]:
    """The sequence parameter sets (NAL units) in an Annex B packet of H.264 or HEVC."""
    shift, mask, value = CODECS[codec][1]
    units = data.split(b"\0\0\1")[1:]
    return frozenset(unit.rstrip(b"\0") for unit in units if unit and unit[0] >> shift & mask == value)


@dataclass(slots=True)
class _Sequence:
    """A part of the stream with one size and one decoder of PyNvVideoCodec; it begins with a key frame."""

    decoder: Any
    like: Any  # libavcodec's frame of the first key frame
    sets: frozenset[bytes]  # the sequence parameter sets
    first: int | None  # time of the first key frame; None as soon as a picture came that is not earlier
    waiting: list[Any] | None = field(default_factory=list)  # the packets while no picture came, None afterwards
    # Of each time that was given to NVDEC, the packet's own time, and whether its picture is hidden.
    sent: dict[int, tuple[int | None, bool]] = field(default_factory=dict)
    graph: Any = None  # hands out twins of `like`


@dataclass(frozen=True, slots=True)
class NvdecPicture:
    """A picture in the decoder's memory; `address` is where its NV12 planes lie."""

    pts: int | None
    time_base: Any
    address: int
    sequence: _Sequence

    def nv12(self) -> UInt8Array:
        """[H x 3 / 2, W] where it lies."""
        height, width = self.sequence.like.height, self.sequence.like.width
        raw = (ctypes.c_uint8 * (width * height * 3 // 2)).from_address(self.address)
        return np.ctypeslib.as_array(raw).reshape(-1, width)


class NvdecDecoder(PacketDecoder):
    """A PacketDecoder by PyNvVideoCodec (`nvc`), for a stream for which `unsuited` says "". av: PyAV's module."""

    def __init__(self, av: Any, stream: Any, nvc: Any) -> None:
        super().__init__(stream)
        self._av, self._stream, self._nvc = av, stream, nvc
        self._codec = str(self._context.name)
        self._filter = av.bitstream.BitStreamFilterContext(ANNEX_B[self._codec], stream)
        self._sequence: _Sequence | None = None  # None before the first key frame
        self._given_up = False

    def decode(self, packet: Any) -> Iterator[Any]:
        if not packet.size:
            yield from self.flush()
        elif self._given_up or (self._sequence is None and not packet.is_keyframe):
            yield from super().decode(packet)
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
        if self._sequence is None:
            yield from super().flush()

    def _by_nvdec(self, packet: Any, filtered: Any) -> Iterator[NvdecPicture]:
        sequence = self._sequence
        if packet.pts is None and packet.dts is not None:  # AVI: libavcodec alone knows which picture a time is of
            raise NoNvdecError("its container says when pictures are decoded, not when they are shown")
        sets = parameter_sets(bytes(filtered), self._codec) if packet.is_keyframe else frozenset()
        if sequence is None or (sets and sets != sequence.sets):
            yield from self._drained()
            self._sequence = None
            self._sequence = sequence = self._begun(packet, sets)
        if sequence.waiting is not None:
            sequence.waiting.append(packet)
            if len(sequence.waiting) > _PENDING:
                raise NoNvdecError(f"NVDEC gave no picture for {_PENDING} packets")
        data = self._nvc.PacketData()
        data.bsl_data, data.bsl = filtered.buffer_ptr, filtered.buffer_size
        data.pts = _time_sent(packet, sequence.sent)
        yield from self._pictures(sequence, data)

    def _begun(self, packet: Any, sets: frozenset[bytes]) -> _Sequence:
        """The sequence that begins with this key frame."""
        context = self._context
        if context.is_open:  # what came before the key frame, and its faults, are not this picture's
            context.flush_buffers()
        try:  # by a packet without the flag of an edit list, which would hide its picture
            frames = context.decode(self._copied(packet)) + context.decode(None)
        finally:
            context.flush_buffers()
        if not frames:
            raise NoNvdecError("its first key frame cannot be decoded by itself")
        like = frames[0]
        if like.format.name not in _FORMATS or like.interlaced_frame:
            raise NoNvdecError("it is interlaced, or not 4:2:0 of 8 bits")
        codec = getattr(self._nvc.cudaVideoCodec, CODECS[self._codec][0])
        try:
            decoder = self._nvc.CreateDecoder(gpuid=0, codec=codec, usedevicememory=False)
        except Exception as error:  # PyNvVCException is derived from Exception alone
            raise NoNvdecError(_reason(error)) from None
        return _Sequence(decoder, like, sets, packet.pts)

    def _copied(self, packet: Any) -> Any:
        """The packet's bytes and side data (new extradata of an MP4), without its flags and times."""
        copied = self._av.Packet(bytes(packet))
        for side_data in packet.iter_sidedata():
            copied.set_sidedata(side_data)
        return copied

    def _pictures(self, sequence: _Sequence, data: Any) -> Iterator[NvdecPicture]:
        """The pictures that NVDEC gives for the data, but for the hidden ones."""
        try:
            pictures = sequence.decoder.Decode(data)
        except Exception as error:  # see _begun
            if sequence.waiting is not None:
                raise NoNvdecError(_reason(error)) from None
            raise ValueError(f"NVDEC: {_reason(error)}") from None
        for picture in pictures:
            time = int(picture.getPTS())
            self._check(picture, sequence.like)
            if sequence.waiting is not None and time not in sequence.sent:
                raise NoNvdecError(f"this {PACKAGE} carries no times")
            sequence.waiting = None
            pts, hidden = sequence.sent.pop(time, (None, False))
            if not hidden and not self._early(sequence, pts):
                yield NvdecPicture(pts, self._stream.time_base, int(picture.GetPtrToPlane(0)), sequence)

    def _early(self, sequence: _Sequence, pts: int | None) -> bool:
        """Whether a picture of H.264 is shown before the first key frame: it refers to what never came.

        libavcodec leaves these out. Of HEVC NVIDIA's parser does, and knows those that can be shown.
        """
        if sequence.first is not None and (self._codec != "h264" or pts is None or pts >= sequence.first):
            sequence.first = None
        return sequence.first is not None

    def _check(self, picture: Any, like: Any) -> None:
        """Raise NoNvdecError for a picture that is no NV12 or has another size than `like`."""
        size = like.width * like.height * 3 // 2
        if picture.format != self._nvc.Pixel_Format.NV12 or picture.framesize() != size:
            raise NoNvdecError(f"NVDEC gave {picture.format} of {picture.framesize()} bytes; expected NV12 of {size}")

    def _drained(self) -> Iterator[NvdecPicture]:
        """What the decoder holds back; it is ready for a new sequence after that."""
        if self._sequence is not None:
            end = self._nvc.PacketData()
            end.decode_flag = int(self._nvc.VideoPacketFlag.ENDOFSTREAM)
            yield from self._pictures(self._sequence, end)
            if self._sequence.waiting:
                raise NoNvdecError("NVDEC gave no picture")

    def _give_up(self, packet: Any, why: str) -> Iterator[Any]:
        """Let libavcodec go on, beginning with the packets that gave no picture yet."""
        _log.info("video is decoded by PyAV on the CPU from here on: %s", why)
        waiting = [] if self._sequence is None else [*(self._sequence.waiting or [])]
        if packet is not None and packet not in waiting:
            waiting.append(packet)
        self._sequence = None
        self._given_up = True
        fault: Exception | None = None
        for one in waiting:
            try:
                yield from super().decode(one)
            except (self._av.error.FFmpegError, ValueError) as error:
                fault = error
        if fault is not None:
            raise fault

    def keep(self, picture: Any) -> Any:
        # Planar 4:2:0: of NV12 swscale interpolates colours in another way, up to 65 levels apart at hard edges.
        if not isinstance(picture, NvdecPicture):
            return picture
        frame = self._twin(picture.sequence)
        height, width, nv12 = frame.height, frame.width, picture.nv12()
        colours = nv12[height:].reshape(-1, width // 2, 2)
        for plane, values in zip(frame.planes, (nv12[:height], colours[..., 0], colours[..., 1]), strict=True):
            rows = np.frombuffer(plane, np.uint8)[: plane.line_size * len(values)].reshape(len(values), -1)
            rows[:, : values.shape[1]] = values
        frame.pts, frame.time_base = picture.pts, picture.time_base
        return frame

    def luma(self, picture: Any) -> UInt8Array:
        if not isinstance(picture, NvdecPicture):
            return super().luma(picture)
        return picture.nv12()[: picture.sequence.like.height]

    def _twin(self, sequence: _Sequence) -> Any:
        """A frame with memory of its own and all that libavcodec said of colours, which only a filter hands on."""
        if sequence.graph is None:
            sequence.graph = filter_graph(sequence.like)
        sequence.graph.push(sequence.like)
        twin = sequence.graph.pull()
        twin.make_writable()
        return twin

    def close(self) -> None:
        super().close()
        self._sequence = self._filter = self._stream = None


def _time_sent(packet: Any, sent: dict[int, tuple[int | None, bool]]) -> int:
    """The time that goes with the packet into NVDEC: its own, or the next free number. It is noted in `sent`."""
    time = packet.pts if packet.pts is not None else packet.dts if packet.dts is not None else 0
    while time in sent:
        time += 1
    sent[time] = (packet.pts, bool(packet.is_discard))
    if len(sent) > _PENDING:
        del sent[next(iter(sent))]
    return int(time)


def _reason(error: Exception) -> str:
    """The text of an exception. PyNvVideoCodec's name function, number, reason and source line: the reason of those."""
    reason = re.search(r"Error Type : (.*?)(\nat |\Z)", str(error), re.DOTALL)
    lines = [" ".join(reason[1].split())] if reason else str(error).strip().splitlines()
    return (lines or [type(error).__name__])[0]
