"""What turns a stream's packets into pictures: the seam between a source of video and its decoders."""

from collections.abc import Iterator
from typing import Any, Protocol


class PacketDecoder(Protocol):
    """Pictures of one video stream, with pts and time_base as av.VideoFrame has."""

    def decode(self, packet: Any) -> Iterator[Any]:
        """The pictures that an av.Packet of the stream finishes, in the order of presentation; an empty packet flushes.

        A picture may lie in the decoder's own memory and is good until the next one is read. See `keep`.

        Raises:
            av.error.FFmpegError, ValueError: when the packet cannot be decoded; the next one may be.
        """
        ...

    def flush(self) -> Iterator[Any]:
        """The pictures that are still held back."""
        ...

    def keep(self, picture: Any) -> Any:
        """The picture as an av.VideoFrame that stays good."""
        ...

    def close(self) -> None:
        """Give back what the decoder holds beside the stream; may be called twice."""
        ...


class AvDecoder:
    """A PacketDecoder by libavcodec, on FFmpeg's threads or by the hardware that the container was opened with."""

    def __init__(self, stream: Any) -> None:
        self._context = stream.codec_context

    def decode(self, packet: Any) -> Iterator[Any]:
        return iter(packet.decode())

    def flush(self) -> Iterator[Any]:
        return iter(self._context.decode(None))

    def keep(self, picture: Any) -> Any:
        return picture

    def close(self) -> None:
        """The container owns the context."""
