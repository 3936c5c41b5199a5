"""FP8 (e4m3, one scale a tensor): how weights are rounded, and what a quantised graph is told."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

E4M3_MAX = 448.0


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What the FP8 layers of a typed graph are told; names as in layers.py.

    largest: of each layer's input the largest magnitude that calibration saw. keep: layers that stay in bf16.
    corrections: [out] float32 by linear (the checkpoint's name), to be added to its bias while it is FP8.
    """

    largest: Mapping[str, float]
    keep: frozenset[str] = frozenset()
    corrections: Mapping[str, Float32] = field(default_factory=dict)


def scale_for(largest: float) -> float:
    """The smallest bf16 number whose 448-fold is at least `largest`: nothing that was seen is clipped.

    A number of bf16 because a typed QuantizeLinear takes its scale in its input's type.
    """
    exact = max(largest, 1e-12) / E4M3_MAX
    rounded = np.float32(exact).astype(ml_dtypes.bfloat16)
    if float(rounded) < exact:
        rounded = np.nextafter(rounded, ml_dtypes.bfloat16(np.inf))
    return float(rounded)


def to_e4m3(values: Float32, scale: float) -> npt.NDArray[Any]:
    """values / scale as e4m3 (round to nearest even), held at the largest finite values."""
    rounded: npt.NDArray[Any] = np.clip(values / np.float32(scale), -E4M3_MAX, E4M3_MAX).astype(ml_dtypes.float8_e4m3fn)
    return rounded


def quantise_weight(weight: Float32) -> tuple[npt.NDArray[Any], float]:
    """(e4m3 array, scale) of a whole matrix, scale by its largest magnitude."""
    scale = scale_for(float(np.abs(weight).max()))
    return to_e4m3(weight, scale), scale


def rounding_error(weight: Float32) -> Float32:
    """weight minus what its e4m3 form stands for."""
    rounded, scale = quantise_weight(weight)
    return weight - rounded.astype(np.float32) * np.float32(scale)
