"""Frames without a container, as `ffmpeg -f rawvideo` writes them: their size and rate come from outside."""

from dataclasses import dataclass
from typing import Any

from ...errors import InputError


@dataclass(frozen=True, slots=True)
class RawVideo:
    """What FFmpeg must be told of raw frames, by its own names.

    Args:
        video_size: "640x360".
        framerate: frames a second, "25" or "30000/1001".
        pixel_format: "rgb24", "yuv420p", ...
    """

    video_size: str
    framerate: str
    pixel_format: str = "rgb24"

    @property
    def options(self) -> dict[str, str]:
        """Of FFmpeg's demuxer `rawvideo`."""
        return {"video_size": self.video_size, "framerate": self.framerate, "pixel_format": self.pixel_format}

    def check(self, av: Any, name: str) -> None:
        """Raise InputError where FFmpeg has no such pixel format."""
        try:
            av.VideoFormat(self.pixel_format)
        except ValueError:
            raise InputError(
                f"{name}: FFmpeg has no pixel format {self.pixel_format!r}; rgb24 is the usual one"
            ) from None

    def __str__(self) -> str:
        return f"frames of {self.video_size} {self.pixel_format}"

    def fault(self, decoded: bool, partial: bool) -> str:
        """What to say at the end of the frames, "" where all is well.

        decoded: whether a whole frame came. partial: whether the last one was cut.
        """
        if not decoded:
            return f"no whole frame came; expected {self}"
        return f"the last frame is not whole; are these {self}, or was the stream cut?" if partial else ""
