"""Runs a typed network on the CPU: ONNX's reference evaluator with the arithmetic of a compiled engine.

ONNX rounds to the type of each value. A compiler keeps float32 where it joins operators into one kernel, and rounds in
places of its own where it does not. So the operators that it treats in that way are given here:

- A product sums in float32 and is rounded once, behind its bias. The scales of FP8 are multiplied into these sums.
- The logits of attention stay float32; the softmax's weights are rounded, as the product with v takes them.
- In bf16, LayerNormalization and Gelu round their constants and every step. In float32 they round nothing.
- QuantizeLinear multiplies by 1 / scale, rounded to the type of the scale.

Everything else is ONNX's own. ONNX Runtime cannot run these files: its CPU has no bf16 products, and no e4m3 with bf16
scales.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from ml_dtypes import bfloat16
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
        """float32 for an Add of a bias or for the softmax of attention, which the writer names so; else a's type."""
        joined = self.onnx_node.output[0].endswith(("/product", "/logits"))
        return (np.matmul(_f32(a), _f32(b)).astype(np.float32 if joined else a.dtype),)


class Add(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, a: Array, b: Array) -> tuple[Array]:
        """In the type of b: the bias, behind a product that has not been rounded yet."""
        return ((_f32(a) + _f32(b)).astype(b.dtype) if b.dtype == bfloat16 else a + b,)


class Softmax(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, axis: int = -1) -> tuple[Array]:
        y = np.exp(_f32(x) - _f32(x).max(axis=axis, keepdims=True))
        in_a_block = self.onnx_node.output[0].endswith("/attention/softmax")
        return ((y / y.sum(axis=axis, keepdims=True)).astype(bfloat16 if in_a_block else x.dtype),)


class LayerNormalization(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(
        self, x: Array, scale: Array, bias: Array, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
    ) -> tuple[Array]:
        y = _f32(x) - _f32(x).mean(axis=-1, keepdims=True)
        y = y / np.sqrt((y * y).mean(axis=-1, keepdims=True) + np.float32(epsilon))
        return (y.astype(x.dtype) * scale + bias,)


class Gelu(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, approximate: str = "none") -> tuple[Array]:
        if approximate != "tanh":
            raise ValueError(f"Gelu has approximate {approximate!r}; expected 'tanh'")
        half, one, factor, cubic = (x.dtype.type(value) for value in (0.5, 1, np.sqrt(2 / np.pi), 0.044715))
        return (half * x * (one + np.tanh(factor * (x + cubic * x * x * x))),)


class DequantizeLinear(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, scale: Array, zero: Array, **_: object) -> tuple[Array]:
        return (_f32(x) * _f32(scale),)


class QuantizeLinear(OpRun):  # type: ignore[misc]
    op_domain = ""

    def _run(self, x: Array, scale: Array, zero: Array, **_: object) -> tuple[Array]:
        factor = _f32((np.float32(1) / _f32(scale)).astype(scale.dtype))
        return (np.clip(_f32(x) * factor, -448, 448).astype(zero.dtype),)


_OPERATORS = [MatMul, Add, Softmax, LayerNormalization, Gelu, DequantizeLinear, QuantizeLinear]
