"""What a video file's own structure says: that it is cut short, lacks its index, or is what FFmpeg cannot read."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

# Gives so many bytes from a place of the file on; fewer at its end.
At: TypeAlias = Callable[[int, int], bytes]
# Boxes of an MP4 that are looked at, at most.
_MOST = 1_000_000
# Bytes at the beginning that hold the headers, or at the end that hold the last packet of a file.
_NEAR = 1 << 17
_MP4 = (b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"wide", b"free", b"skip", b"sidx")
WITHOUT_INDEX = (
    "it has no index (moov), which such a file gets at its end: it was cut short, or something is still writing it"
)
_ANIMATED = "it is an animated WebP, which this FFmpeg cannot decode; convert it to a video first"
WITHIN = "it is cut short: it ends within a packet"
_UNMARKED = "it is cut short: the mark of its end is missing"


@dataclass(frozen=True, slots=True)
class Structure:
    """What was seen.

    Args:
        fault: what is wrong, for people; "" where nothing is, and of kinds that do not show it.
        size: bytes that are worth reading: without the rest of a box of an MP4 that FFmpeg would refuse all for.
        undecoded: what is wrong where FFmpeg decodes no frame of it.
    """

    fault: str
    size: int
    undecoded: str = ""


def structure_of(file: Any, size: int) -> Structure:
    """Look at the first `size` bytes of a file that is seekable; its place stays."""
    place = file.tell()

    def at(offset: int, count: int) -> bytes:
        file.seek(max(0, offset))
        return file.read(max(0, min(count, size - offset))) or b""

    try:
        head = at(0, 400)
        if head[4:8] in _MP4:
            return _mp4(at, size)
        animated = head[:4] + head[8:16] == b"RIFFWEBPVP8X" and len(head) > 20 and head[20] & 2
        look = next((look for magic, look in _LOOKS.items() if re.match(magic, head, re.DOTALL)), None)
        return Structure(look(at, size) if look is not None else "", size, _ANIMATED if animated else "")
    finally:
        file.seek(place)


def media_before_index(at: At, size: int) -> int:
    """Where the media data of an MP4 end whose index (moov) comes behind them, as it has none before; 0 of all else."""
    kinds = at(4, 4) in _MP4
    for kind, _, end in _boxes(at, size) if kinds else ():
        if kind == b"mdat":
            return end
        if kind in (b"moov", b"moof") or end > _NEAR:
            break
    return 0


def _mp4(at: At, size: int) -> Structure:
    indexed = False
    for kind, start, end in _boxes(at, size):
        indexed |= kind in (b"moov", b"moof") and end <= size
        if end > size:
            return Structure(_short(end, size) if indexed else WITHOUT_INDEX, start if kind == b"moof" else size)
    return Structure("" if indexed else WITHOUT_INDEX, size)


def _boxes(at: At, size: int) -> Iterator[tuple[bytes, int, int]]:
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


def _short(stated: int, size: int) -> str:
    return f"it is cut short: {stated:,} bytes should be there, and {size:,} bytes are" if stated > size else ""


def _riff(at: At, size: int) -> str:
    return _short(8 + int.from_bytes(at(4, 4), "little"), size)


def _matroska(at: At, size: int) -> str:
    """By the sizes of the header and the segment (RFC 8794), unless they are unknown, as of a stream."""
    end = 0
    for _ in range(2):
        data = at(end + 4, 8)
        length = 9 - data[0].bit_length() if data else 9
        value = int.from_bytes(data[:length], "big") & (unknown := (1 << 7 * length) - 1)
        if length > len(data) or value == unknown:
            return ""
        end += 4 + length + value
    return _short(end, size)


def _asf(at: At, size: int) -> str:
    """By the object "file properties", unless the file was sent while it was made."""
    properties = at(0, _NEAR).partition(b"\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65")[2]
    sent = len(properties) < 76 or properties[72] & 1
    return "" if sent else _short(int.from_bytes(properties[24:32], "little"), size)


def _mxf(at: At, size: int) -> str:
    """By the place of the last partition, which the first one states once the file is finished."""
    partition = at(16, 60).ljust(60, b"\0")
    value = 1 + (partition[0] & 0x7F if partition[0] & 0x80 else 0)
    last = int.from_bytes(partition[value + 24 : value + 32], "big")
    return _UNMARKED if last >= size else ""


def _ogg(at: At, size: int) -> str:
    """By the last page (RFC 3533)."""
    tail = at(max(0, size - _NEAR), _NEAR)
    page = tail[max(0, tail.rfind(b"OggS")) :]
    sizes = page[27 : 27 + page[26]] if len(page) > 26 else b""
    if not sizes or len(page) < 27 + len(sizes) + sum(sizes):
        return WITHIN
    return "" if page[5] & 4 else _UNMARKED


def _program_stream(at: At, size: int) -> str:
    """By the packets from the last pack's header on (ISO/IEC 13818-1, 11172-1)."""
    tail = at(max(0, size - _NEAR), _NEAR)
    place = tail.rfind(b"\0\0\1\xba")
    while 0 <= place < len(tail) and b"\0\0\1".startswith(tail[place : place + 3]):
        head = tail[place : place + 14].ljust(14, b"\0")
        if head[3] < 0xBA:  # the end, or what is no packet
            return WITHIN if place + 3 >= len(tail) else ""
        if head[3] > 0xBA:
            place += 6 + int.from_bytes(head[4:6], "big")
        else:
            place += 14 + (head[13] & 7) if head[4] & 0xC0 == 0x40 else 12
    return WITHIN if place > len(tail) else ""


