"""Pictures, decoders and what they give, for the tests of this folder."""

from collections.abc import Iterable
from contextlib import nullcontext

import numpy as np

from emonet_fast.checkpoint.spec import Preprocess
from emonet_fast.decoders.base import Decoder
from emonet_fast.decoders.pillow import PillowDecoder
from emonet_fast.options import Options
from emonet_fast.records import Decoded, Picture

from .. import tolerances
from ..pictures import encoded as encoded

BILINEAR = Preprocess(384, "bilinear", 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def untimed(stage: str) -> nullcontext[None]:
    return nullcontext()


def pillow(spec: Preprocess = BILINEAR, options: Options | None = None) -> PillowDecoder:
    return PillowDecoder(spec, options or Options(), untimed)


def dali(spec: Preprocess = BILINEAR, options: Options | None = None) -> Decoder:
    from emonet_fast.decoders.dali.decoder import DaliDecoder

    return DaliDecoder(spec, options or Options(), untimed, threads=2)


def by_pipeline(
    pictures: list[Picture], batch_size: int = 8, *, exif: bool = True, output: str = "uint8"
) -> list[np.ndarray]:
    """The whole pipeline on the CPU, as a GPU runs it, DALI's resize and all: a row's output each."""
    from emonet_fast.decoders.dali.definition import Definition
    from emonet_fast.decoders.dali.feeding import rows_of
    from emonet_fast.decoders.dali.runner import Runner
    from emonet_fast.decoders.dali.triage import triage

    samples = [sample for picture in pictures for sample in triage(picture, Options(exif=exif))]
    found = []
    for start in range(0, len(samples), batch_size):
        run = samples[start : start + batch_size]
        runner = Runner(Definition(BILINEAR, None, batch_size, 2, exif=exif, rows=rows_of(run), output=output))
        runner.start(run)
        result = runner.finish()
        assert not result.failed
        found += result.outputs[0].on_host()
        runner.close()
    return found


def apart(ours: list[np.ndarray], theirs: list) -> int:
    """The largest difference in levels of a pipeline's rows from a decoder's."""
    return max(int(np.abs(a.astype(np.int16) - b).max()) for a, (_, b) in zip(ours, theirs, strict=True))


def check_resized(ours: list[np.ndarray], theirs: list) -> None:
    """A pipeline's rows are a decoder's, but for the rounding of the resize."""
    differences = np.concatenate(
        [np.abs(a.astype(np.int16) - b).ravel() for a, (_, b) in zip(ours, theirs, strict=True)]
    )
    assert differences.max() <= 2 * tolerances.DALI_RESIZE
    assert np.mean(differences > tolerances.DALI_RESIZE) <= tolerances.DALI_RESIZE_TWICE


def rows(
    decoder: Decoder, pictures: Iterable[Picture], batch_size: int = 8, *, keep_rgb: bool = False
) -> list[tuple[Decoded, np.ndarray | None]]:
    """Every row with its pixels, in order."""
    found: list[tuple[Decoded, np.ndarray | None]] = []
    for batch in decoder.batches(pictures, batch_size, keep_rgb=keep_rgb):
        pixels = {place: row for part in batch.parts for place, row in zip(part.places, part.pixels, strict=True)}
        found += [(row, pixels.get(i)) for i, row in enumerate(batch.rows)]
    return found


def furthest(ours: list, theirs: list) -> int:
    """The largest difference in levels; statuses, keys and reasons must be the same."""
    assert [(d.key, d.status, d.reason) for d, _ in ours] == [(d.key, d.status, d.reason) for d, _ in theirs]
    pairs = [(a, b) for (_, a), (_, b) in zip(ours, theirs, strict=True) if b is not None]
    return max((int(np.abs(a.astype(np.int16) - b).max()) for a, b in pairs), default=0)
