"""Packets of PyAV to frames, and frames to RGB as a player shows them: upright, with square pixels."""

import io
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from ...optional import need
from ...records import UInt8Array
from .colours import Colours, Way
from .frames import Fact

# (a, b, c, d) of x' = a x + c y, y' = b x + d y.
Matrix: TypeAlias = tuple[int, int, int, int]
# FFmpeg's filters to Annex B, which refuse packets that are not whole.
ANNEX_B = {"h264": "h264_mp4toannexb", "hevc": "hevc_mp4toannexb"}
# Names of pixel formats whose first plane is the brightness, and its bits.
_LUMA = re.compile(r"(?:yuv[aj]?4\d\dp|nv12|nv21|gray)(?:(9|10|12|14|16)le)?")


class PacketDecoder:
    """Decodes a video stream of PyAV by libavcodec, on FFmpeg's threads or by the hardware that its container has.

    Another decoder takes this one's place as a subclass. Its pictures have pts and time_base as av.VideoFrame has; they
    may lie in the decoder's own memory and are good until the next one is read.
    """

    def __init__(self, stream: Any) -> None:
        self._context: Any = stream.codec_context

    def decode(self, packet: Any) -> Iterator[Any]:
        """The pictures that an av.Packet of the stream finishes, in the order of presentation; an empty packet flushes.

        Raises FFmpegError or ValueError when the packet cannot be decoded; the next one may be.
        """
        if packet.is_corrupt and self._context.name in ANNEX_B:
            # libavcodec's threads refuse a cut NAL unit late, and PyAV then loses the frames that they hold.
            av = need("av", "reading video")
            av.bitstream.BitStreamFilterContext(ANNEX_B[self._context.name], packet.stream).filter(
                av.Packet(bytes(packet))
            )
        return iter(packet.decode())

    def flush(self) -> Iterator[Any]:
        """The pictures that are still held back."""
        return iter(self._context.decode(None))

    def keep(self, picture: Any) -> Any:
        """The picture as an av.VideoFrame that stays good."""
        return picture

    def luma(self, picture: Any) -> UInt8Array:
        """[h, w] brightness of the picture, perhaps of fewer pixels; good until the next one is read."""
        return luma(picture)

    def close(self) -> None:
        """Let go of the decoder, and give back what is held beside it; may be called twice."""
        self._context = None


def luma(raw: Any) -> UInt8Array:
    """[h, w] brightness of an av.VideoFrame: a view of its own plane, or half its pixels, or a small copy."""
    plane = _LUMA.fullmatch(raw.format.name)
    if plane is None:
        small: UInt8Array = raw.to_ndarray(format="gray", width=min(raw.width, 256), height=min(raw.height, 144))
        return small
    bits = int(plane[1] or 8)
    rows = np.frombuffer(raw.planes[0], np.uint8 if bits == 8 else "<u2").reshape(raw.height, -1)[:, : raw.width]
    return rows if bits == 8 else (rows[::2, ::2] >> (bits - 8)).astype(np.uint8)


@dataclass(frozen=True, slots=True)
class Crop:
    """Pixels of a decoded frame that its container hides at each side (PixelCrop of Matroska, `clap` of MP4)."""

    left: int = 0
    right: int = 0
    top: int = 0
    bottom: int = 0


@dataclass(frozen=True, slots=True)
class Fit:
    """From a decoded frame to square pixels: it becomes `size` (width, height), of which the part `shown` is seen."""

    size: tuple[int, int]
    shown: tuple[slice, slice]

    @classmethod
    def of(cls, width: int, height: int, aspect: Fraction, crop: Crop) -> "Fit":
        """For a frame whose pixels are `aspect` times as wide as high; a crop that leaves nothing is none."""
        inner = width - crop.left - crop.right, height - crop.top - crop.bottom
        if min(inner) < 1:
            crop, inner = Crop(), (width, height)
        square = square_size(*inner, aspect)
        across, down = Fraction(square[0], inner[0]), Fraction(square[1], inner[1])
        x, y = round(crop.left * across), round(crop.top * down)
        size = max(round(width * across), x + square[0]), max(round(height * down), y + square[1])
        return cls(size, (slice(y, y + square[1]), slice(x, x + square[0])))


