"""A Picture to upright RGB pixels, or to a status and a reason. Nothing here raises for bad data."""

import threading
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFile

from ..options import Options
from ..records import Decoded, Picture, Status, UInt8Array
from .cost import check_size, room_of, to_load, to_open, to_turn
from .formats import NAMES, format_of, open_image
from .frames import frames_note
from .profile import profile_note
from .refusal import RefusalError, broken, text
from .rgb import to_rgb
from .switches import own_switches
from .upright import orientation_of

# A lazily opened PIL image that occurs twice must not be read by two threads at once.
_LAZY = threading.Lock()
# What ends a file that is whole: zeros after it are padding.
_ENDS = (b"\xff\xd9", b"IEND\xaeB`\x82", b"\0;")
_BLOCK = 4096
_RAW = frozenset({"BMP", "PPM"})  # without compression zeros are black pixels


def decode(picture: Picture, options: Options) -> Decoded:
    """Decode encoded bytes, a PIL image or an array to upright RGB. Thread-safe; never raises for bad data.

    Pixels are those of `Image.convert("RGB")`, like the published pipeline's: alpha is dropped, no colour profile is
    applied, grey of 16 bits is cut off at 255; the reason of the row says so. Of several frames the first one is taken;
    of a PIL image, its current one. Pixels without a defined range (float, 32-bit) are refused. `FORMATS` lists what is
    read.

    `options.exif` applies the orientation of EXIF or XMP; Pillow always applies that of TIFF. What is beyond the limits
    of the options by its bytes, header and structure is TOO_LARGE or TOO_SLOW and not decoded. The boxes of the picture
    are not looked at.
    """
    if picture.status != Status.OK:
        return Decoded(picture.key, None, picture.status, picture.reason)
    try:
        with own_switches():
            rgb, notes = _decoded(picture.data, options)
    except RefusalError as refusal:
        return Decoded(picture.key, None, refusal.status, refusal.reason)
    except MemoryError:
        return Decoded(picture.key, None, Status.TOO_LARGE, "not enough memory to decode it")
    except Exception as e:  # whatever it is, it is this picture's
        return Decoded(picture.key, None, Status.FAILED, f"decoding failed: {type(e).__name__}: {text(e)}")
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
        notes: what the row says of the file, where its pixels need no conversion.
    """

    format: str
    image: ImageFile.ImageFile
    width: int
    height: int
    orientation: int
    notes: tuple[str, ...] = ()


def read_header(data: bytes, options: Options) -> Header | None:
    """The header of encoded bytes; None where the header or the limits keep `decode` from giving pixels.

    Other decoders call it, as they must refuse what `decode` refuses. A header says nothing of the pixel data: only
    decoding tells whether they are whole.
    """
    try:
        with own_switches():
            image, name = _open(data, options)
            orientation, unread = orientation_of(image) if options.exif else (1, [])
            if unread or frames_note(image, data):  # `decode` says more of these
                return None
    except (RefusalError, MemoryError):
        return None
    width, height = image.size if orientation < 5 else image.size[::-1]
    notes = (*_zeros_note(data, image, name), *profile_note(image.info.get("icc_profile")))
    return Header(name, image, width, height, orientation, notes)


def _decoded(data: object, options: Options) -> tuple[UInt8Array, list[str]]:
    if isinstance(data, bytes):
        image, name = _open(data, options)
        frames = frames_note(image, data)
        rgb, notes = _loaded(image, options, name)
        return rgb, [*([frames] if frames else []), *_zeros_note(data, image, name), *notes]
    if isinstance(data, Image.Image):
        return _decode_pil(data, options)
    if isinstance(data, np.ndarray):
        return _check_array(data, options), []
    raise RefusalError(Status.BAD_INPUT, f"a {type(data).__name__} came; expected bytes, a PIL image or an array")


def _open(data: bytes, options: Options) -> tuple[ImageFile.ImageFile, str]:
    """The image by its header, within all limits, and its format's name."""
    if not data:
        raise RefusalError(Status.EMPTY, "zero bytes")
    if len(data) > options.max_bytes:
        raise RefusalError(Status.TOO_LARGE, f"{len(data):,} bytes; max_bytes allows {options.max_bytes:,}")
    kind = format_of(data)
    opening = to_open(kind.name, data, options.max_seconds)
    opening.check(options)
    image = open_image(data, kind)
    check_size(image.size, options)
    to_turn(image).check(options)
    to_load(kind.name, data, image).check(options, opening)
    return image, kind.name


def _decode_pil(image: Image.Image, options: Options) -> tuple[UInt8Array, list[str]]:
    if isinstance(image, ImageFile.ImageFile) and image.format not in NAMES:
        raise RefusalError(
            Status.BAD_INPUT, f"a PIL image of format {image.format} came, which is not on the list; convert it to RGB"
        )
    if 0 in image.size:
        raise RefusalError(
            Status.BAD_INPUT, f"a PIL image of {image.size[0]} x {image.size[1]} pixels came; it is empty"
        )
    check_size(image.size, options)
    room_of(image).check(options)
    if not isinstance(image, ImageFile.ImageFile):
        return _loaded(image, options, "")
    with _LAZY:
        return _loaded(image, options, "")


def _check_array(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], options: Options) -> UInt8Array:
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise RefusalError(
            Status.BAD_INPUT, f"an array {list(array.shape)} {array.dtype} came; expected [H, W, 3] uint8 RGB, 0..255"
        )
    check_size((array.shape[1], array.shape[0]), options)
    return np.ascontiguousarray(array, np.uint8)


def _loaded(image: Image.Image, options: Options, name: str) -> tuple[UInt8Array, list[str]]:
    """Load the image and turn it upright. name: the format of encoded data; "" for a PIL image from memory."""
    try:
        image.load()
    except Exception as e:
        damaged = isinstance(e, (SyntaxError, EOFError)) or (isinstance(e, OSError) and e.errno is None)
        if not name and not damaged:  # its file is gone or was closed
            raise RefusalError(Status.UNREADABLE, f"a PIL image that cannot be loaded: {text(e)}") from e
        raise broken(name, e) from e
    check_size(image.size, options)  # a HEIF may turn out larger than its header says
    orientation, notes = orientation_of(image) if options.exif else (1, [])
    if orientation != 1 and not isinstance(image, ImageFile.ImageFile):  # made by a program, which may have turned it
        notes = [*notes, f"turned by its EXIF orientation {orientation}; give an array where it stood upright already"]
    rgb, converted = to_rgb(image, orientation, Status.NOT_AN_IMAGE if name else Status.BAD_INPUT)
    return rgb, [*converted, *notes]


def _zeros_note(data: bytes, image: ImageFile.ImageFile, name: str) -> list[str]:
    """A note where a file holds a run of zeros, as unfinished downloads into a file of full size do."""
    raw = name in _RAW or image.info.get("compression") == "raw"
    least = max(_BLOCK, len(data) // (2 if raw else 8))
    start = data.find(bytes(least))
    if start < 0:
        return []
    end = len(data) - len(data[start:].lstrip(b"\0"))
    # Not padding after a whole file, nor what a flat picture compresses to: the pieces of a download are blocks.
    if data[:start].endswith(_ENDS) or not (end == len(data) or start % _BLOCK == 0 or end % _BLOCK == 0):
        return []
    return [f"{100 * (end - start) // len(data)}% of the file is one run of zeros (an unfinished download?)"]
