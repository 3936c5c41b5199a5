"""A Picture to upright RGB pixels, or to a status and a reason. Nothing here raises for bad data.

Pillow's readers are called by name, by the file's first bytes. Image.open would reach others too (EPS starts
Ghostscript), and would hold every thread to Pillow's process-wide MAX_IMAGE_PIXELS; here `max_pixels` decides, on the
header. Only the TIFF, WebP and some GIF readers ask Pillow: beyond twice 89 megapixels they give TOO_LARGE.
Over 300 lines: these rules together define which pixels are right, so they are read together.
"""

import io
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from .records import Decoded, Picture, Status, UInt8Array

try:  # since Pillow 11.3, and only where it was built with libavif
    from PIL import AvifImagePlugin
except ImportError:
    AvifImagePlugin = None  # type: ignore[assignment]

_ORIENTATION = 0x0112  # EXIF tag
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_AVIF = rb"....ftyp(avif|avis)|....ftypmif1.{4,64}avif"
# Format, its first bytes, the reader.
_READERS: tuple[tuple[str, bytes, Callable[..., ImageFile.ImageFile] | None], ...] = (
    ("JPEG", rb"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
    ("PNG", rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    ("WEBP", rb"RIFF....WEBP", WebPImagePlugin.WebPImageFile if features.check("webp") else None),
    ("GIF", rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    ("TIFF", rb"II\*\0|MM\0\*|II\+\0|MM\0\+", TiffImagePlugin.TiffImageFile),
    ("AVIF", _AVIF, AvifImagePlugin.AvifImageFile if AvifImagePlugin and AvifImagePlugin.SUPPORTED else None),
    ("BMP", rb"BM", BmpImagePlugin.BmpImageFile),
    ("PPM", rb"P[1-6]\s", PpmImagePlugin.PpmImageFile),
)
FORMATS = frozenset(name for name, _, _ in _READERS) | {"MPO"}  # MPO: JPEGs in a row, opened as JPEG
_WEAK = frozenset({"BMP", "PPM"})  # two letters make no image: a text may begin so
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF89a", b"GIF87a")
_UNSUPPORTED = re.compile(r"unsupported|not supported|unknown (pixel mode|data organization|compression)", re.I)
# What other data begins with, for the reason.
_HINTS = (
    (rb"\s*(<!doctype html|<html|<head|<body)", "HTML (an error page saved under an image's name?)"),
    (rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg", "SVG"),
    (rb"\s*<\?xml", "XML"),
    (rb"%PDF", "PDF"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"version https://git-lfs", "a Git LFS pointer (run `git lfs pull`)"),
    (rb"\s*[{\[]\s*[\"{\[]", "JSON"),
    (rb"PK\x03\x04", "a zip archive"),
    (rb"\x1f\x8b", "gzip"),
    (rb"8BPS", "a Photoshop file"),
    (rb"....ftyp(hei[cfxms]|hev[cx]|mif1|msf1)", "HEIC, which Pillow does not read"),
    (rb"....ftyp", "an MP4 or QuickTime video"),
    (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (rb"RIFF....AVI ", "an AVI video"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000, which is not on the list of formats"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL, which Pillow does not read"),
    (rb"\0\0[\1\2]\0", "an icon"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"\0{16}", "zeros (an unfinished download?)"),
)
_HEAD = 512
# A lazily opened PIL image that occurs twice must not be read by two threads at once.
_LAZY = threading.Lock()


class _RefusalError(Exception):
    """Why there are no pixels; never leaves this file."""

    def __init__(self, status: Status, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def decode(picture: Picture, *, exif: bool, max_pixels: int, max_bytes: int) -> Decoded:
    """Decode encoded bytes, a PIL image or an array to upright RGB. Thread-safe; never raises for bad data.

    Alpha is dropped and CMYK converted as `Image.convert("RGB")` does, like the published pipeline. 16-bit grey is
    scaled to 8 bit, where `convert` would clip. Of several frames the first one is taken; of a PIL image, its current
    one. Pixels without a defined range (float, 32-bit) are refused. Formats: JPEG, MPO, PNG, WebP, GIF, BMP, TIFF, PPM,
    and AVIF where Pillow has it.

    `exif` applies the EXIF orientation; Pillow always applies that of TIFF. Pictures beyond max_pixels by their header,
    and data beyond max_bytes, are TOO_LARGE and not decoded. The boxes of the picture are not looked at.
    """
    if picture.status != Status.OK:
        return Decoded(picture.key, None, picture.status, picture.reason)
    data = picture.data
    try:
        if isinstance(data, bytes):
            rgb, notes = _decode_bytes(data, exif, max_pixels, max_bytes)
        elif isinstance(data, Image.Image):
            rgb, notes = _decode_pil(data, exif, max_pixels)
        elif isinstance(data, np.ndarray):
            rgb, notes = _check_array(data, max_pixels), []
        else:
            raise _RefusalError(
                Status.BAD_INPUT, f"a {type(data).__name__} came; expected bytes, a PIL image or an array"
            )
    except _RefusalError as refusal:
        return Decoded(picture.key, None, refusal.status, refusal.reason)
    return Decoded(picture.key, rgb, Status.OK, "; ".join(notes))


@dataclass(frozen=True, slots=True)
class Header:
    """What an encoded picture says of itself.

    Args:
        format: as Pillow names it.
        image: Pillow's reader, not decoded yet.
        width: in pixels, as upright as `decode` makes the picture.
        height: in pixels, as upright as `decode` makes the picture.
        orientation: EXIF tag 0x0112 as it will be applied, 1 to 8.
    """

    format: str
    image: ImageFile.ImageFile
    width: int
    height: int
    orientation: int


def read_header(data: bytes, *, exif: bool, max_pixels: int, max_bytes: int) -> Header | None:
    """The header of encoded bytes; None where the header or the limits keep `decode` from giving pixels.

    Other decoders call it, as they must refuse what `decode` refuses. A header says nothing of the pixel data: only
    decoding tells whether they are whole.
    """
    if not 0 < len(data) <= max_bytes:
        return None
    try:
        image, name = _open(data)
        _check_pixels(image.size, max_pixels)
    except _RefusalError:
        return None
    orientation, notes = orientation_of(image) if exif else (1, [])
    if notes:  # `decode` says them in the row's reason
        return None
    width, height = image.size if orientation < 5 else image.size[::-1]
    return Header(name, image, width, height, orientation)


def _decode_bytes(data: bytes, exif: bool, max_pixels: int, max_bytes: int) -> tuple[UInt8Array, list[str]]:
    if not data:
        raise _RefusalError(Status.EMPTY, "zero bytes")
    if len(data) > max_bytes:
        raise _RefusalError(Status.TOO_LARGE, f"{len(data):,} bytes; max_bytes allows {max_bytes:,}")
    image, name = _open(data)
    _check_pixels(image.size, max_pixels)
    rgb, notes = _to_rgb(image, exif, name)
    return rgb, [*_frames_note(image), *notes]


def _decode_pil(image: Image.Image, exif: bool, max_pixels: int) -> tuple[UInt8Array, list[str]]:
    if isinstance(image, ImageFile.ImageFile) and image.format not in FORMATS:
        raise _RefusalError(
            Status.BAD_INPUT, f"a PIL image of format {image.format} came, which is not on the list; convert it to RGB"
        )
    if 0 in image.size:
        raise _RefusalError(
            Status.BAD_INPUT, f"a PIL image of {image.size[0]} x {image.size[1]} pixels came; it is empty"
        )
    _check_pixels(image.size, max_pixels)
    if not isinstance(image, ImageFile.ImageFile):
        return _to_rgb(image, exif, "")
    with _LAZY:
        return _to_rgb(image, exif, "")


def _check_array(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], max_pixels: int) -> UInt8Array:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise _RefusalError(
            Status.BAD_INPUT, f"an array {list(array.shape)} {array.dtype} came; expected [H, W, 3] uint8 RGB, 0..255"
        )
    _check_pixels((array.shape[1], array.shape[0]), max_pixels)
    return np.ascontiguousarray(array, np.uint8)


def _check_pixels(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if width * height > max_pixels:
        raise _RefusalError(
            Status.TOO_LARGE, f"{width:,} x {height:,} = {width * height:,} pixels; max_pixels allows {max_pixels:,}"
        )


def _open(data: bytes) -> tuple[ImageFile.ImageFile, str]:
    """The image by its header, not decoded, and its format's name."""
    for name, magic, reader in _READERS:
        if not re.match(magic, data, re.DOTALL):
            continue
        if reader is None:
            raise _RefusalError(Status.NOT_AN_IMAGE, f"an {name} file, which this build of Pillow does not read")
        try:
            return reader(io.BytesIO(data), ""), name
        except Exception as e:  # readers raise whatever damaged data leads them to
            if name in _WEAK:
                raise _RefusalError(Status.NOT_AN_IMAGE, f"{_hint(data)}; as {name}: {_text(e)}") from e
            raise _broken(name, e) from e
    if 2 <= len(data) < 12 and any(start.startswith(data[: len(start)]) for start in _STARTS):
        raise _RefusalError(Status.TRUNCATED, f"ends after {len(data)} bytes, within the first bytes of an image")
    raise _RefusalError(Status.NOT_AN_IMAGE, _hint(data))


def _broken(name: str, error: Exception) -> _RefusalError:
    """The status that an error of Pillow means, on data that begin as an image."""
    reason = f"{name}: {_text(error)}" if name else _text(error)
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return _RefusalError(Status.TOO_LARGE, reason)
    if isinstance(error, MemoryError):
        return _RefusalError(Status.TOO_LARGE, f"{name}: not enough memory for its pixels".removeprefix(": "))
    if _UNSUPPORTED.search(str(error)):
        return _RefusalError(Status.NOT_AN_IMAGE, reason)
    return _RefusalError(Status.TRUNCATED, reason)


def _to_rgb(image: Image.Image, exif: bool, name: str) -> tuple[UInt8Array, list[str]]:
    """Load the image and turn it upright. name: the format of encoded data; "" for a PIL image from memory."""
    try:
        image.load()
    except Exception as e:
        damaged = isinstance(e, (SyntaxError, EOFError)) or (isinstance(e, OSError) and e.errno is None)
        if not name and not damaged:  # its file is gone or was closed
            raise _RefusalError(Status.UNREADABLE, f"a PIL image that cannot be loaded: {_text(e)}") from e
        raise _broken(name, e) from e
    orientation, notes = orientation_of(image) if exif else (1, [])
    undefined = Status.NOT_AN_IMAGE if name else Status.BAD_INPUT
    upright, note = _eight_bit(image, undefined)
    if orientation != 1:
        upright = upright.transpose(_UPRIGHT[orientation])
    return np.ascontiguousarray(np.asarray(upright), np.uint8), [*note, *notes]


def _eight_bit(image: Image.Image, undefined: Status) -> tuple[Image.Image, list[str]]:
    """The loaded image as 8-bit RGB. undefined: the status of pixels whose range cannot be known."""
    if image.mode == "RGB":
        return image, []
    if image.mode == "F":
        raise _RefusalError(undefined, "floating point pixels (mode F), whose range is a guess; scale them to 8 bit")
    if image.mode == "I" or image.mode.startswith("I;16"):
        return _scale_16_bit(image, undefined), ["16-bit, scaled to 8 bit"]
    if isinstance(image.info.get("transparency"), bytes):  # convert would warn; the pixels are the same without it
        image = image.copy()
        del image.info["transparency"]
    try:
        rgb = image.convert("RGB")
    except Exception as e:
        raise _RefusalError(undefined, f"Pillow cannot convert mode {image.mode} to RGB: {_text(e)}") from e
    return rgb, ["CMYK converted to RGB by Pillow"] if image.mode == "CMYK" else []


def _scale_16_bit(image: Image.Image, undefined: Status) -> Image.Image:
    """Grey of 0..65535 to RGB of round(v / 257): 65535 becomes 255, 32896 becomes 128."""
    values = np.asarray(image)
    if image.mode == "I":  # Pillow gives 16-bit PGM, older versions 16-bit PNG too, in this 32-bit mode
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise _RefusalError(
                undefined, f"32-bit pixels of {low}..{high}, whose range is a guess; scale them to 8 bit"
            )
    grey = ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def orientation_of(image: Image.Image) -> tuple[int, list[str]]:
    """1 to 8, what Pillow reads from EXIF or XMP; 1 for anything else."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
        return (int(value) if value in _UPRIGHT else 1), []
    except Exception as e:  # broken EXIF must not lose the picture
        return 1, [f"EXIF unreadable, orientation not applied ({_text(e)})"]


def _frames_note(image: ImageFile.ImageFile) -> list[str]:
    """Call this last: counting frames seeks to another frame."""
    try:
        count = int(getattr(image, "n_frames", 1))
    except Exception:  # the first frame is whole, what follows is not
        return ["first frame; the others are damaged"]
    return [f"first of {count} frames"] if count > 1 else []


def _hint(data: bytes) -> str:
    head = data[:_HEAD]
    for magic, what in _HINTS:
        if re.match(magic, head, re.DOTALL | re.IGNORECASE):
            return f"no image; looks like {what}"
    if _is_text(head):
        shown = " ".join(head[:32].decode("utf-8", "ignore").split())
        return f"no image; looks like text: {shown!r}"
    return f"no image that is known here; first bytes {data[:8].hex(' ')}"


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.start < len(head) - 3 or len(head) < _HEAD:  # else a character cut at the end of the head
            return False
        text = head[: e.start].decode("utf-8")
    return all(c.isprintable() or c in "\t\r\n\f\ufeff" for c in text)


def _text(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