def crop_of(av: Any, stream: Any) -> Crop:
    """What the container says of a stream's cropping, which libavcodec does not apply.

    PyAV has no way to it; but FFmpeg copies it into a Matroska header, whichever container the stream is from.
    """
    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as copy:
            copy.add_stream_from_template(stream)
            copy.start_encoding()
    except (av.error.FFmpegError, ValueError):  # a codec that Matroska has not
        return Crop()
    data = header.getvalue()
    for element in _TO_VIDEO:
        data = _children(data).get(element, b"")
    sides = _children(data)
    return Crop(**{name: int.from_bytes(sides.get(element, b""), "big") for name, element in _CROPS.items()})


# Of Matroska: Segment, Tracks, TrackEntry, Video; PixelCropLeft, ...
_TO_VIDEO = (0x18538067, 0x1654AE6B, 0xAE, 0xE0)
_CROPS = {"left": 0x54CC, "right": 0x54DD, "top": 0x54BB, "bottom": 0x54AA}


def _children(data: bytes) -> dict[int, bytes]:
    """The elements that stand after each other (RFC 8794), by their identifiers."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        ends = []
        for _ in range(2):  # the identifier, with its length mark, and the size, without it
            length = 9 - data[at].bit_length() if data[at] else 9
            ends.append(int.from_bytes(data[at : at + length], "big"))
            at += length
        size = ends[1] & ((1 << 7 * length) - 1)
        found[ends[0]] = data[at : at + size]  # an unknown size is larger than all that follows
        at += size
    return found


class Converter:
    """Brings the frames of one video to RGB.

    Args:
        facts: takes what had to be decided about the colours.
        crop: what the container hides.

    Attributes:
        rotation: degrees by which a player turns the frames; None before the first one.
    """

    def __init__(self, facts: dict[str, Fact], crop: Crop) -> None:
        self._colours, self._crop = Colours(facts), crop
        self.rotation: int | None = None
        self._turned: tuple[tuple[int, int, int] | None, Matrix | None] = None, None

    def __call__(self, frame: Any, aspect: Fraction) -> Callable[[], UInt8Array]:
        """What makes [H, W, 3] uint8 RGB, upright, of an av.VideoFrame; call it in the order of the frames."""
        fit = Fit.of(frame.width, frame.height, aspect, self._crop)
        return partial(self._rgb, frame, self._colours.way(frame, *fit.size), fit, self._turn(frame))

    def _rgb(self, frame: Any, way: Way, fit: Fit, turn: Matrix | None) -> UInt8Array:
        return np.ascontiguousarray(upright(self._colours.rgb(frame, way, *fit.size)[fit.shown], turn))

    def _turn(self, frame: Any) -> Matrix | None:
        """The frame's display matrix, read anew where its angle or the size changes.

        Not at every frame: PyAV's side data refers to its frame and the frame to it, and such a circle keeps a picture
        in memory until Python's collector comes by; 200 MB were seen.
        """
        kind = (frame.rotation, frame.width, frame.height)
        if kind != self._turned[0]:
            self._turned = kind, display_matrix(frame)
            self.rotation = int(frame.rotation)
        return self._turned[1]


def square_size(width: int, height: int, aspect: Fraction) -> tuple[int, int]:
    """Width and height in square pixels of a frame whose pixels are `aspect` times as wide as high; never smaller."""
    if not Fraction(1, 4) < aspect < 4 or aspect == 1:  # what no camera makes is a wrong tag
        return width, height
    if aspect > 1:
        return round(width * aspect), height
    return width, round(height / aspect)


def display_matrix(raw: Any) -> Matrix | None:
    """The turn of an av.VideoFrame, from its side data; None without one."""
    data = raw.side_data
    for i in range(len(data)):
        item = data[i]
        if item.type.name == "DISPLAYMATRIX" and item.buffer_size >= 36:
            a, b, _, c, d = np.frombuffer(bytes(item), np.int32, 5).tolist()
            return a, b, c, d
    return None


def upright(rgb: UInt8Array, matrix: Matrix | None) -> UInt8Array:
    """The picture after the quarter turns and mirrors of its display matrix; other angles stay."""
    if matrix is None:
        return rgb
    a, b, c, d = matrix
    if abs(b) > abs(a):
        turned = rgb.transpose(1, 0, 2)
        return turned[:: -1 if b < 0 else 1, :: -1 if c < 0 else 1]
    return rgb[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
