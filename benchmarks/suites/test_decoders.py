"""Decode and preprocess: JPEG bytes to the network's input [3, S, S].

Baseline: Pillow and transformers' image processor, as published, to the same uint8. Sides: our decoders.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import fairness
from benchmarks.baselines.alone import rgb
from benchmarks.harness import Case, NotHereError, Run
from benchmarks.workshop import Workshop
from emonet_fast.backends.reference import image_processor
from emonet_fast.checkpoint.spec import Preprocess
from emonet_fast.decoders.pillow import PillowDecoder
from emonet_fast.errors import EmonetError
from emonet_fast.optional import need
from emonet_fast.options import Options
from emonet_fast.process import available_cores
from emonet_fast.records import Picture

# Levels of 255 that a pixel may lie off: the project's bar for DALI's resize. Pillow's own must be exact, and is.
LEVELS = 1.0
RUN = 8


def cases(shop: Workshop) -> Iterator[Case]:
    heads = next(iter(shop.checkpoints))
    for size in (1024,) if shop.quick else (512, 1024, 2048):
        yield Case(
            group=f"decoders: {RUN} JPEGs of {size} x {size}",
            inputs=lambda size=size: chunks(shop.portraits(3 * RUN, size)),
            sides={
                "published processor": lambda: processor(shop.checkpoint(heads).preprocess),
                "bare Pillow": lambda: bare(shop.checkpoint(heads).preprocess),
                "pillow": lambda: ours(shop.checkpoint(heads).preprocess, "pillow"),
                "dali": lambda: ours(shop.checkpoint(heads).preprocess, "dali"),
            },
            judge=judge,
            beside={"pillow": "bare Pillow", "dali": "bare Pillow"},
            images=RUN,
            check=2,
            info={"size": size},
        )


def test_decoders(side: Any) -> None:
    side()


def judge(outputs: Mapping[str, list[Any]]) -> Mapping[str, fairness.Verdict]:
    return fairness.values(outputs, LEVELS, "pixels, levels")


def chunks(files: list[bytes]) -> list[list[bytes]]:
    return [files[i : i + RUN] for i in range(0, len(files), RUN)]


def processor(spec: Preprocess) -> Run:
    """Stops before the normalisation, which our engines do in their graph: the published side does less here."""
    made = image_processor(spec)

    def run(files: list[bytes]) -> Any:
        images = [rgb(data) for data in files]
        done = made(images=images, return_tensors="np", do_rescale=False, do_normalize=False)
        return np.asarray(done["pixel_values"])

    return run


def bare(spec: Preprocess) -> Run:
    """The least that decodes and resizes: no file is looked at, no orientation, nothing kept."""
    filter_ = Image.Resampling[spec.resample.upper()]

    def run(files: list[bytes]) -> Any:
        small = [Image.open(io.BytesIO(one)).convert("RGB").resize((spec.size, spec.size), filter_) for one in files]
        return np.stack([np.asarray(one).transpose(2, 0, 1) for one in small])

    return run


def ours(spec: Preprocess, name: str) -> Run:
    options = Options()
    if name == "pillow":
        decoder: Any = PillowDecoder(spec, options, lambda stage: nullcontext())
    else:
        try:
            need("nvidia.dali", "the decoder 'dali'")
        except EmonetError as error:
            raise NotHereError(str(error)) from error
        from emonet_fast.decoders.dali.decoder import DaliDecoder

        decoder = DaliDecoder(spec, options, lambda stage: nullcontext(), available_cores())

    def run(files: list[bytes]) -> Any:
        pictures = [Picture(f"{i}", data) for i, data in enumerate(files)]
        rows = np.empty((len(files), 3, spec.size, spec.size), np.uint8)
        at = 0
        for prepared in decoder.batches(pictures, RUN, keep_rgb=False):
            for part in prepared.parts:
                rows[at + np.asarray(part.places)] = part.pixels
            at += len(prepared.rows)
        return rows

    return run
