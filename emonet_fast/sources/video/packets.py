"""What turns a stream's packets into pictures: the seam between a source of video and its decoders."""

from collections.abc import Iterator
from typing import Any, Protocol


class PacketDecoder(Protocol):
    """Pictures of one video stream: with pts, time_base, width, height, rotation and side_data as av.VideoFrame has.

    name: for people.
    """

    name: str

    def decode(self, packet: Any) -> Iterator[Any]:
        """The pictures that an av.Packet of the stream finishes, in order of presentation; an empty one flushes.

        A picture may lie in the decoder's own memory: it is good until the next one is asked for. See keep.

        Raises:
            av.error.FFmpegError, ValueError: the packet cannot be decoded; the next one may be.
        """
        ...

    def flush(self) -> Iterator[Any]:
        """The pictures that are still held back."""
        ...

    def keep(self, picture: Any) -> Any:
        """The picture as an av.VideoFrame that stays good."""
        ...

    def close(self) -> None:
        """Gives back what the decoder holds beside the stream."""
        ...


class AvDecoder:
    """See PacketDecoder: libavcodec, on FFmpeg's threads or by the hardware that the container was opened with."""

    def __init__(self, stream: Any) -> None:
        self._context = stream.codec_context
        name = str(self._context.name)
        by_nvdec = getattr(self._context, "is_hwaccel", False)
        self.name = f"{name} by NVDEC through PyAV" if by_nvdec else f"{name} by PyAV"

    def decode(self, packet: Any) -> Iterator[Any]:
        return iter(packet.decode())

    def flush(self) -> Iterator[Any]:
        return iter(self._context.decode(None))

    def keep(self, picture: Any) -> Any:
        return picture

    def close(self) -> None:
        """The container owns the context."""
