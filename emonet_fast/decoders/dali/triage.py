"""Which pictures DALI decodes; Pillow decodes all others.

DALI and Pillow call the same libraries but refuse different damaged files: DALI reads JPEGs with a marker among the
pixel data, LZW TIFFs with damaged strips, and BMPs that end early. Pillow decides what is bad, so DALI gets only files
with the structure of an intact one. Bit flips inside the pixel data pass here: they harm both decoders, or neither.
WebP is Pillow's altogether, as DALI gives pixels for some whose data are damaged; it would decode them on the host too.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import TiffImagePlugin

from ...decode import Header, orientation_of, read_header
from ...options import Options
from ...records import Box, Picture, Status
from .turn import stored

# Larger pictures go to Pillow: DALI keeps every buffer at the largest size that it ever had.
MAX_DALI_PIXELS = 25_000_000
# A region is decoded alone where it is at most this part of the picture; with more, the whole picture is as fast.
_REGION = 0.5
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_TIFF_COMPRESSION, _TIFF_BITS, _TIFF_PLANAR = 259, 258, 284
_BMP_HEADER = 34  # bytes up to and with the compression
_SOS, _EOI = 0xDA, 0xD9
_SEQUENTIAL, _PROGRESSIVE = (0xC0, 0xC1), 0xC2
# Markers that may stand before the first scan and between scans: tables, DRI, APPn, COM.
_SEGMENTS = frozenset({0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)})
_RESTARTS = frozenset(range(0xD0, 0xD8))


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture for DALI: its encoded bytes, its sides in pixels once it is upright, and what its row says.

    The region is the part of the upright picture that its boxes need, where that is small; None is the whole picture.
    """

    picture: Picture
    data: bytes
    width: int
    height: int
    region: Box | None = None
    orientation: int = 1
    note: str = ""

    @property
    def stored_region(self) -> Box | None:
        """The region where it lies in the stored picture, which DALI decodes."""
        return None if self.region is None else stored(self.region, self.orientation, self.width, self.height)


def triage(picture: Picture, options: Options) -> Sample | None:
    """The picture for DALI; None where Pillow is to decode it."""
    data = picture.data
    if picture.status != Status.OK or not isinstance(data, bytes):
        return None
    header = read_header(data, options)
    if header is None or not _intact(data, header):
        return None
    width, height = header.width, header.height
    if width * height > MAX_DALI_PIXELS:
        return None
    # libjpeg smooths blocks of a progressive JPEG whose coefficients lack; at a region's edge it does so otherwise.
    progressive = "progressive" in header.image.info
    region = None if progressive else region_of(picture.boxes, width, height)
    return Sample(picture, data, width, height, region, header.orientation, "; ".join(header.notes))


def region_of(boxes: Sequence[Box], width: int, height: int) -> Box | None:
    """The smallest region of a picture that holds these boxes' pixels; None where it is large, or no box has pixels.

    It has two rows and columns at least: libjpeg-turbo gives other pixels for the first column alone. It ends at the
    picture's edge, also where a box goes beyond it.
    """
    parts = [part for box in boxes if (part := box.inside(width, height)) is not None]
    if not parts or min(width, height) < 2:
        return None
    left, right = _two_or_more(min(part.left for part in parts), max(part.right for part in parts), width)
    top, bottom = _two_or_more(min(part.top for part in parts), max(part.bottom for part in parts), height)
    region = Box(left, top, right, bottom)
    return region if region.width * region.height <= _REGION * width * height else None


def _two_or_more(first: int, end: int, side: int) -> tuple[int, int]:
    """One row or column with a neighbour."""
    if end - first > 1:
        return first, end
    return (first, end + 1) if end < side else (first - 1, end)


def _intact(data: bytes, header: Header) -> bool:
    """Whether a file is of a kind that DALI reads as Pillow does, and whole as far as its structure tells."""
    image = header.image
    if image.mode not in ("RGB", "L") or "transparency" in image.info:  # alpha makes a note, by its pixels
        return False
    if header.format == "JPEG":
        return image.info.get("adobe_transform") != 0 and jpeg_is_whole(data)
    if header.format == "PNG":
        return data[24] == 8 and data.endswith(_PNG_END)  # byte 24: bits a channel
    if header.format == "BMP":
        if len(data) < _BMP_HEADER:
            return False
        size, *_, bits, compression = struct.unpack_from("<IHHIIiiHHI", data, 2)
        return (size, bits, compression) == (len(data), 24, 0)
    return isinstance(image, TiffImagePlugin.TiffImageFile) and _plain_tiff(image, len(data))


def _plain_tiff(image: TiffImagePlugin.TiffImageFile, length: int) -> bool:
    """Uncompressed 8-bit strips, chunky, upright, all inside the file."""
    tags = image.tag_v2
    return (
        image.mode in ("RGB", "L")
        and tags.get(_TIFF_COMPRESSION, 1) == 1
        and set(tags.get(_TIFF_BITS, (1,))) == {8}
        and tags.get(_TIFF_PLANAR, 1) == 1
        and orientation_of(image) == (1, [])  # Pillow turns a TIFF always
        and all(
            isinstance(at, int) and isinstance(size, int) and at + size <= length
            for at, size in zip(tags.get(273, ()), tags.get(279, ()), strict=False)
        )
    )


def jpeg_is_whole(data: bytes) -> bool:
    """Whether a JPEG is baseline, extended or progressive, has 8 bits a sample, and has the markers of a whole file.

    It visits every marker up to the end of the image (EOI). A segment's length leads to the next marker; in pixel data
    the next marker is searched for. Bytes after the end do not matter, as they do not to Pillow.
    """
    values = np.frombuffer(data, np.uint8)
    # A marker may begin at 0xFF, unless 0 (a stuffed data byte) or another 0xFF (fill) follows.
    starts = np.flatnonzero(values[:-1] == 0xFF)
    codes = values[starts + 1]
    kept = (codes != 0) & (codes != 0xFF)
    starts, codes = starts[kept], codes[kept]
    at, data_start, frame, progressive, restarts, scans = 2, -1, False, False, False, 0
    while True:
        i = int(np.searchsorted(starts, at))
        if i == len(starts):
            return False
        place, code = int(starts[i]), int(codes[i])
        in_data = at == data_start
        if not in_data and place != at:
            return False  # bytes between segments
        if in_data and code in _RESTARTS:
            if not restarts:
                return False
            at = data_start = place + 2
            continue
        if code == _EOI:
            return scans > 0
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if length < 2 or place + 2 + length > len(data):
            return False
        at = place + 2 + length
        if code in (*_SEQUENTIAL, _PROGRESSIVE):
            if frame or data[place + 4] != 8:
                return False
            frame, progressive = True, code == _PROGRESSIVE
        elif code == _SOS:
            if not frame or (scans and not progressive):  # of several scans, one may be there twice
                return False
            scans += 1
            data_start = at
        elif code not in _SEGMENTS:
            return False
        restarts = restarts or (code == 0xDD and data[place + 4 : place + 6] != b"\0\0")