def _transport_stream(packet: int) -> Callable[[At, int], str]:
    return lambda at, size: f"{WITHIN} of {packet} bytes" if size % packet else ""


def _flv(at: At, size: int) -> str:
    last = int.from_bytes(at(size - 4, 4), "big")  # the size of the last tag, which stands behind it
    whole = 0 < last <= size - 17 and int.from_bytes(at(size - 4 - last, 4)[1:], "big") == last - 11
    return "" if whole else WITHIN


def _y4m(at: At, size: int) -> str:
    """By the size of a frame, of the usual colours."""
    head = at(0, 200).partition(b"\n")[0]
    tags = {tag[:1]: tag[1:] for tag in head.split(b" ")[1:]}
    colours = re.fullmatch(rb"(420|422|444)(?:jpeg|mpeg2|paldv|p(\d+))?", tags.get(b"C", b"420"))
    if colours is None or not all(tags.get(side, b"").isdigit() for side in (b"W", b"H")):
        return ""
    width, height = int(tags[b"W"]), int(tags[b"H"])
    across = width if colours[1] == b"444" else (width + 1) // 2
    down = (height + 1) // 2 if colours[1] == b"420" else height
    frame = (width * height + 2 * across * down) * (2 if int(colours[2] or 8) > 8 else 1)
    return WITHIN if (size - len(head) - 1) % (len(b"FRAME\n") + frame) else ""


def _marked(mark: bytes) -> Callable[[At, int], str]:
    return lambda at, size: "" if at(size - len(mark), len(mark)) == mark else _UNMARKED


# How a file that begins so shows that its end is missing; what is not here does not show it.
_LOOKS: dict[bytes, Callable[[At, int], str]] = {
    rb"RIFF....AVI ": _riff,
    rb"\x1a\x45\xdf\xa3": _matroska,
    rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11": _asf,
    rb"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02": _mxf,
    rb"OggS": _ogg,
    rb"\x00\x00\x01\xba": _program_stream,
    rb".{4}G.{191}G.{191}G": _transport_stream(192),
    rb"G.{187}G.{187}G": _transport_stream(188),
    rb"FLV": _flv,
    rb"YUV4MPEG2 ": _y4m,
    rb"GIF8": _marked(b";"),
    rb"\x89PNG": _marked(b"IEND\xaeB`\x82"),
}
