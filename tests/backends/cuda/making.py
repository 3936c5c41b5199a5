"""Engines and pixels for the tests of the GPU backend."""

from typing import Any

import numpy as np
import torch

from emonet_fast.backends.cuda.engine import Engine
from emonet_fast.backends.cuda.graphs import CudaCapture, call_directly
from emonet_fast.backends.cuda.operations import PlainOperations
from emonet_fast.backends.cuda.streams import OWN_STREAMS
from emonet_fast.backends.cuda.weights import load, refined
from emonet_fast.checkpoint.spec import Checkpoint


def random_pixels(checkpoint: Checkpoint, n: int, seed: int) -> np.ndarray:
    """[n, 3, S, S] uint8: soft colour fields with noise, different for each image."""
    size = checkpoint.vision.image_size
    rng = np.random.default_rng(seed)
    fields = rng.uniform(0, 255, (n, 3, 4, 4)).repeat(size // 4, axis=2).repeat(size // 4, axis=3)
    return np.clip(fields + rng.normal(0, 25, (n, 3, size, size)), 0, 255).astype(np.uint8)


def engine(checkpoint: Checkpoint, device: torch.device, precision: str, batch: int, **how: Any) -> Engine:
    """An engine with our kernels, or with plain=True in plain PyTorch; the other words as in the package."""
    weights = load(checkpoint, device, precision, how.get("keep", frozenset()))
    weights = refined(weights, how.get("tensors", {}))
    patch, l2 = checkpoint.vision.patch_size, checkpoint.l2_normalise
    if how.get("plain") or precision == "fp32":
        operations: Any = PlainOperations(weights, patch, l2)
    else:
        from emonet_fast.backends.cuda.triton_operations import TritonOperations

        operations = TritonOperations(weights, patch, l2, batch, how.get("attention_by", "sdpa"))
    cuda = device.type == "cuda"
    return Engine(
        checkpoint,
        weights,
        precision,
        batch,
        device,
        CudaCapture(device, OWN_STREAMS.take(device)) if cuda else call_directly,
        operations=operations,
    )


def scored(engine: Engine, pixels: np.ndarray, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    """(embedding, raw) of all pixels, in batches of the engine's largest size."""
    found = []
    step = engine.graphs.sizes[-1]
    with torch.inference_mode():
        for start in range(0, len(pixels), step):
            outputs = engine.run(torch.from_numpy(pixels[start : start + step]).to(device))
            found.append([part.cpu().numpy().copy() for part in outputs])
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
