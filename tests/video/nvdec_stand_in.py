"""A stand-in for NVIDIA's hardware: a module like PyNvVideoCodec 2, in which libavcodec decodes the Annex B packets.

It fakes the hardware and the binding, not our code, and does what their sources say: it reads the packet from the
address, carries the time, gives pictures in order of presentation as NV12 in memory that the next packet overwrites,
shows pictures whose references are missing, and scales a new size to the first one. What NVDEC itself does with
damaged packets cannot be known here.
"""

# ruff: noqa: N802, N815, N816, N818 (the names are NVIDIA's)

import ctypes
from enum import IntEnum
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from emonet_fast.sources.video import nvdec, opening
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Sampling

from .making import av

cudaVideoCodec = IntEnum("cudaVideoCodec", {"H264": 4, "HEVC": 8})
VideoPacketFlag = IntEnum("VideoPacketFlag", {"ENDOFSTREAM": 1})
Pixel_Format = IntEnum("Pixel_Format", {"NV12": 3, "P016": 5})


class PyNvVCException(Exception):
    """Like the binding's, derived from Exception alone."""


class PacketData:
    def __init__(self) -> None:
        self.bsl_data = self.bsl = self.pts = self.decode_flag = 0


class DecodedFrame:
    format = Pixel_Format.NV12

    def __init__(self, pts: int, nv12: np.ndarray) -> None:
        self._pts, self._nv12 = pts, nv12

    def getPTS(self) -> int:
        return self._pts

    def GetPtrToPlane(self, plane: int) -> int:
        assert plane == 0
        return self._nv12.ctypes.data

    def framesize(self) -> int:
        return self._nv12.size


class Decoder:
    def __init__(self, codec: Any) -> None:
        self._context = av.CodecContext.create({4: "h264", 8: "hevc"}[int(codec)], "r")
        self._context.thread_count = 1
        self._context.flags |= 1 << 3  # AV_CODEC_FLAG_OUTPUT_CORRUPT
        self._size: tuple[int, int] | None = None
        self._buffers: list[np.ndarray] = []

    def Decode(self, sent: PacketData) -> list[DecodedFrame]:
        for buffer in self._buffers:
            buffer[:] = 77
        if sent.decode_flag == VideoPacketFlag.ENDOFSTREAM:
            frames = self._context.decode(None)
            self._context.flush_buffers()
        else:
            packet = av.Packet(ctypes.string_at(sent.bsl_data, sent.bsl))
            packet.pts, packet.time_base = sent.pts, Fraction(1, 1000)
            try:
                frames = self._context.decode(packet)
            except av.error.InvalidDataError:
                frames = []
        made = [(int(frame.pts), self._nv12(frame)) for frame in frames]
        self._buffers = [nv12 for _, nv12 in made]
        return [DecodedFrame(pts, nv12) for pts, nv12 in made]

    def _nv12(self, frame: Any) -> np.ndarray:
        self._size = self._size or (frame.width, frame.height)
        if (frame.width, frame.height) != self._size:
            frame = frame.reformat(*self._size)
        planar, height, half = frame.to_ndarray(), frame.height, frame.width // 2
        nv12 = planar.copy()
        nv12[height:] = planar[height:].reshape(2, -1, half).transpose(1, 2, 0).reshape(height // 2, frame.width)
        return nv12


class StandIn:
    """The module, as far as it is used. made: the decoders that were asked for."""

    PacketData, PyNvVCException = PacketData, PyNvVCException
    cudaVideoCodec, VideoPacketFlag, Pixel_Format = cudaVideoCodec, VideoPacketFlag, Pixel_Format

    def __init__(self) -> None:
        self.made: list[Decoder] = []

    def CreateDecoder(self, *, gpuid: int, codec: Any, usedevicememory: bool) -> Decoder:
        assert (gpuid, usedevicememory) == (0, False)
        self.made.append(Decoder(codec))
        return self.made[-1]


def open_by(where: object, nvc: object, sampling: Sampling | None = None, **more) -> AvSource:
    """A source on a machine with a driver and this PyNvVideoCodec; None is a machine without."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(opening, "driver_present", lambda: nvc is not None)
        patched.setattr(nvdec, "library", lambda: nvc)
        return AvSource(str(where), sampling or Sampling(), hardware=True, **more)


def by_nvdec(source: AvSource) -> bool:
    """Whether PyNvVideoCodec decoded the source to its end."""
    return isinstance(source._packets, nvdec.NvdecDecoder) and not source._packets._given_up
