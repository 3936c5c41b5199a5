"""What decoding a picture will take, estimated from its structure before anything is made.

Decoders are bounded by the bytes and pixels that they are given, but some structures cost far more than these: scans of
a progressive JPEG, comments, millions of chunks, strips or directory entries, formats that Pillow decodes in Python.
They are counted here, cheaply. The seconds are CPU seconds of one core of 2023 and the same on every machine, so that
no row depends on how fast a machine is; docs/decoding.md has the measurements.
"""

import re
from dataclasses import dataclass, replace

from PIL import Image, ImageFile

from ..options import Options
from ..records import Status
from .frames import palette_bytes
from .refusal import RefusalError
from .tags import Directory, first_directory

# Longer pictures are refused: Pillow's resize makes a table of filter taps that grows with the side.
MAX_SIDE = 65_535
MAX_ASPECT = 2_000
# Seconds a pixel and a byte of decoders in C; the slower ones of formats made for size.
_PIXEL, _BYTE = 1.5e-8, 1e-8
_SLOW_PIXEL, _SLOW_BYTE = 2.5e-8, 7e-8
_SLOW = frozenset({"WEBP", "AVIF", "HEIF", "JXL"})
_SCAN_PIXEL = 1.5e-9  # a scan of a JPEG visits every pixel of all components
_JUNK = 2e-7  # a byte that Pillow reads by itself
_PART = 6e-6  # a chunk or strip that Pillow handles by itself
_SEGMENT, _READ = 4e-6, 1.5e-7  # a segment of a JPEG, and a byte of those that Pillow reads in Python
_SUBBLOCK = 7.5e-7  # a part of a GIF's block
_INFLATED = 4e-3  # a compressed text of a PNG, of at most 1 MiB
_COPIED = 1e-9  # a byte that is copied again
_MIB = 1 << 20
# Bytes of memory a pixel while it is decoded, beside Pillow's own picture.
_BESIDE = {"WEBP": 14, "AVIF": 14, "HEIF": 14, "JXL": 14}
_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
_SOS, _EOI, _APP1 = 0xDA, 0xD9, 0xE1
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC} | {0xDE}
_IN_PYTHON = _FRAMES | {0xDB, 0xED}  # tables of quantisation, Photoshop's blocks
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD9)})
_PLAIN = re.compile(rb"P[123]")
# The magic number of a PPM and its numbers, between them white space and comments.
_NUMBER = rb"(?:(?:[ \t-\r]|#[^\r\n]*+)++\d++)"
_PPM_HEADER = re.compile(rb"P(?:[14]%s{2}|[2356]%s{3})" % (_NUMBER, _NUMBER))


@dataclass(frozen=True, slots=True)
class Cost:
    """What a step takes.

    Args:
        seconds: of one core.
        memory: bytes at the same time.
        what: what the most of it is for, to tell people.
    """

    seconds: float = 0.0
    memory: float = 0.0
    what: str = "its size"

    def check(self, options: Options, before: "Cost | None" = None) -> None:
        """Raise RefusalError where the options do not allow it, together with the step before it."""
        before = before or Cost()
        memory, seconds = self.memory + before.memory, self.seconds + before.seconds
        if memory > options.max_memory:
            what = self.what if self.memory > before.memory else before.what
            allowed = f"max_memory allows {options.max_memory / 1e9:g} GB"
            raise RefusalError(Status.TOO_LARGE, f"decoding takes {memory / 1e9:.2g} GB by {what}; {allowed}")
        if seconds > options.max_seconds:
            what = self.what if self.seconds > before.seconds else before.what
            allowed = f"max_seconds allows {options.max_seconds:g}"
            raise RefusalError(Status.TOO_SLOW, f"decoding takes {seconds:.3g} s by {what}; {allowed}")


def size_fault(width: int, height: int, max_pixels: int) -> str:
    """Why a picture or box of that size is not decoded or resized; "" where it is."""
    if width * height > max_pixels:
        return f"{width:,} x {height:,} = {width * height:,} pixels; max_pixels allows {max_pixels:,}"
    longer, shorter = max(width, height), min(width, height)
    if longer > MAX_SIDE or longer > MAX_ASPECT * shorter:
        return f"{width:,} x {height:,} pixels; allowed are sides up to {MAX_SIDE:,}, and at most {MAX_ASPECT:,} to 1"
    return ""


