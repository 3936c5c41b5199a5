"""The float32 graph whose further outputs are what calibration needs to know."""

import onnx
from onnx import TensorProto, helper

from ..checkpoint.layers import layer_of
from ..checkpoint.spec import Checkpoint
from .writer import GraphWriter


class ObservingWriter(GraphWriter):
    """A GraphWriter with further outputs. NAME is a layer's name in checkpoint/layers.py.

    `NAME/input` [N, tokens, in] is what the layer takes. `NAME/power` [] is the mean square of its output (of qkv: of
    v) over the batch and all tokens. `BLOCK/stream` [] is the mean square of the residual stream before each block.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.outputs: list[onnx.ValueInfoProto] = []

    def linear(self, x: str, prefix: str, name: str) -> str:
        y = super().linear(x, prefix, name)
        layer = layer_of(prefix)
        if layer is not None and not prefix.endswith((".q_proj", ".k_proj")):
            self.op("Identity", [x], f"{layer}/input")
            self.outputs.append(helper.make_tensor_value_info(f"{layer}/input", TensorProto.FLOAT, [None] * 3))
            self._mean_square(y, f"{layer}/power")
        return y

    def layer_norm(self, x: str, prefix: str, name: str) -> str:
        block, _, which = prefix.removeprefix("vision_model.encoder.layers.").partition(".")
        if which == "layer_norm1":
            self._mean_square(x, f"{block}/stream")
        return super().layer_norm(x, prefix, name)

    def _mean_square(self, x: str, name: str) -> None:
        squares = self.op("Mul", [x, x], f"{name}/squares")
        self.op("ReduceMean", [squares, self.shape(0, 1, 2)], name, {"keepdims": 0})
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, []))
