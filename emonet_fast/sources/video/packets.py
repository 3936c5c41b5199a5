"""What turns a stream's packets into pictures: the seam between a source of video and its decoders."""

from collections.abc import Iterator
from typing import Any


class PacketDecoder:
    """Decodes a video stream of PyAV by libavcodec, on FFmpeg's threads or by the hardware that its container has.

    Another decoder takes this one's place as a subclass. Its pictures have pts and time_base as av.VideoFrame has; they
    may lie in the decoder's own memory and are good until the next one is read.
    """

    def __init__(self, stream: Any) -> None:
        self._context = stream.codec_context

    def decode(self, packet: Any) -> Iterator[Any]:
        """The pictures that an av.Packet of the stream finishes, in the order of presentation; an empty packet flushes.

        Raises:
            av.error.FFmpegError, ValueError: when the packet cannot be decoded; the next one may be.
        """
        return iter(packet.decode())

    def flush(self) -> Iterator[Any]:
        """The pictures that are still held back."""
        return iter(self._context.decode(None))

    def keep(self, picture: Any) -> Any:
        """The picture as an av.VideoFrame that stays good."""
        return picture

    def close(self) -> None:
        """Give back what is held beside the stream, which the container owns; may be called twice."""
