"""Which bytes are a picture of which format, and who reads it.

Pillow's readers are called by name, by the file's first bytes. Image.open would reach others too (EPS starts
Ghostscript), and would hold every thread to Pillow's process-wide MAX_IMAGE_PIXELS. Only the TIFF, WebP and some GIF
readers ask Pillow: beyond twice 89 megapixels they give TOO_LARGE.
"""

import importlib
import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
    features,
)

from ..optional import available
from ..records import Status
from .refusal import RefusalError, broken, text

try:  # since Pillow 11.3, and only where it was built with libavif
    from PIL import AvifImagePlugin
except ImportError:
    AvifImagePlugin = None  # type: ignore[assignment]

Reader: TypeAlias = Callable[..., ImageFile.ImageFile]


@dataclass(frozen=True, slots=True)
class Format:
    """A picture format that can be read, here or after an installation.

    Args:
        name: as Pillow calls it.
        suffixes: of its files' names, in small letters.
        magic: a regular expression for its first bytes.
        reader: Pillow's reader; None where this build of Pillow has none.
        plugin: "package module.Reader" of a package that reads it, if it takes one.
        install: what to install where it cannot be read.
    """

    name: str
    suffixes: tuple[str, ...]
    magic: bytes
    reader: Reader | None
    plugin: str = ""
    install: str = ""

    @property
    def readable(self) -> bool:
        """Whether it can be read here."""
        return self.reader is not None or bool(self.plugin and available(self.plugin.split(".")[0]))


_AVIF = rb"....ftyp(avif|avis)|....ftypmif1.{4,64}avif"
_HEIF = rb"....ftyp(hei[cfxms]|hev[cx]|mif1|msf1)"
FORMATS = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), rb"\xff\xd8\xff", JpegImagePlugin.jpeg_factory),
    Format("PNG", (".png", ".apng"), rb"\x89PNG\r\n\x1a\n", PngImagePlugin.PngImageFile),
    Format(
        "WEBP",
        (".webp",),
        rb"RIFF....WEBP",
        WebPImagePlugin.WebPImageFile if features.check("webp") else None,
        install="a Pillow that was built with libwebp",
    ),
    Format("GIF", (".gif",), rb"GIF8[79]a", GifImagePlugin.GifImageFile),
    Format("TIFF", (".tif", ".tiff"), rb"II\*\0|MM\0\*|II\+\0|MM\0\+", TiffImagePlugin.TiffImageFile),
    Format(
        "AVIF",
        (".avif",),
        _AVIF,
        AvifImagePlugin.AvifImageFile if AvifImagePlugin and AvifImagePlugin.SUPPORTED else None,
        install="pip install 'pillow>=11.3', built with libavif",
    ),
    Format(
        "HEIF",
        (".heic", ".heif", ".hif"),
        _HEIF,
        None,
        "pillow_heif.as_plugin.HeifImageFile",
        "pip install 'emonet-fast[heif]'",
    ),
    Format(  # the plugin's licence is the GPL's, so that no extra brings it
        "JXL",
        (".jxl",),
        rb"\xff\x0a|\0\0\0\x0cJXL ",
        None,
        "pillow_jxl.JpegXLImagePlugin.JXLImageFile",
        "pip install pillow-jxl-plugin (GPL)",
    ),
    Format("BMP", (".bmp",), rb"BM", BmpImagePlugin.BmpImageFile),
    Format("PPM", (".ppm", ".pgm", ".pbm", ".pnm"), rb"P[1-6]\s", PpmImagePlugin.PpmImageFile),
)
# Of PIL images that a program hands over. MPO: JPEGs in a row, opened as JPEG.
NAMES = frozenset(one.name for one in FORMATS) | {"MPO"}
_WEAK = frozenset({"BMP", "PPM"})  # two letters make no image: a text may begin so
_STARTS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF", b"GIF89a", b"GIF87a")
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
    (rb"....ftyp", "an MP4 or QuickTime video"),
    (rb"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (rb"RIFF....AVI ", "an AVI video"),
    (rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51", "JPEG 2000, which is not on the list of formats"),
    (rb"\0\0[\1\2]\0", "an icon"),
    (rb"\x93NUMPY", "a NumPy array"),
    (rb"\0{16}", "zeros (an unfinished download?)"),
)
_HEAD = 512


def format_of(data: bytes) -> Format:
    """The format that the first bytes tell; a refusal where they tell none, or one that cannot be read here."""
    for one in FORMATS:
        if re.match(one.magic, data[:_HEAD], re.DOTALL):
            if not one.readable:
                reason = f"{one.name} ({one.suffixes[0]}), which cannot be read here; install: {one.install}"
                raise RefusalError(Status.NOT_AN_IMAGE, reason)
            return one
    if 2 <= len(data) < 12 and any(start.startswith(data[: len(start)]) for start in _STARTS):
        raise RefusalError(Status.TRUNCATED, f"ends after {len(data)} bytes, within the first bytes of an image")
    raise RefusalError(Status.NOT_AN_IMAGE, _hint(data))


def open_image(data: bytes, one: Format) -> ImageFile.ImageFile:
    """The image by its header, not decoded."""
    try:
        return (one.reader or _from_plugin(one.plugin))(io.BytesIO(data), "")
    except ImportError as e:
        raise RefusalError(Status.NOT_AN_IMAGE, f"an {one.name} file, whose reader is broken: {text(e)}") from e
    except Exception as e:  # readers raise whatever damaged data leads them to
        if one.name in _WEAK and not isinstance(e, MemoryError):
            raise RefusalError(Status.NOT_AN_IMAGE, f"{_hint(data)}; as {one.name}: {text(e)}") from e
        raise broken(one.name, e) from e


def _from_plugin(plugin: str) -> Reader:
    module, _, name = plugin.rpartition(".")
    reader: Reader = getattr(importlib.import_module(module), name)
    return reader


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
        found = head.decode("utf-8")
    except UnicodeDecodeError as e:
        if e.start < len(head) - 3 or len(head) < _HEAD:  # else a character cut at the end of the head
            return False
        found = head[: e.start].decode("utf-8")
    return all(c.isprintable() or c in "\t\r\n\f\ufeff" for c in found)
