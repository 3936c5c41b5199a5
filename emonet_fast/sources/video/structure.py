"""What a video file's own structure says: that it is cut short, lacks its index, or is what FFmpeg cannot read."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import RawIOBase
from typing import IO

# Boxes of an MP4 that are looked at, at most.
_MOST = 1_000_000
_MP4 = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"sidx")
_WITHOUT_INDEX = (
    "it has no index (moov), which such a file gets at its end: it was cut short, or something is still writing it"
)


@dataclass(frozen=True, slots=True)
class Structure:
    """What was seen.

    Args:
        fault: what is wrong, for people; "" where nothing is, and of kinds that do not show it.
        size: bytes that are worth reading: without the rest of a box of an MP4 that FFmpeg would refuse all for.
        animated_webp: the file is one, which FFmpeg may not be able to decode.
    """

    fault: str
    size: int
    animated_webp: bool = False


def structure_of(file: IO[bytes] | RawIOBase, size: int) -> Structure:
    """Look at the first `size` bytes of a file that is seekable; its place stays."""
    place = file.tell()

    def at(offset: int, count: int) -> bytes:
        file.seek(offset)
        return file.read(count) or b""

    try:
        head = at(0, 32)
        if head[4:8] in _MP4:
            return _mp4(at, size)
        animated = head[:4] + head[8:16] == b"RIFFWEBPVP8X" and bool(head[20] & 2)
        return Structure(_cut(head, at, size), size, animated)
    finally:
        file.seek(place)


def _mp4(at: Callable[[int, int], bytes], size: int) -> Structure:
    end, kind, indexed = 0, b"", False
    for kind, start, end in _boxes(at, size):
        indexed |= kind in (b"moov", b"moof") and end <= size
        if end > size:
            fault = f"it is cut short: {_bytes(end)} should be there, and {_bytes(size)} are"
            return Structure(fault if indexed else _WITHOUT_INDEX, start if kind == b"moof" else size)
    return Structure("" if indexed else _WITHOUT_INDEX, size)


def _boxes(at: Callable[[int, int], bytes], size: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and stated end of each box at the top of an MP4."""
    start = 0
    for _ in range(_MOST):
        head = at(start, 16)
        if start + 8 > size or len(head) < 8:
            return
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:16], "big") if length == 1 else length or size - start
        yield head[4:8], start, start + max(8, length)
        start += max(8, length)


def _cut(head: bytes, at: Callable[[int, int], bytes], size: int) -> str:
    """How a file that is no MP4 shows that its end is missing, "" where it does not."""
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        stated = 8 + struct.unpack_from("<I", head, 4)[0]
        return f"it is cut short: {_bytes(stated)} should be there, and {_bytes(size)} are" if stated > size else ""
    packet, first = (192, 4) if head[4:5] == b"G" else (188, 0)
    if head[first : first + 1] == b"G" and at(packet + first, 1) == b"G" and at(2 * packet + first, 1) == b"G":
        return f"it is cut short: it ends within a packet of {packet} bytes" if size % packet else ""
    if head[:3] == b"FLV":
        last = int.from_bytes(at(size - 4, 4), "big")  # the size of the last tag, which stands behind it
        whole = 0 < last <= size - 17 and int.from_bytes(at(size - 4 - last, 4)[1:], "big") == last - 11
        return "" if whole else "it is cut short: it ends within a tag"
    if head[:4] == b"GIF8":
        return "" if at(size - 1, 1) == b";" else "it is cut short: its last byte is no end of a GIF"
    return ""


def _bytes(count: int) -> str:
    return f"{count:,} bytes"
