"""Runs a typed network on the CPU: ONNX's reference evaluator with the arithmetic of matrix units.

The evaluator computes products of bf16 in bf16; matrix units sum them in float32 and round once. So the operators that
sum (MatMul, Softmax, LayerNormalization, Gelu, ...) are given in that form here; everything else is ONNX's own.
ONNX Runtime cannot run these files: its CPU has no bf16 products and no e4m3 with bf16 scales.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from emonet_fast.records import Float32Array

Array = npt.NDArray[Any]


def evaluate(path: Path, pixels: npt.NDArray[np.uint8]) -> tuple[Array, Array]:
    """(embedding [n, hidden], raw [n, H]) float32 of pixels [n, 3, S, S] uint8, one picture at a time.

    Several seconds a picture at full depth: for tests and measurements.
    """
    runner = evaluator(path)
    found = [runner.run(["embedding", "raw"], {"pixels": pixels[i : i + 1]}) for i in range(len(pixels))]
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def evaluator(path: Path) -> ReferenceEvaluator:
    """ONNX's evaluator of the network at `path`, with our operators."""
    return ReferenceEvaluator(str(path), new_ops=_OPERATORS)


def _f32(x: Array) -> Float32Array:
    return np.asarray(x, np.float32)


class MatMul(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, a: Array, b: Array) -> tuple[Array]:
        return (np.matmul(_f32(a), _f32(b)).astype(a.dtype),)


class Softmax(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, axis: int = -1) -> tuple[Array]:
        y = _f32(x) - _f32(x).max(axis=axis, keepdims=True)
        y = np.exp(y)
        return ((y / y.sum(axis=axis, keepdims=True)).astype(x.dtype),)


class LayerNormalization(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(
        self, x: Array, scale: Array, bias: Array, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
    ) -> tuple[Array]:
        y = _f32(x)
        y = y - y.mean(axis=-1, keepdims=True)
        y = y / np.sqrt((y * y).mean(axis=-1, keepdims=True) + np.float32(epsilon))
        return ((y * _f32(scale) + _f32(bias)).astype(x.dtype),)


class Gelu(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate != "tanh":
            raise ValueError(f"Gelu has approximate {approximate!r}; expected 'tanh'")
        y = _f32(x)
        inner = np.float32(np.sqrt(2 / np.pi)) * (y + np.float32(0.044715) * y * y * y)
        return ((np.float32(0.5) * y * (1 + np.tanh(inner))).astype(x.dtype),)


class ReduceL2(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, axes: Array, keepdims: int = 1, noop_with_empty_axes: int = 0) -> tuple[Array]:
        y = np.sqrt((_f32(x) ** 2).sum(axis=tuple(int(a) for a in axes), keepdims=bool(keepdims)))
        return (y.astype(x.dtype),)


class DequantizeLinear(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, scale: Array, zero: Array, **_: object) -> tuple[Array]:
        return ((_f32(x) * _f32(scale)).astype(scale.dtype),)


class QuantizeLinear(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, scale: Array, zero: Array, **_: object) -> tuple[Array]:
        return (np.clip(_f32(x) / _f32(scale), -448, 448).astype(zero.dtype),)


_OPERATORS = [MatMul, Softmax, LayerNormalization, Gelu, ReduceL2, DequantizeLinear, QuantizeLinear]