def check_size(size: tuple[int, int], options: Options) -> None:
    """Raise RefusalError for a width and height that are not decoded."""
    fault = size_fault(*size, options.max_pixels)
    if fault:
        raise RefusalError(Status.TOO_LARGE, fault)


def to_open(name: str, data: bytes, limit: float) -> Cost:
    """What reading the header takes. Counting ends once it is over `limit` seconds."""
    if name == "JPEG":
        return _jpeg_header(data, limit)
    if name == "PNG":
        return _png_chunks(data, limit)
    if name == "GIF":
        return _gif_blocks(data, limit)
    if name == "PPM":
        header = _PPM_HEADER.match(data, 0, _MIB)
        return Cost(_JUNK * (header.end() if header else len(data)), what="comments before its pixels")
    if name == "TIFF":
        directory = first_directory(data)
        return _tags(directory, len(data)) if directory else Cost()
    if name == "JXL":  # its reader decodes at once
        width, height = _jxl_size(data)
        return Cost(width * height * _SLOW_PIXEL, width * height * 18.0)
    return Cost()


def to_load(name: str, data: bytes, image: ImageFile.ImageFile) -> Cost:
    """What decoding the pixels takes, to RGB."""
    pixels = float(image.size[0] * image.size[1])
    stored = pixels * _bytes_of(image.mode)
    slow = name in _SLOW
    cost = Cost(
        pixels * (_SLOW_PIXEL if slow else _PIXEL) + len(data) * (_SLOW_BYTE if slow else _BYTE),
        stored + pixels * max(3, _BESIDE.get(name, 0)),
    )
    if name == "JPEG":
        bands = len(image.getbands())
        scans = _scans(data)
        if scans > 1:
            beside = max(3.0, 2.0 * bands)  # the coefficients of all pixels, until the last scan
            what = f"its {scans:,} scans"
            return Cost(cost.seconds + scans * pixels * _SCAN_PIXEL, stored + pixels * beside, what)
    if name == "BMP" and image.info.get("compression") in (1, 2):
        return replace(
            cost, seconds=len(data) * 4e-7 + pixels * 1.2e-7, what="run lengths, which Pillow reads in Python"
        )
    if name == "PPM" and image.tile[0][0] in ("ppm", "ppm_plain"):
        return _ppm_in_python(data, image)
    if name == "TIFF":
        return _tiff(cost, data, image, pixels)
    return cost


def to_turn(image: ImageFile.ImageFile) -> Cost:
    """What reading the orientation takes: the EXIF of any format is a TIFF's directory."""
    exif = image.info.get("exif")
    if not isinstance(exif, bytes):
        return Cost()
    directory = first_directory(re.sub(rb"^(Exif\0\0){1,2}", b"", exif))
    return _tags(directory, len(exif)) if directory else Cost()


def _bytes_of(mode: str) -> int:
    """Bytes that Pillow keeps a pixel."""
    if mode in ("1", "L", "P"):
        return 1
    return 2 if mode.startswith("I;16") else 4


def _jpeg_header(data: bytes, limit: float) -> Cost:
    """Segments up to the first scan. EXIF of several segments is joined one by one, each time copied whole."""
    at, exif, seconds, memory = 2, 0, 0.0, 0.0
    while (found := data.find(b"\xff", at)) >= 0 and seconds <= limit:
        seconds += (found - at) * _JUNK
        code = data[found + 1] if found + 1 < len(data) else 0
        at = found + 2 if code not in (0, 0xFF) else found + 1
        if code in (0, 0xFF) or code in _STANDALONE:
            seconds += _JUNK
            continue
        if code == _SOS:
            break
        length = int.from_bytes(data[at : at + 2], "big")
        seconds += _SEGMENT + length * _READ if code in _IN_PYTHON else _SEGMENT
        memory += 150.0 + (30.0 * length if code in _FRAMES else 0.0)
        if code == _APP1 and data.startswith(b"Exif\0\0", at + 2):
            exif += length
            seconds += exif * _COPIED
        at += max(length, 2)
    return Cost(seconds, memory, "what stands before its pixels")


