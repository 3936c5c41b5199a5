"""A tiny checkpoint, and what its engine makes of some pictures."""

from dataclasses import dataclass

import numpy as np
import pytest

from emonet_fast import Scorer
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.export import export
from emonet_fast.options import ExportOptions, Options
from emonet_fast.records import Float32Array, UInt8Array


@dataclass(frozen=True)
class Tiny:
    """A checkpoint, pictures [n, 3, S, S] uint8 in its size, and what the float32 engine makes of them."""

    checkpoint: Checkpoint
    pixels: UInt8Array
    outputs: dict[str, Float32Array]

    def written(self, output, **wanted):
        options = Options(cache_dir=output.parent / "cache", precision="int8")
        return export(self.checkpoint, output, ExportOptions(**wanted), options)


@pytest.fixture(scope="session")
def tiny(tiny_folder, cache_dir):
    pixels = np.random.default_rng(7).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    with Scorer(tiny_folder, device="cpu", precision="fp32", cache_dir=cache_dir) as scorer:
        scores = scorer([one.transpose(1, 2, 0) for one in pixels], embeddings=True)
    named = {"scores": scores.score, "raw": scores.raw, "embedding": scores.embeddings, "softmax": scores.softmax}
    return Tiny(open_checkpoint(tiny_folder, cache_dir), pixels, named)
