"""The checkpoint of a run, made once beside the measurements; for the parts that need weights like trained ones."""

from pathlib import Path
from typing import Any

from benchmarks.gpu.context import Context
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint

# The pictures that the synthetic checkpoint is calibrated on; other ones than those it is checked with.
CALIBRATION_PICTURES, CALIBRATION_SEED = 24, 20_000


def opened(context: Context) -> Checkpoint:
    return open_checkpoint(folder_of(context), context.cache)


def make(context: Context) -> dict[str, Any]:
    """A synthetic one with Large heads, written and packed; or a tiny one."""
    folder, layers = folder_of(context), context.network.vision.num_hidden_layers
    if not folder.exists():
        if context.dry:
            tiny(folder)
        else:
            from benchmarks.gpu.pictures import pictures
            from emonet_fast.testing.synthetic import write_synthetic

            drawn = pictures(CALIBRATION_PICTURES, CALIBRATION_SEED)
            write_synthetic(folder, heads="large", layers=layers, pictures=drawn)
    return {"layers": layers, "weights_hash": opened(context).weights_hash}


def folder_of(context: Context) -> Path:
    return context.cache / f"published-{context.network.vision.num_hidden_layers}"


def tiny(folder: Path) -> None:
    """2 layers, hidden 144 (2 heads of 72), 16 tokens, 44 heads: what the tests use too."""
    from tests.tiny import write_tiny

    write_tiny(folder, widths=(144, 32, 16, 1), attention_heads=2, intermediate=304, image=64)
