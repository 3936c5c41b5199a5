"""Small files that would take long or much memory: refused by their structure, before anything is decoded."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emonet_fast.decode.cost import to_load, to_open
from emonet_fast.decode.formats import format_of, open_image
from emonet_fast.records import Status

from .decoding import run
from .sources.made import encoded, gradient


def segments(data: bytes, code: int) -> list[tuple[int, int]]:
    """Where the segments of a JPEG with that marker begin, and where the next marker is."""
    found, at = [], 2
    while at < len(data) - 2:
        length = 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        end = at + length
        if data[at + 1] == 0xDA:
            while data[end] != 0xFF or data[end + 1] in (0, *range(0xD0, 0xD8)):
                end += 1
        if data[at + 1] == code:
            found.append((at, end))
        at = end
    return found


def jpeg_of_scans(count: int, side: int) -> bytes:
    """A progressive JPEG whose last scan comes again and again, and that claims a larger picture."""
    data = bytearray(encoded(Image.new("L", (16, 16)), "JPEG", progressive=True))
    frame = segments(data, 0xC2)[0][0]
    data[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    at, end = segments(data, 0xDA)[-1]
    return bytes(data[:end] + data[at:end] * count + data[end:])


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(chunks: bytes) -> bytes:
    data = encoded(gradient())
    return data[:33] + chunks + data[33:]


def png_of(width: int, height: int, colours: int) -> bytes:
    """Its header, and too little of its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def tiff_of(tags: int = 0, strips: int = 1) -> bytes:
    """An uncompressed TIFF with more tags of its own, and strips of no rows."""
    entries = [(256, 4, 1, 9), (257, 4, 1, 9), (258, 3, 1, 8), (262, 3, 1, 1), (273, 4, strips, 8), (279, 4, strips, 8)]
    entries += [(40000 + i, 4, 1, i) for i in range(tags)]
    body = b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<LH", 8, len(entries)) + body + bytes(4 + 4 * strips)


def bmp_of_runs() -> bytes:
    data = bytearray(encoded(Image.new("P", (2000, 200)), "BMP"))
    data[30:34] = struct.pack("<I", 1)
    return bytes(data[:-1]) + b"\1\1" * 100_000


EXIF = b"\xff\xe1\xff\xff" + (b"Exif\0\0" + b"x" * 65_527)
TABLES = b"\xff\xdb" + struct.pack(">H", 65_002) + (b"\0" + b"\1" * 64) * 1000
SLOW = {
    "scans": (jpeg_of_scans(3000, 4900), 10, "its 3,0"),
    "junk in a JPEG": (
        b"\xff\xd8\xff\xe0" + b"\0\2" + bytes(400_000) + encoded(kind="JPEG")[2:],
        0.05,
        "before its pixels",
    ),
    "tables of a JPEG": (b"\xff\xd8" + TABLES * 20 + encoded(kind="JPEG")[2:], 0.1, "before its pixels"),
    "EXIF in many segments": (b"\xff\xd8" + EXIF * 150 + encoded(kind="JPEG")[2:], 0.1, "before its pixels"),
    "chunks": (png_with(chunk(b"teXt", b"") * 20_000), 0.1, "chunks"),
    "texts": (png_with(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20))) * 100), 0.1, "chunks"),
    "comments of a GIF": (b"GIF89a\x0a\0\x0a\0\0\0\0!\xfe" + b"\1x" * 200_000 + b"\0,", 0.1, "blocks before"),
    "comments in numbers": (b"P2 10 10 255\n" + b"#\n" * 300_000 + b" 1" * 100, 1, "comments among them"),
    "a comment before numbers": (b"P5 #" + b"c" * 900_000 + b"\n10 10 255\n" + bytes(100), 0.1, "before its pixels"),
    "values up to 254": (b"P6 1000 1000 254\n" + bytes(3_000_000), 1, "in Python"),
    "run lengths": (bmp_of_runs(), 0.1, "run lengths"),
    "tags": (tiff_of(tags=20_000), 0.1, "20,006 tags"),
    "strips": (tiff_of(strips=50_000), 0.5, "50,000 strips"),
}


@pytest.mark.parametrize("name", SLOW)
def test_what_would_take_long_is_refused_undecoded(name):
    data, seconds, what = SLOW[name]
    got = run(data, max_seconds=seconds)
    assert (got.status, what in got.reason) == (Status.TOO_SLOW, True), got.reason
    assert f"max_seconds allows {seconds:g}" in got.reason


@pytest.mark.parametrize("sides", [(65_536, 40), (40, 65_536), (2001, 1), (1, 2001), (90_000_000, 1)])
def test_sides_that_no_resize_takes_are_refused_undecoded(sides):
    for data in (png_of(*sides, 0), np.empty((sides[1], sides[0], 3), np.uint8)):
        got = run(data)
        assert got.status == Status.TOO_LARGE
        assert f"{sides[0]:,} x {sides[1]:,} pixels; allowed are" in got.reason


