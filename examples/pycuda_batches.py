"""Score batches that PyCUDA has on the GPU already, without a copy to the host.

python examples/pycuda_batches.py pictures/ [--checkpoint large]

Here the pictures come from files, to have some; in your pipeline they are on the GPU. It needs an NVIDIA GPU, PyCUDA,
and either PyTorch with Triton (`--backend cuda`) or TensorRT (`--backend tensorrt`).
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import emonet_fast as ef


def main() -> None:
    parser = argparse.ArgumentParser(description="Score batches that PyCUDA has on the GPU.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--checkpoint", default="large", help="large, small, a packed file or a folder")
    parser.add_argument("--backend", choices=("cuda", "tensorrt"), default="cuda")
    arguments = parser.parse_args()
    try:
        # Not pycuda.autoinit: it makes a CUDA context of its own, whose memory no other library can read.
        import pycuda.autoprimaryctx  # noqa: F401
        from pycuda import driver, gpuarray
    except ImportError as error:
        sys.exit(f"{error}: pip install pycuda")

    files = sorted(path for path in arguments.folder.iterdir() if path.is_file())
    side = 384
    pictures = [Image.open(path).convert("RGB").resize((side, side), Image.Resampling.BILINEAR) for path in files]
    planes = np.ascontiguousarray(np.stack([np.asarray(one) for one in pictures]).transpose(0, 3, 1, 2))

    stream = driver.Stream()
    with ef.Scorer(arguments.checkpoint, device="cuda", backend=arguments.backend) as scorer:
        batch = gpuarray.to_gpu_async(planes, stream=stream)  # [n, 3, 384, 384] uint8, as your own code would make it
        # PyCUDA's arrays do not tell on which stream they become ready: without `stream` all of the GPU is waited for.
        scores = scorer.score_pixels(batch, stream=stream)
    for path, strongest in zip(files, scores.top(3), strict=True):
        print(path.name, *(f"{name} {value:.2f}" for name, value in strongest), sep="  ")


if __name__ == "__main__":
    main()
