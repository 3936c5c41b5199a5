"""FP8 (e4m3, one scale a tensor): how weights are rounded, and what a quantised graph is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

from ..records import Float32Array

E4M3_MAX = 448.0


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What the FP8 layers of a typed graph are told; names as in layers.py.

    largest: of each layer's input the largest magnitude that calibration saw. keep: layers that stay in bf16.
    codes: e4m3 [out, in] by linear (the checkpoint's name), times weight_scale its weight; to nearest where missing.
    corrections: [out] float32 by linear, to be added to its bias while it is FP8.
    """

    largest: Mapping[str, float]
    keep: frozenset[str] = frozenset()
    codes: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    corrections: Mapping[str, Float32Array] = field(default_factory=dict)


def scale_for(largest: float) -> float:
    """The smallest bf16 number whose 448-fold is at least `largest`: nothing that was seen is clipped.

    A number of bf16 because a typed QuantizeLinear takes its scale in its input's type.
    """
    exact = max(largest, 1e-12) / E4M3_MAX
    rounded = np.float32(exact).astype(ml_dtypes.bfloat16)
    if float(rounded) < exact:
        rounded = np.nextafter(rounded, ml_dtypes.bfloat16(np.inf))
    return float(rounded)


def to_e4m3(values: Float32Array, scale: float) -> npt.NDArray[Any]:
    """values / scale as e4m3 (round to nearest even), held at the largest finite values."""
    rounded: npt.NDArray[Any] = np.clip(values / np.float32(scale), -E4M3_MAX, E4M3_MAX).astype(ml_dtypes.float8_e4m3fn)
    return rounded


def weight_scale(weight: Float32Array) -> float:
    """The scale of a whole matrix, by its largest magnitude."""
    return scale_for(float(np.abs(weight).max()))


def nearest_e4m3(values: Float32Array) -> Float32Array:
    """float32 values to the nearest of e4m3, held at the largest finite ones."""
    return to_e4m3(values, 1.0).astype(np.float32)