@pytest.mark.parametrize("colours", [2, 6])
def test_memory_is_refused_by_the_header(colours):
    got = run(png_of(14_000, 14_000, colours))
    assert got.status == Status.TOO_LARGE
    assert got.reason == "decoding takes 1.4 GB by its size; max_memory allows 1 GB"
    assert run(png_of(14_000, 14_000, colours), max_memory=1_500_000_000).status == Status.TRUNCATED


def test_tiles_larger_than_the_picture_count_as_memory():
    """libtiff decodes a whole tile: 2 MB of zeros compressed become gigabytes."""
    data = bytearray(encoded(gradient(), "TIFF", compression="tiff_adobe_deflate"))
    entries = struct.unpack_from("<L", data, 4)[0] + 2
    for at in range(entries, len(data) - 12, 12):
        if struct.unpack_from("<H", data, at)[0] in (278, 284):  # RowsPerStrip, PlanarConfiguration
            tag = {278: 322, 284: 323}[struct.unpack_from("<H", data, at)[0]]
            data[at : at + 12] = struct.pack("<HHLL", tag, 4, 1, 30_000)
    got = run(bytes(data))
    assert (got.status, "its tiles" in got.reason) == (Status.TOO_LARGE, True), got.reason


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_frames_are_not_counted_beyond_a_hundred(kind):
    frames = [Image.new("RGB", (8, 6), (i, 2 * i, 255 - i)) for i in range(120)]
    for count, said in ((120, "more than 100"), (7, "7")):
        settings = {"lossless": True} if kind == "WEBP" else {}
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:count], **settings)
        assert run(data).reason == f"first of {said} frames"


def test_tags_that_share_their_bytes_count_each():
    """30,000 tags of EXIF, each of which is the whole block: older Pillow reads 12 GB."""
    length = 400_000
    entries = b"".join(struct.pack("<HHLL", tag, 1, length, 0) for tag in range(30_000, 60_000))
    block = (b"II*\0\x08\0\0\0" + struct.pack("<H", 30_000) + entries).ljust(length, b"x")
    got = run(png_with(chunk(b"eXIf", block)))
    assert got.status == Status.TOO_LARGE
    assert got.reason == "decoding takes 24 GB by its 30,000 tags and 0 strips; max_memory allows 1 GB"


def test_a_million_frames_are_not_counted():
    """Directories in a row, and a GIF of empty frames."""
    directory = b"\1\0" + struct.pack("<HHLL", 256, 4, 1, 1)
    places = [200 + 18 * i for i in range(200_000)]
    one = tiff_of()
    link = len(one) - 8
    tiff = one[:link] + struct.pack("<L", 200) + one[link + 4 :]
    tiff = tiff.ljust(200, b"\0") + b"".join(directory + struct.pack("<L", place + 18) for place in places)
    gif = encoded(kind="GIF")[:-1] + b",\0\0\0\0\1\0\1\0\0\2\1\0\0" * 500_000 + b";"
    for data in (tiff, gif):
        assert run(data).reason == "first of more than 100 frames"


MEASURE = """
import sys, warnings
from pathlib import Path
from emonet_fast.decode import decode
from emonet_fast.options import Options
from emonet_fast.records import Picture
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
warnings.simplefilter("ignore")
for path in sys.argv[1:]:
    data = Path(path).read_bytes()
    assert decode(Picture("warm", data), Options(max_pixels=1)).rgb is None
    Path("/proc/self/clear_refs").write_text("5")
    before = peak()
    assert decode(Picture(path, data), Options()).rgb is not None
    print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is Linux's to tell")
def test_no_picture_takes_more_memory_than_estimated(tmp_path):
    """Measured in a process of its own, over 6 megapixels turned by 90 degrees; 20 MB are the strips and the heap."""
    exif = Image.Exif()
    exif[0x0112] = 6
    photo = Image.fromarray(np.kron(gradient(40, 60), np.ones((50, 50, 1), np.uint8)))
    kinds = {
        "JPEG": {"quality": 90, "exif": exif},
        "WEBP": {"method": 0, "exif": exif},
        "PNG": {"compress_level": 1, "exif": exif},
        "TIFF": {"compression": "tiff_lzw"},
        "GIF": {},
    }
    files = {kind: encoded(photo, kind, **settings) for kind, settings in kinds.items()}
    files["progressive"] = encoded(photo, "JPEG", progressive=True, subsampling=0)
    files["RGBA"] = encoded(photo.convert("RGBA"), "PNG", compress_level=1, exif=exif)
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", MEASURE, *(str(tmp_path / name) for name in files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for (name, data), taken in zip(files.items(), map(int, done.stdout.split()), strict=True):
        kind = format_of(data)
        steps = to_open(kind.name, data, 10.0), to_load(kind.name, data, open_image(data, kind))
        estimate = sum(step.memory for step in steps)
        assert taken <= estimate + 20e6, f"{name}: {taken / 1e6:.0f} MB, estimated {estimate / 1e6:.0f} MB"
