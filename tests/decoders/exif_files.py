"""Pictures whose EXIF is odd or damaged: what DALI turned wrongly, and what made it write beyond its memory.

Run as a program it decodes them by DALI and by Pillow, among good ones: a crash must not take the tests with it.
"""

import struct
import zlib
from dataclasses import replace

import numpy as np

from emonet_fast.decoders.base import Decoder
from emonet_fast.records import Box, Picture, Status

from .making import BILINEAR, dali, encoded, furthest, pillow, rows

PIXELS = np.random.default_rng(1).integers(0, 256, (88, 120, 3), dtype=np.uint8)
SMALL = replace(BILINEAR, size=32)
ORIENTATION, SHORT, LONG = 0x0112, 3, 4
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf tiff:Orientation="%d"/></x:xmpmeta>'


def tiff(orientation: int, kind: int = SHORT, order: str = "<", entries: int = 1) -> bytes:
    """The block inside EXIF: one tag, but it may claim more."""
    value = struct.pack(f"{order}L" if kind == LONG else f"{order}H", orientation).ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8)
    return head + struct.pack(f"{order}HHHL", entries, ORIENTATION, kind, 1) + value + bytes(4)


def jpeg(*segments: bytes, pixels: np.ndarray = PIXELS) -> bytes:
    """A JPEG with these APP1 segments."""
    plain = encoded(pixels, quality=80)
    return plain[:2] + b"".join(b"\xff\xe1" + struct.pack(">H", len(s) + 2) + s for s in segments) + plain[2:]


def png(*chunks: tuple[bytes, bytes], pixels: np.ndarray = PIXELS) -> bytes:
    """A PNG with these chunks behind its header."""
    plain = encoded(pixels, "PNG")
    made = b"".join(struct.pack(">L", len(b)) + k + b + struct.pack(">L", zlib.crc32(k + b)) for k, b in chunks)
    return plain[:33] + made + plain[33:]


def odd_files() -> dict[str, bytes]:
    exif, xmp = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
    found = {
        "two segments": jpeg(exif + tiff(6), exif + tiff(3)),
        "two segments, big-endian": jpeg(exif + tiff(6, order=">"), exif + tiff(3, order=">")),
        "the second one has it": jpeg(exif + tiff(6)[:14] + bytes(4), exif + tiff(6)),
        "xmp alone": jpeg(xmp + XMP % 6),
        "exif without it, and xmp": jpeg(exif + b"MM\0*\0\0\0\x08" + bytes(6), xmp + XMP % 8),
        "prefix twice": jpeg(exif + exif + tiff(6)),
        "png, prefix": png((b"eXIf", exif + tiff(6))),
        "png, two": png((b"eXIf", tiff(6)), (b"eXIf", tiff(3))),
        "tiff, xmp": encoded(PIXELS, "TIFF", tiffinfo={700: XMP % 3}),
        "png, xmp": png((b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP % 5)),
    }
    for kind in (SHORT, LONG):
        for order in "<>":
            for entries in (1, 2, 49, 65535):
                block = tiff(7, kind, order, entries)
                found[f"jpeg {kind}{order}{entries}"] = jpeg(exif + block)
                found[f"png {kind}{order}{entries}"] = png((b"eXIf", block))
    return found


def check(decoder: Decoder) -> None:
    good = [encoded(np.roll(PIXELS, 9 * i, 1)[: 80 - i], quality=80) for i in range(8)]
    mixed, alone = [], []
    for i, (name, data) in enumerate(odd_files().items()):
        alone.append(Picture(f"good {i}", good[i % 8]))
        mixed += [
            alone[-1],
            Picture(name, data),
            Picture(f"{name}, box", data, boxes=(Box(5, 9, 40, 50), Box(-4, 3, 20, 60))),
        ]
    got = rows(decoder, mixed)
    assert furthest(got, rows(pillow(SMALL), mixed)) == 0
    assert all(row.status == Status.OK for row, _ in got)
    pixels = {row.key: values for row, values in got}
    for row, values in rows(decoder, alone):
        np.testing.assert_array_equal(pixels[row.key], values)


if __name__ == "__main__":
    check(dali(SMALL))
    print("right")
