"""Pictures, decoders and what they give, for the tests of this folder."""

from collections.abc import Iterable
from contextlib import nullcontext

import numpy as np

from emonet_fast.checkpoint.spec import Preprocess
from emonet_fast.decoders.base import Decoder, FaceLocator, Prepared
from emonet_fast.decoders.pillow import PillowDecoder
from emonet_fast.options import Options
from emonet_fast.records import Decoded, Picture

from ..pictures import encoded as encoded

BILINEAR = Preprocess(384, "bilinear", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def untimed(stage: str) -> nullcontext[None]:
    return nullcontext()


def pillow(spec: Preprocess = BILINEAR, options: Options | None = None) -> PillowDecoder:
    return PillowDecoder(spec, options or Options(), untimed)


def dali(spec: Preprocess = BILINEAR, options: Options | None = None) -> Decoder:
    from emonet_fast.decoders.dali.decoder import DaliDecoder

    return DaliDecoder(spec, options or Options(), untimed, threads=2)


def on_device(spec: Preprocess = BILINEAR, options: Options | None = None) -> Decoder:
    """The DALI decoder as on a GPU: pictures are torch tensors, resized by our kernel in Triton's interpreter."""
    from emonet_fast.decoders.dali.exact import DevicePictures

    decoder = dali(spec, options)
    decoder._device = DevicePictures(spec, None, None)
    return decoder


def rows(
    decoder: Decoder,
    pictures: Iterable[Picture],
    batch_size: int = 8,
    *,
    keep_rgb: bool = False,
    faces: FaceLocator | None = None,
) -> list[tuple[Decoded, np.ndarray | None]]:
    """Every row with its pixels, in order."""
    batches = list(decoder.batches(pictures, batch_size, keep_rgb=keep_rgb, faces=faces))
    assert all(len(part.places) <= batch_size for batch in batches for part in batch.parts)
    return read(batches)


def read(batches: Iterable[Prepared]) -> list[tuple[Decoded, np.ndarray | None]]:
    """Every row of the batches with its pixels, in order."""
    found: list[tuple[Decoded, np.ndarray | None]] = []
    for batch in batches:
        pixels: dict[int, np.ndarray] = {}
        for part in batch.parts:
            values = np.from_dlpack(part.pixels) if part.on_device else part.pixels
            assert len(values) == len(part.places)
            pixels |= dict(zip(part.places, values, strict=True))
        found += [(row, pixels.get(i)) for i, row in enumerate(batch.rows)]
    return found


def furthest(ours: list, theirs: list) -> int:
    """The largest difference in levels; statuses, keys and reasons must be the same."""
    assert [(d.key, d.status, d.reason) for d, _ in ours] == [(d.key, d.status, d.reason) for d, _ in theirs]
    pairs = [(a, b) for (_, a), (_, b) in zip(ours, theirs, strict=True) if b is not None]
    return max((int(np.abs(a.astype(np.int16) - b).max()) for a, b in pairs), default=0)
