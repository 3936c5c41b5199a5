"""Measures FP8's fidelity as far as its arithmetic decides it, on CPU tensors: the table of docs/gpu-notes.md.

    python -m benchmarks.fp8 --checkpoint models/synthetic-27

It runs the network of the `cuda` backend with PyTorch's own row-wise scaled product in place of the GPU's, and plain
PyTorch in place of our kernels. That takes an hour on two cores at 27 layers; --pictures and --calibration shorten it.
"""

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from emonet_fast import taxonomy
from emonet_fast.backends.cuda.engine import Engine
from emonet_fast.backends.cuda.fp8 import CALIBRATION_PICTURES, collect, outputs, refine
from emonet_fast.backends.cuda.graphs import call_directly
from emonet_fast.backends.cuda.operations import PlainOperations
from emonet_fast.backends.cuda.weights import Weights, load, mixed, refined
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.layers import layer_names
from emonet_fast.engines.fidelity import MIN_PICTURES_FOR_RANKS, measure
from emonet_fast.engines.pictures import generated_pixels
from emonet_fast.options import default_cache_dir

CPU = torch.device("cpu")
_BATCH = 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True)
    parser.add_argument("--pictures", type=int, default=MIN_PICTURES_FOR_RANKS)
    parser.add_argument("--calibration", type=int, default=CALIBRATION_PICTURES)
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    options = parser.parse_args()
    checkpoint = open_checkpoint(options.checkpoint, default_cache_dir())
    emotions = [i for i, slug in enumerate(checkpoint.names) if taxonomy.find(slug).is_emotion]

    def engine(weights: Weights, precision: str) -> Engine:
        plain: Any = PlainOperations(weights, checkpoint.vision.patch_size, checkpoint.l2_normalise)
        return Engine(checkpoint, weights, precision, _BATCH, CPU, call_directly, operations=plain)

    pixels = generated_pixels(checkpoint, options.pictures, seed=0)
    exact, rough, bf16 = (load(checkpoint, CPU, precision) for precision in ("fp32", "fp8", "bf16"))
    reference = engine(exact, "fp32")
    want = outputs(reference, pixels, CPU)
    moments = collect(reference, generated_pixels(checkpoint, options.calibration, seed=1), CPU)
    better = refined(rough, refine(exact, rough, moments))
    attention = frozenset(name for name in layer_names(len(better.blocks)) if name.endswith(("qkv", "out")))
    cases = {
        "bf16": (bf16, "bf16"),
        "FP8, rounded to nearest": (rough, "fp8"),
        "FP8": (better, "fp8"),
        "FP8, qkv and out in bf16": (mixed(bf16, better, attention), "fp8"),
    }
    figures = {}
    print("| | cosine lowest / mean | score error max / RMS | Spearman lowest / median head |\n|---|---|---|---|")
    for name, (weights, precision) in cases.items():
        fidelity = measure(want, outputs(engine(weights, precision), pixels, CPU), emotions)
        figures[name] = asdict(fidelity)
        ranks = f"{fidelity.spearman_min:.4f} / {np.median(fidelity.spearman):.4f}"
        scores = f"{fidelity.max_error:.3f} / {fidelity.rms_error:.4f}"
        print(f"| {name} | {fidelity.cosine_min:.5f} / {fidelity.cosine_mean:.5f} | {scores} | {ranks} |", flush=True)
    if options.json:
        layers = len(better.blocks)
        facts = {"layers": layers, "calibration_pictures": options.calibration, "cores": os.cpu_count()}
        options.json.write_text(
            json.dumps({**facts, "torch": str(torch.__version__), "figures": figures}, indent=1) + "\n"
        )


if __name__ == "__main__":
    main()
