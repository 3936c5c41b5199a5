"""What the baselines have in common: pictures in, scores and speed out, so that a reader can run any of them alone."""

import argparse
import io
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from emonet_fast.backends.base import Outputs
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.options import default_cache_dir
from emonet_fast.process import memory_mb


class Baseline(Protocol):
    """What a user would run instead of this package."""

    def scores(self, files: Sequence[bytes]) -> Outputs:
        """Encoded pictures to embedding and raw scores on the host."""
        ...

    def network(self, pixels: Any) -> Outputs:
        """The network alone: [n, 3, S, S] uint8 on the host to embedding and raw scores on the host."""
        ...


# (checkpoint, device) -> the baseline
Make = Callable[[str, str], Baseline]


def rgb(data: bytes) -> Any:
    """Encoded bytes to [H, W, 3] uint8, as everybody does it."""
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def joined(parts: Sequence[Outputs]) -> Outputs:
    return Outputs(np.concatenate([p.embedding for p in parts]), np.concatenate([p.raw for p in parts]))


def main(make: Make, about: str) -> None:
    """The command line of one baseline."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pictures", nargs="+", type=Path, help="image files")
    parser.add_argument("--checkpoint", required=True, help="a folder with encoder/ and heads/, or large or small")
    parser.add_argument("--device", default="cpu", help="cpu or cuda[:N]")
    parser.add_argument("--json", action="store_true", help="the figures alone, as JSON")
    options = parser.parse_args()
    files = [path.read_bytes() for path in options.pictures]
    began = time.perf_counter()
    baseline = make(options.checkpoint, options.device)
    first = baseline.scores(files[:1])
    opened = time.perf_counter() - began
    began = time.perf_counter()
    raw = baseline.scores(files).raw
    seconds = (time.perf_counter() - began) / len(files)
    figures = {"first_score_seconds": opened, "seconds_an_image": seconds, "memory_mb": memory_mb(), **gpu_memory()}
    if options.json:
        print(json.dumps(figures | {"raw": first.raw.tolist()}))
        return
    names = open_checkpoint(options.checkpoint, default_cache_dir()).names
    for path, row in zip(options.pictures, raw, strict=True):
        top = ", ".join(f"{names[i]} {row[i]:.2f}" for i in np.argsort(-row)[:5])
        print(f"{path.name}: {top}")
    print(
        f"{seconds:.3f} s/image; first score after {opened:.1f} s; {figures['memory_mb'].get('peak', 0):.0f} MB at most"
    )


def gpu_memory() -> dict[str, float]:
    """What PyTorch held at most on the GPU; nothing without one."""
    import torch

    return {"gpu_peak_mb": torch.cuda.max_memory_allocated() / 1e6} if torch.cuda.is_available() else {}
