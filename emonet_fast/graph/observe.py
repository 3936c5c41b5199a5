"""The float32 graph with what calibration needs to know as further outputs: one run of it a picture."""

import onnx
from onnx import TensorProto, helper

from ..checkpoint.layers import layer_of
from ..checkpoint.spec import Checkpoint
from .writer import GraphWriter


class ObservingWriter(GraphWriter):
    """Adds for each of the tower's layers, by its name in layers.py, over the batch and all tokens:

    `NAME/largest` []: the largest magnitude of its input. `NAME/mean` and `NAME/square` [in]: the means of the input
    and of its square. `NAME/power` []: the mean square of its output (of qkv: of v). And for each block its
    `BLOCK/stream` [], the mean square of the residual stream before it.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        super().__init__(checkpoint)
        self.outputs: list[onnx.ValueInfoProto] = []

    def linear(self, x: str, prefix: str, name: str) -> str:
        """As GraphWriter.linear."""
        y = super().linear(x, prefix, name)
        layer = layer_of(prefix)
        if layer is not None and not prefix.endswith((".q_proj", ".k_proj")):
            magnitude = self.op("Abs", [x], f"{layer}/abs")
            self._output("ReduceMax", magnitude, f"{layer}/largest", 0, 1, 2)
            self._output("ReduceMean", x, f"{layer}/mean", 0, 1)
            self._output("ReduceMean", self.op("Mul", [x, x], f"{layer}/squares"), f"{layer}/square", 0, 1)
            self._output("ReduceMean", self.op("Mul", [y, y], f"{layer}/powers"), f"{layer}/power", 0, 1, 2)
        return y

    def layer_norm(self, x: str, prefix: str, name: str) -> str:
        """As GraphWriter.layer_norm."""
        block, _, which = prefix.removeprefix("vision_model.encoder.layers.").partition(".")
        if which == "layer_norm1":
            squares = self.op("Mul", [x, x], f"{block}/stream/squares")
            self._output("ReduceMean", squares, f"{block}/stream", 0, 1, 2)
        return super().layer_norm(x, prefix, name)

    def _output(self, kind: str, x: str, name: str, *axes: int) -> None:
        self.op(kind, [x, self.shape(*axes)], name, {"keepdims": 0})
        shape = [] if len(axes) == 3 else [None]
        self.outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, shape))
