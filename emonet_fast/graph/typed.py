"""The strongly typed network for TensorRT: every tensor's type is in the file, and nothing is left to the compiler.

The tower's blocks are bf16 (never fp16, which SigLIP's towers overflow), with Q/DQ nodes around the products that
run in FP8, and with float32 inside LayerNorm and GELU. Patch embedding, pooling head and heads are float32. Together
they are a quarter of a percent of the work, while bf16 in the latter two makes a third more error in the scores
(benchmarks/trt/graph.py).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from ..checkpoint.layers import layer_of, prefixes_of
from ..checkpoint.spec import Checkpoint
from ..records import Float32Array
from .backbone import add_pooling, add_tower
from .model import add_heads, pixels_of, scores_of
from .quantise import Quantisation, query_factor, scale_for, to_e4m3, tower_weight, weight_scale
from .stored import StoringWriter

# Part of the engines' cache key, beside GRAPH_VERSION.
TYPED_VERSION = 3
OPSET = 21  # the first whose QuantizeLinear and DequantizeLinear take bf16 and e4m3 together
IR_VERSION = 10

_BF16: npt.DTypeLike = ml_dtypes.bfloat16


def write_typed_model(
    checkpoint: Checkpoint, folder: Path, quantisation: Quantisation | None = None, *, heads: bool = True
) -> Path:
    """Write `network.onnx`, whose path is returned, and `network.weights` (external data) into a folder.

    The input is `pixels` [N, 3, S, S] uint8, the outputs are `embedding` [N, hidden] and `raw` [N, H] float32, N free.
    Without `heads` it ends with the embedding. Without `quantisation` the tower is bf16 alone. Weights are read one at
    a time, so that no more than one tensor is in memory. The files take 1.1 GB in bf16 with the Large heads.
    """
    path = folder / "network.onnx"
    with (folder / "network.weights").open("wb") as data:
        w = TypedWriter(checkpoint, data, "network.weights", quantisation)
        embedding = add_pooling(w, add_tower(w, "pixels"))
        if heads:
            w.out(add_heads(w, embedding), "raw")
        w.out(embedding, "embedding")
    outputs = scores_of(checkpoint)[: 2 if heads else 1]
    model = w.model("emonet_typed", [pixels_of(checkpoint)], outputs, OPSET, IR_VERSION)
    path.write_bytes(model.SerializeToString())
    return path


class TypedWriter(StoringWriter):
    """A StoringWriter that goes down to bf16 and up to float32, with Q/DQ nodes around FP8 products."""

    def __init__(
        self, checkpoint: Checkpoint, data: BinaryIO, location: str, quantisation: Quantisation | None
    ) -> None:
        super().__init__(checkpoint, data, location)
        self._quantisation = quantisation
        self._quantised_inputs: dict[str, str] = {}
        self._weight_scales: dict[str, float] = {}

    def low(self, x: str) -> str:
        self.dtype = np.dtype(_BF16)
        return self.op("Cast", [x], f"{x}/low", {"to": TensorProto.BFLOAT16})

    def high(self, x: str) -> str:
        self.dtype = np.dtype(np.float32)
        return self.op("Cast", [x], f"{x}/high", {"to": TensorProto.FLOAT})

    def out(self, x: str, name: str) -> None:
        """Make x the float32 output `name`."""
        self.op("Cast", [x], name, {"to": TensorProto.FLOAT})

    def scaled_query(self, q: str, name: str) -> str:
        """Return q itself: the factor is in its weights, where it costs no rounding of its own (see linear)."""
        return q

    def layer_norm(self, x: str, prefix: str, name: str) -> str:
        return self._in_float32(x, name, lambda x, name: super(TypedWriter, self).layer_norm(x, prefix, name))

    def gelu(self, x: str, name: str) -> str:
        return self._in_float32(x, name, super().gelu)

    def _in_float32(self, x: str, name: str, add: Callable[[str, str], str]) -> str:
        """add(x, name) in float32: in bf16, its constants and every step of it would be rounded.

        The casts become part of the same kernel, which reads and writes bf16 as before.
        """
        if self.dtype == np.float32:
            return add(x, name)
        return self.low(add(self.high(x), name))

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """As GraphWriter.constant, but float32 becomes the type that the graph has at this place."""
        array = np.asarray(value, dtype=dtype)
        if array.dtype != np.float32:
            return super().constant(name, value, dtype)
        label = name if self.dtype == np.float32 else f"{name}:bf16"
        return self.inline(label, array.astype(self.dtype))

    def linear(self, x: str, prefix: str, name: str) -> str:
        """As GraphWriter.linear, but with weights stored [in, out].

        So nothing stands between them (or their DequantizeLinear) and the product: TensorRT needs that for FP8.
        """
        weight = tower_weight(self.file, prefix, self.checkpoint)
        bias = self.file.array(f"{prefix}.bias") * np.float32(query_factor(prefix, self.checkpoint))
        layer, q = layer_of(prefix), self._quantisation
        if q is not None and layer is not None and layer not in q.keep:
            if prefix in q.corrections:
                bias = bias + q.corrections[prefix]
            x = self._quantised(x, q.largest[layer], layer)
            stored = self._dequantised(weight, q.codes.get(prefix), prefix, layer)
        else:
            stored = self.stored(f"{prefix}.weight", weight.T.astype(self.dtype))
        product = self.op("MatMul", [x, stored], f"{name}/product")
        return self.op("Add", [product, self.stored(f"{prefix}.bias", bias.astype(self.dtype))], name)

    def _quantised(self, x: str, largest: float, layer: str) -> str:
        """x through QuantizeLinear and DequantizeLinear, once for all products that take it.

        The quantiser takes float32: with a bf16 scale, TensorRT multiplies by 1 / scale in bf16, up to 0.4% off.
        """
        if x not in self._quantised_inputs:
            name, scale = f"{layer}/input", scale_for(largest)
            exact = self.inline(f"{name}/scale/exact", np.asarray(scale, np.float32))
            x_exact = self.op("Cast", [x], f"{name}/exact", {"to": TensorProto.FLOAT})
            codes = self.op("QuantizeLinear", [x_exact, exact, self._zero()], f"{name}/quantised")
            inputs = [codes, self._scale(scale, name), self._zero()]
            self._quantised_inputs[x] = self.op("DequantizeLinear", inputs, f"{name}/dequantised")
        return self._quantised_inputs[x]

    def _dequantised(self, weight: Float32Array, codes: npt.NDArray[Any] | None, prefix: str, layer: str) -> str:
        """Store weight [out, in] as e4m3 [in, out] and dequantise it; codes [out, in], None for the nearest."""
        if layer not in self._weight_scales:
            together = (tower_weight(self.file, other, self.checkpoint) for other in prefixes_of(layer))
            self._weight_scales[layer] = weight_scale(together)
        scale, name = self._weight_scales[layer], f"{prefix}.weight"
        codes = to_e4m3(weight, scale) if codes is None else codes
        inputs = [self.stored(f"{name}/e4m3", codes.T), self._scale(scale, f"{layer}/weight"), self._zero()]
        return self.op("DequantizeLinear", inputs, f"{name}/dequantised")

    def _scale(self, value: float, name: str) -> str:
        return self.inline(f"{name}/scale", np.asarray(value, np.float32).astype(_BF16))

    def _zero(self) -> str:
        """Add the zero point, whose type decides what QuantizeLinear gives."""
        return self.inline("e4m3:0", np.zeros((), ml_dtypes.float8_e4m3fn))
