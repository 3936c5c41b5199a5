"""Our engine for the parts that time or check the whole network."""

import itertools
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.context import Context
from emonet_fast.backends.cuda.engine import Engine
from emonet_fast.backends.cuda.graphs import CudaCapture, call_directly
from emonet_fast.backends.cuda.operations import PlainOperations
from emonet_fast.backends.cuda.weights import Weights, load, refined
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.engines.certificate import load_certificate

Sets = dict[str, Weights]


# This run's FP8 certificate lies beside its cache, for every process of the run.
CERTIFICATE_KEY = {"made for": "gpu-check"}


def certificate_file(context: Context) -> Path:
    return context.cache.parent / "fp8-certificate.safetensors"


def weight_sets(context: Context, *precisions: str) -> Sets:
    """Weights of each precision; FP8 with what this run's certificate keeps and refines, where there is one."""
    sets = {}
    for precision in precisions:
        found = load_certificate(certificate_file(context), CERTIFICATE_KEY) if precision == "fp8" else None
        sets[precision] = load(context.checkpoint, context.device, precision, frozenset(found.keep if found else ()))
        if found:
            tensors = {name: torch.from_numpy(values) for name, values in found.tensors.items()}
            sets[precision] = refined(sets[precision], tensors)
    return sets


def make_engine(context: Context, weights: Weights, precision: str, batch: int, attention: str = "sdpa") -> Engine:
    """attention: "sdpa" or "triton".

    A dry run takes plain PyTorch: in the interpreter one image costs seconds. Its results say so.
    """
    checkpoint = context.checkpoint
    patch, l2 = checkpoint.vision.patch_size, checkpoint.l2_normalise
    if precision == "fp32" or context.dry:
        operations: Any = PlainOperations(weights, patch, l2)
    else:
        from emonet_fast.backends.cuda.triton_operations import TritonOperations

        operations = TritonOperations(weights, patch, l2, batch, attention)
    capture = CudaCapture(context.device) if context.cuda else call_directly
    return Engine(
        checkpoint,
        weights,
        precision,
        batch,
        context.device,
        capture,
        operations=operations,
    )


def random_batches(context: Context, n: int, count: int = 2) -> list[Any]:
    """`count` batches [n, 3, S, S] of random uint8 on the device: never zeros, and never the same one twice running."""
    size = context.checkpoint.vision.image_size
    generator = torch.Generator(context.device).manual_seed(n)
    shape = (n, 3, size, size)
    return [
        torch.randint(0, 256, shape, dtype=torch.uint8, device=context.device, generator=generator)
        for _ in range(count)
    ]


def flop_an_image(checkpoint: Checkpoint) -> float:
    """519e9 for the published tower: products, attention, patch embedding, pooling head, heads."""
    v = checkpoint.vision
    d, t, mlp = v.hidden_size, v.tokens, v.intermediate_size
    block = 2 * t * (4 * d * d + 2 * d * mlp) + 4 * t * t * d
    # The published pooling head projects keys and values of all tokens; ours folds the probe and does less.
    pooling = 2 * t * 2 * d * d + 4 * t * d + 2 * (2 * d * d + 2 * d * mlp)
    widths = checkpoint.head_widths
    heads = 2 * len(checkpoint.names) * sum(a * b for a, b in itertools.pairwise(widths))
    return float(v.num_hidden_layers * block + 2 * t * 3 * v.patch_size**2 * d + pooling + heads)
