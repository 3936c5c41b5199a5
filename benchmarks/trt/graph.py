"""How close TensorRT's network comes to the float32 one, on the CPU: bf16, and FP8 with more and more layers kept.

Runs the files that TensorRT gets, Q/DQ included, by typed_network.py; PyTorch's own bf16 is measured beside them
(extra reference). Seconds a picture and form at full depth. The figures are the suite
`trt-graph` of the table of results.
"""

import argparse
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import measurements
from benchmarks.trt.typed_network import evaluate
from emonet_fast import taxonomy
from emonet_fast.backends.openvino.observe import observe
from emonet_fast.backends.reference import Reference
from emonet_fast.backends.tensorrt.build import CALIBRATION_PICTURES
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.engines.drawing import calibration_pictures
from emonet_fast.engines.fidelity import measure
from emonet_fast.engines.observations import calibrate
from emonet_fast.engines.pictures import generated_pixels
from emonet_fast.graph.typed import write_typed_model
from emonet_fast.options import default_cache_dir
from emonet_fast.preprocess import resize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="large")
    parser.add_argument("--cache", type=Path, default=default_cache_dir())
    parser.add_argument("--pictures", type=int, default=8)
    parser.add_argument("--calibration", type=int, default=CALIBRATION_PICTURES, help="pictures")
    parser.add_argument("--keep", type=int, nargs="*", default=[0], help="so many layers in bf16, by their estimate")
    parser.add_argument("--suite", default="trt-graph", help="in the table of results (%(default)s)")
    asked = parser.parse_args()
    checkpoint = open_checkpoint(asked.checkpoint, asked.cache)
    pictures = calibration_pictures(asked.pictures, seed=0)
    pixels = np.stack([resize(rgb, checkpoint.preprocess) for rgb in pictures])
    emotions = [i for i, slug in enumerate(checkpoint.names) if taxonomy.find(slug).is_emotion]
    rows: dict[str, Any] = {}
    want = observe(checkpoint, pixels)

    def tell(name: str, embedding: Any, raw: Any) -> None:
        found = measure((want.embedding, want.raw), (embedding, raw), emotions)
        rows[name] = {k: v for k, v in asdict(found).items() if k != "spearman"} | {"spearman_min": found.spearman_min}
        print(
            f"{name:<22} cosine {found.cosine_min:.6f} / {found.cosine_mean:.6f}  "
            f"score error {found.max_error:.3f} / {found.rms_error:.4f}  spearman {found.spearman_min:.4f}",
            flush=True,
        )
        run = {
            "layers": checkpoint.vision.num_hidden_layers,
            "heads": list(checkpoint.head_widths),
            "untrained": checkpoint.untrained,
            "pictures": asked.pictures,
            "calibration": asked.calibration,
        }
        measurements.keep(asked.suite, {"run": run, **rows}, whole=True)

    theirs = Reference.from_packed(checkpoint, "bf16").score(pictures)
    tell("PyTorch bf16", theirs.embedding, theirs.raw)
    with tempfile.TemporaryDirectory() as folder:
        tell("bf16, top fp32", *evaluate(write_typed_model(checkpoint, Path(folder)), pixels))
        if asked.keep:
            seen = observe(checkpoint, generated_pixels(checkpoint, asked.calibration, seed=1), layers=True)
            calibrated = calibrate(checkpoint, seen)
            del seen  # gigabytes
            q, sorted_layers = calibrated.quantisation, list(calibrated.cost)
        for count in asked.keep:
            mixed = replace(q, keep=frozenset(sorted_layers[:count]))
            tell(f"FP8, {count} layers kept", *evaluate(write_typed_model(checkpoint, Path(folder), mixed), pixels))


if __name__ == "__main__":
    sys.exit(main())
