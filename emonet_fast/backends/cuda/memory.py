"""How much GPU memory an engine takes. This is computed before anything is loaded."""

import math

from ...checkpoint.layers import PARTS, prefixes_of
from ...checkpoint.spec import Checkpoint
from .workspace import workspace_bytes

# What must stay free beside our own tensors: CUDA context, cuBLAS, graph pools, and what else the driver takes.
OVERHEAD = 800_000_000
# Bytes a weight of the blocks. FP8: the codes as loaded and as certified, or bf16. All others count as float32: the
# pooling head stays so, and the regression heads are until they are laid out for their kernel.
_WEIGHT = {"fp32": 4, "bf16": 2, "fp8": 2}
_BLOCKS = "vision_model.encoder.layers."
# GPTQ holds one layer's covariance as float64 in so many forms at once: itself, its factor, the inverse, that one's
# factor, and what the solver needs beside them.
_FACTORS = 6


def needed_bytes(checkpoint: Checkpoint, precision: str, batch_size: int) -> int:
    """Device memory of an engine in bytes: weights, buffers, staging, and what CUDA takes beside them."""
    weights = _weights(checkpoint, _WEIGHT[precision])
    staging = 2 * batch_size * 3 * checkpoint.vision.image_size**2
    return weights + workspace_bytes(checkpoint, batch_size, precision) + staging + OVERHEAD


def certifying_bytes(checkpoint: Checkpoint, batch_size: int) -> int:
    """Device memory in bytes that certifying FP8 takes: the most that `fp8.certify` holds at a time.

    That is either while weights are rounded (the float32 ones, the FP8 ones before and after, the covariances of all
    layers' inputs or what is made of each, and the layers of one shape once more), or while the covariances are
    gathered (the float32 engine's buffers in place of FP8 weights).
    """
    vision = checkpoint.vision
    weights = [checkpoint.tensors[f"{prefixes_of(f'0.{part}')[0]}.weight"] for part in PARTS]
    squares = [weight.shape[1] ** 2 for weight in weights]  # of a layer's inputs
    covariances = 4 * vision.num_hidden_layers * sum(squares)
    exact = _weights(checkpoint, 4)
    # What one batch of the widest inputs takes as the collector centres it, and one more covariance in the making.
    widest = 4 * batch_size * vision.tokens * vision.intermediate_size
    gathering = workspace_bytes(checkpoint, batch_size, "fp32") + 2 * widest + 2 * 4 * max(squares)
    shapes = [
        len(prefixes_of(f"0.{part}")) * math.prod(weight.shape) for part, weight in zip(PARTS, weights, strict=True)
    ]
    together = 4 * vision.num_hidden_layers * max(shapes)
    rounding = _weights(checkpoint, 2) + _FACTORS * 8 * max(squares) + together
    return exact + covariances + max(gathering, rounding) + OVERHEAD


def _weights(checkpoint: Checkpoint, per_weight: int) -> int:
    """Bytes of all tensors, those of the blocks at `per_weight` a value (their biases have a float32 form beside)."""
    total = 0
    for name, info in checkpoint.tensors.items():
        in_blocks = name.startswith(_BLOCKS)
        size = per_weight + (4 if len(info.shape) == 1 else 0) if in_blocks else 4
        total += math.prod(info.shape) * size
    return total
