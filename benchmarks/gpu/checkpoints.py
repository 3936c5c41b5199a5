"""The checkpoint of a run and its pictures, made beside the measurements, for what random weights cannot show."""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu.context import Context
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.engines.fidelity import MIN_PICTURES_FOR_RANKS
from emonet_fast.engines.pictures import generated_pixels
from emonet_fast.records import UInt8Array

# Seeds and counts: what is compared, what FP8 is calibrated on, what its certificate compares. All different.
COMPARED, CALIBRATED, CERTIFIED = (1, MIN_PICTURES_FOR_RANKS), (2, 128), (3, MIN_PICTURES_FOR_RANKS)


def opened(context: Context) -> Checkpoint:
    return open_checkpoint(folder_of(context), context.cache)


def make(context: Context) -> dict[str, Any]:
    """A synthetic one with Large heads, written and packed; or a tiny one."""
    folder, layers = folder_of(context), context.network.vision.num_hidden_layers
    if not folder.exists():
        if context.dry:
            tiny(folder)
        else:
            from emonet_fast.testing.synthetic import write_synthetic

            write_synthetic(folder, heads="large", layers=layers)
    for which in (COMPARED, CALIBRATED, CERTIFIED):
        pixels(context, *which)
    return {"layers": layers, "weights_hash": opened(context).weights_hash}


def pixels(context: Context, seed: int, count: int) -> UInt8Array:
    """Pictures as the network's input, [count, 3, S, S]; noise in a dry run."""
    size = context.network.vision.image_size
    if context.dry:
        return np.random.default_rng(seed).integers(0, 256, (count, 3, size, size), dtype=np.uint8)
    path = context.cache / f"pixels-{seed}-{count}.npy"
    if not path.exists():
        partial = path.with_suffix(".partial.npy")  # a run may be killed at any moment, and the next one reads this
        np.save(partial, generated_pixels(opened(context), count, seed))
        partial.replace(path)
    found: UInt8Array = np.load(path)
    return found


def folder_of(context: Context) -> Path:
    return context.cache / f"published-{context.network.vision.num_hidden_layers}"


def tiny(folder: Path) -> None:
    """2 layers, hidden 144 (2 heads of 72), 16 tokens, 44 heads: what the tests use too."""
    from tests.tiny import write_tiny

    write_tiny(folder, widths=(144, 32, 16, 1), attention_heads=2, intermediate=304, image=64)
