"""FP8 with one scale a tensor (e4m3): how weights are rounded, and what a quantised graph needs to know."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import SafetensorsFile
from ..records import Float32Array

E4M3_MAX = 448.0


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What the FP8 layers of a typed graph need to know. Layers are named as in checkpoint/layers.py.

    Args:
        largest: for each layer, the largest magnitude of its input that calibration saw.
        keep: layers that stay in bf16.
        codes: for each linear (by the checkpoint's name), e4m3 [out, in]; times weight_scale it is the weight. Weights
            without codes are rounded to nearest.
        corrections: for each linear, [out] float32, added to its bias while it is FP8.
    """

    largest: Mapping[str, float]
    keep: frozenset[str] = frozenset()
    codes: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    corrections: Mapping[str, Float32Array] = field(default_factory=dict)


def scale_for(largest: float) -> float:
    """Return the smallest bf16 number whose 448-fold is at least `largest`, so that nothing is clipped.

    It is a bf16 number because a typed DequantizeLinear takes its scale in its output's type.
    """
    exact = max(largest, 1e-12) / E4M3_MAX
    rounded = np.float32(exact).astype(ml_dtypes.bfloat16)
    if float(rounded) < exact:
        rounded = np.nextafter(rounded, ml_dtypes.bfloat16(np.inf))
    return float(rounded)


def to_e4m3(values: Float32Array, scale: float) -> npt.NDArray[Any]:
    """Round values / scale to e4m3, to nearest even. What lies beyond the largest finite values becomes these."""
    rounded: npt.NDArray[Any] = np.clip(values / np.float32(scale), -E4M3_MAX, E4M3_MAX).astype(ml_dtypes.float8_e4m3fn)
    return rounded


def weight_scale(weights: Iterable[Float32Array]) -> float:
    """Return the one scale of all matrices of a layer, by their largest magnitude.

    q, k and v share it, so that they stay one product: TensorRT scales the parts of its output in a pass of their own
    where they differ. e4m3 keeps its precision over 14 powers of two, of which q takes 3 less by its factor.
    """
    return scale_for(max(float(np.abs(weight).max()) for weight in weights))


def tower_weight(file: SafetensorsFile, prefix: str, checkpoint: Checkpoint) -> Float32Array:
    """Read the weight [out, in] of a linear of the tower, float32: that of q times 1 / sqrt(head_dim)."""
    weight: Float32Array = file.array(f"{prefix}.weight")
    return weight * np.float32(query_factor(prefix, checkpoint))


def query_factor(prefix: str, checkpoint: Checkpoint) -> float:
    """Return 1 / sqrt(head_dim) for the linear of a block's queries, 1 for any other."""
    return float(checkpoint.vision.head_dim**-0.5) if prefix.endswith("self_attn.q_proj") else 1.0


def nearest_e4m3(values: Float32Array) -> Float32Array:
    """Round float32 values to the nearest of e4m3; returns float32."""
    return to_e4m3(values, 1.0).astype(np.float32)
