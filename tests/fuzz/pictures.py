"""Damaged pictures of every format, through both decoders: the same rows, the published pixels, good ones unharmed."""

import io
import random
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, features

from emonet_fast.decode.switches import own_switches
from emonet_fast.optional import available
from emonet_fast.records import Box, Picture, Status

from ..decoders.exif_files import odd_files
from ..decoders.making import BILINEAR, dali, encoded, pillow, rows
from . import mutated

COUNT, QUICK = 10_000, 60


def originals() -> list[bytes]:
    """Small pictures of every kind that a decoder tells apart."""
    y, x = np.mgrid[:90, :120]
    photo = np.stack([x * 2, y * 2, (x * y) % 256], -1).astype(np.uint8)
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    image, grey = Image.fromarray(photo), Image.fromarray(noise[..., 0])
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"

    def frames() -> dict[str, object]:  # new ones each time: Pillow keeps an encoder's settings in an image
        return {"save_all": True, "append_images": [image.rotate(90), image.rotate(180)]}

    kinds = [
        (image, "JPEG", {"exif": exif}),
        (image, "JPEG", {"progressive": True}),
        (image, "JPEG", {"subsampling": 0, "restart_marker_blocks": 2, "icc_profile": b"x" * 300}),
        (grey, "JPEG", {"optimize": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "MPO", frames()),
        (image, "PNG", {"exif": exif}),
        (image, "PNG", frames()),
        (image.convert("RGBA"), "PNG", {}),
        (image.quantize(32), "PNG", {"transparency": 3}),
        (grey, "PNG", {}),
        (Image.fromarray(noise[..., 0].astype(np.uint16) * 200), "PNG", {}),
        (image, "WEBP", {"quality": 70, "exif": exif}),
        (image.convert("RGBA"), "WEBP", {"lossless": True}),
        (image, "WEBP", frames()),
        (image, "GIF", frames()),
        (image, "TIFF", {"tiffinfo": {274: 6}}),
        (image, "TIFF", {"compression": "tiff_lzw"}),
        (image, "TIFF", {"compression": "jpeg"}),
        (image, "TIFF", frames()),
        (grey, "TIFF", {"compression": "tiff_adobe_deflate"}),
        (image, "BMP", {}),
        (image.quantize(16), "BMP", {}),
        (image, "PPM", {}),
        (grey, "PPM", {}),
    ]
    if features.check("avif"):
        kinds.append((image, "AVIF", {"exif": exif}))
    made = [encoded(one.copy(), kind, **settings) for one, kind, settings in kinds]
    made.append(b"P3 8 6 255\n# text\n" + b" ".join(b"%d" % value for value in noise[:6, :8].ravel()))
    return made + list(odd_files().values())


def published(data: bytes) -> np.ndarray:
    """The published pipeline's pixels, upright."""
    with warnings.catch_warnings(), own_switches():
        warnings.simplefilter("ignore")
        return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def prepare(folder: Path) -> Callable[[int], None]:
    warnings.simplefilter("ignore")
    files = originals()
    good = Picture("good", encoded(np.random.default_rng(1).integers(0, 256, (64, 48, 3), dtype=np.uint8)))
    spec = replace(BILINEAR, size=32)
    decoders = [pillow(spec), *([dali(spec)] if available("nvidia.dali") else [])]
    alone = [rows(decoder, [good], keep_rgb=True)[0] for decoder in decoders]

    def case(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - no secret
        data = mutated(rng.choice(files), rng, changes=rng.choice((1, 1, 2, 8)))
        left, top = rng.randrange(-20, 60), rng.randrange(-20, 60)
        boxes = (Box(left, top, left + rng.randrange(1, 90), top + rng.randrange(1, 90)),)
        pictures = [good, Picture("bad", data), replace(good, key="between"), Picture("box", data, boxes=boxes), good]
        found = [rows(decoder, pictures, keep_rgb=True) for decoder in decoders]
        for got, (_, pixels) in zip(found, alone, strict=True):
            assert [row.key for row, _ in got] == ["good", "bad", "between", "box::box0", "good"]
            for place in (0, 2, 4):
                assert got[place][0].status == Status.OK
                np.testing.assert_array_equal(got[place][1], pixels)
        for other in found[1:]:
            for (row, pixels), (twin, theirs) in zip(other, found[0], strict=True):
                assert (row.status, row.reason) == (twin.status, twin.reason)
                np.testing.assert_array_equal(pixels, theirs)
        bad = found[0][1][0]
        if bad.status == Status.OK and "EXIF unreadable" not in bad.reason:
            np.testing.assert_array_equal(bad.rgb, published(data))

    return case