def _scans(data: bytes) -> int:
    """Scans of a JPEG up to the end of its first image. Pixel data have no marker but restarts."""
    at, scans = 2, 0
    while (found := _MARKER.search(data, at)) is not None:
        code = found[1][0]
        at = found.end()
        if code == _EOI:
            break
        if code not in _STANDALONE:
            scans += code == _SOS
            at += max(2, int.from_bytes(data[at : at + 2], "big"))
    return scans


def _png_chunks(data: bytes, limit: float) -> Cost:
    """Chunks of the whole file, as texts may follow the pixels."""
    at, parts, inflated, texts = 8, 0, 0, 0
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if kind == b"IEND" or parts * _PART + inflated * _INFLATED > limit:
            break
        parts += 1
        inflated += kind in (b"zTXt", b"iTXt", b"iCCP")
        texts += length if kind in (b"tEXt", b"zTXt", b"iTXt") else 0
        at += 12 + length
    # Pillow keeps texts of 64 MiB together, four bytes a character at most.
    kept = min(64 * _MIB, inflated * _MIB + texts) * 4.0 if inflated or texts else 0.0
    return Cost(parts * _PART + inflated * _INFLATED, kept, f"its {parts:,} chunks")


def _gif_blocks(data: bytes, limit: float) -> Cost:
    """Blocks before the first frame."""
    at, parts = 13 + palette_bytes(data, 10), 0
    while data[at : at + 1] == b"!" and parts * _SUBBLOCK <= limit:
        at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
            parts += 1
        at += 1
    return Cost(parts * _SUBBLOCK, parts * 100.0, f"its {parts:,} blocks before the first frame")


def _ppm_in_python(data: bytes, image: ImageFile.ImageFile) -> Cost:
    """Text, and values of other ranges than 8 or 16 bits: Pillow reads them in Python."""
    samples = float(image.size[0] * image.size[1] * len(image.getbands()))
    width = 4 if image.mode == "I" else 1
    memory = image.size[0] * image.size[1] * 4 + 2 * samples * width + 40 * _MIB
    if not _PLAIN.match(data):
        return Cost(samples * 5e-7, memory, "values that Pillow reads in Python")
    blocks = len(data) // _MIB + 1
    seconds = data.count(b"#") * 3e-5 + len(data) * 1.5e-7 + (blocks * samples * _COPIED if image.mode == "1" else 0)
    return Cost(seconds, memory, "numbers as text, and comments among them")


def _tags(directory: Directory, length: int) -> Cost:
    """Reading a TIFF's directory, four times; tags that share their bytes are read again each."""
    entries, strips = len(directory.tags), directory.strips
    claimed = directory.claimed if directory.claimed > length else 0
    seconds = entries * 2e-5 + strips * 2e-5
    return Cost(seconds, 2.0 * claimed + 400.0 * strips, f"its {entries:,} tags and {strips:,} strips")


def _tiff(cost: Cost, data: bytes, image: ImageFile.ImageFile, pixels: float) -> Cost:
    directory = first_directory(data)
    if directory is None or image.info.get("compression") == "raw":
        return cost
    if directory.tile_bytes > pixels * 4:  # libtiff decodes whole tiles, however small the picture is
        cost = replace(cost, memory=cost.memory + directory.tile_bytes, what="its tiles")
    if image.info.get("compression") == "jpeg":  # libtiff allows 100 scans
        scans = min(100, max(1, data.count(b"\xff\xda") - directory.strips + 1))
        cost = replace(cost, seconds=cost.seconds + scans * pixels * _SCAN_PIXEL * 2, what=f"its {scans:,} scans")
    return cost


def _jxl_size(data: bytes) -> tuple[int, int]:
    """Width and height by the header of a JPEG XL; 0, 0 where it cannot be found."""
    at = data.find(b"\xff\x0a", 0, 1 << 16)  # bare, or in a box of the container
    bits = int.from_bytes(data[at + 2 : at + 14].ljust(12, b"\0"), "little") if at >= 0 else 0

    def take(count: int) -> int:
        nonlocal bits
        value = bits & ((1 << count) - 1)
        bits >>= count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = take(3)
    parts = ((1, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio]
    return (side() if ratio == 0 else height * parts[0] // parts[1]), height


def room_of(image: Image.Image) -> Cost:
    """What a PIL image of a program takes: its pixels are the program's own."""
    return Cost(memory=image.size[0] * image.size[1] * (3.0 + _bytes_of(image.mode)))
