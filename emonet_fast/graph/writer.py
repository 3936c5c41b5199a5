"""Collects the nodes of an ONNX graph; its weights are references into the packed checkpoint, never copies."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..checkpoint.spec import Checkpoint, TensorInfo

Attribute = int | float | str | Sequence[int]


class GraphWriter:
    """One graph under construction. Methods return the name of the value that they made.

    Weights become ONNX external data whose location is the checkpoint's file name, so the model must be read with that
    file's folder as its base. A graph of 27 layers is about 100 kB for 2 GB of weights.
    """

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}

    def weight(self, name: str, shape: Sequence[int] | None = None, rows: tuple[int, int] | None = None) -> str:
        """Take a tensor of the checkpoint, or its rows [first, end), viewed in `shape` where that is given."""
        info = self.checkpoint.tensors[name]
        label = name if rows is None else f"{name}[{rows[0]}:{rows[1]}]"
        if label not in self.initializers:
            self.initializers[label] = self._external(label, info, rows, shape)
        return label

    def _external(
        self, label: str, info: TensorInfo, rows: tuple[int, int] | None, shape: Sequence[int] | None
    ) -> onnx.TensorProto:
        first, end = rows if rows is not None else (0, info.shape[0])
        row_bytes = info.nbytes // info.shape[0]
        dims = shape if shape is not None else (end - first, *info.shape[1:])
        place = (self.checkpoint.path.name, info.offset + first * row_bytes, (end - first) * row_bytes)
        return external_tensor(label, TensorProto.FLOAT, dims, *place)

    def constant(self, name: str, value: npt.ArrayLike, dtype: npt.DTypeLike) -> str:
        """Add a small constant, which is stored in the graph itself."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.asarray(value, dtype=dtype), name)
        return name

    def low(self, x: str) -> str:
        """Go on in low precision, where this writer has one; returns the name of the cast value."""
        return x

    def high(self, x: str) -> str:
        """Go on in float32 again; returns the name of the cast value."""
        return x

    def scaled_query(self, q: str, name: str) -> str:
        """q / sqrt(head_dim)."""
        return self.op("Mul", [q, self.scalar(self.checkpoint.vision.head_dim**-0.5)], name)

    def scalar(self, value: float) -> str:
        """Add a float32 constant."""
        return self.constant(f"scalar:{value!r}", value, np.float32)

    def shape(self, *dims: int) -> str:
        """Add a target of Reshape; 0 keeps the input's dimension at that place."""
        return self.constant(f"shape:{dims}", dims, np.int64)

    def op(self, kind: str, inputs: Sequence[str], name: str, attributes: Mapping[str, Attribute] | None = None) -> str:
        """Add a node with one output, which has the node's name."""
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **(attributes or {})))
        return name

    def linear(self, x: str, prefix: str, name: str) -> str:
        """x @ W^T + b, with W [out, in] as PyTorch stores it. Compilers fold the Transpose into the product."""
        return self.affine(x, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias"), name)

    def affine(self, x: str, weight: str, bias: str, name: str) -> str:
        """x @ weight^T + bias for weight [out, in]."""
        transposed = self.op("Transpose", [weight], f"{name}/weight", {"perm": [1, 0]})
        product = self.op("MatMul", [x, transposed], f"{name}/product")
        return self.op("Add", [product, bias], name)

    def layer_norm(self, x: str, prefix: str, name: str) -> str:
        """LayerNorm over the last axis with the checkpoint's epsilon."""
        epsilon = self.checkpoint.vision.layer_norm_eps
        inputs = [x, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")]
        return self.op("LayerNormalization", inputs, name, {"axis": -1, "epsilon": epsilon})

    def mlp(self, x: str, prefix: str, name: str) -> str:
        """fc2(gelu_tanh(fc1(x)))."""
        hidden = self.linear(x, f"{prefix}.fc1", f"{name}/fc1")
        active = self.op("Gelu", [hidden], f"{name}/gelu", {"approximate": "tanh"})
        return self.linear(active, f"{prefix}.fc2", f"{name}/fc2")

    def model(
        self,
        name: str,
        inputs: Sequence[onnx.ValueInfoProto],
        outputs: Sequence[onnx.ValueInfoProto],
        opset: int,
        ir_version: int,
    ) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, name, inputs, outputs, list(self.initializers.values()))
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version, producer_name="emonet-fast")


def external_tensor(
    name: str, kind: int, dims: Sequence[int], location: str, offset: int, length: int
) -> onnx.TensorProto:
    """Describe a tensor whose values lie in the file `location`, from `offset` on, `length` bytes."""
    tensor = TensorProto(name=name, data_type=kind, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend(dims)
    for key, value in {"location": location, "offset": str(offset), "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor
