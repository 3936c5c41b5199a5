"""Collects the nodes of an ONNX graph; its weights are references into the packed checkpoint, never copies."""

from collections.abc import Mapping, Sequence

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..checkpoint.layers import layer_behind, layer_of
from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import SafetensorsFile
from ..records import Float32Array

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
        self.outputs: list[onnx.ValueInfoProto] = []  # further ones, beside the network's own

    def weight(self, name: str, shape: Sequence[int] | None = None, rows: tuple[int, int] | None = None) -> str:
        """Take a tensor of the checkpoint, or its rows [first, end), viewed in `shape` where that is given."""
        label = name if rows is None else f"{name}[{rows[0]}:{rows[1]}]"
        if label not in self.initializers:
            info = self.checkpoint.tensors[name]
            first, end = rows if rows is not None else (0, info.shape[0])
            row_bytes = info.nbytes // info.shape[0]
            dims = shape if shape is not None else (end - first, *info.shape[1:])
            place = (self.checkpoint.path.name, info.offset + first * row_bytes, (end - first) * row_bytes)
            self.initializers[label] = external_tensor(label, TensorProto.FLOAT, dims, *place)
        return label

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
        factor = self.checkpoint.vision.head_dim**-0.5
        return self.op("Mul", [q, self.constant(f"scalar:{factor!r}", factor, np.float32)], name)

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

    def patches(self, x: str, prefix: str) -> str:
        """The convolution over pixels [N, 3, S, S] that each patch of them is one step of."""
        return self.convolution([x, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")], "patches")

    def halved_patches(self, x: str, prefix: str, coarse: str, fine: str) -> str:
        """As `patches`, by weights in two parts, see `halves`."""
        first = self.convolution([x, coarse, self.weight(f"{prefix}.bias")], "patches/coarse")
        return self.op("Add", [first, self.convolution([x, fine], "patches/fine")], "patches")

    def convolution(self, inputs: Sequence[str], name: str) -> str:
        """A convolution whose steps are as wide as a patch."""
        side = [self.checkpoint.vision.patch_size] * 2
        return self.op("Conv", inputs, name, {"kernel_shape": side, "strides": side})

    def layer_norm(self, x: str, prefix: str, name: str) -> str:
        """LayerNorm over the last axis with the checkpoint's epsilon."""
        epsilon = self.checkpoint.vision.layer_norm_eps
        inputs = [x, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")]
        return self.op("LayerNormalization", inputs, name, {"axis": -1, "epsilon": epsilon})

    def mlp(self, x: str, prefix: str, name: str) -> str:
        """fc2(gelu_tanh(fc1(x)))."""
        hidden = self.linear(x, f"{prefix}.fc1", f"{name}/fc1")
        return self.linear(self.gelu(hidden, f"{name}/gelu"), f"{prefix}.fc2", f"{name}/fc2")

    def gelu(self, x: str, name: str) -> str:
        """GELU by its tanh form."""
        return self.op("Gelu", [x], name, {"approximate": "tanh"})

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


class ObservingWriter(GraphWriter):
    """A GraphWriter with further outputs, for calibration. NAME is a layer's name in checkpoint/layers.py.

    `NAME/input` [N, tokens, in] is what the layer takes. `NAME/power` [] is the mean square of its output (of qkv: of
    v) over the batch and all tokens. `BLOCK/stream` [] is the mean square of the residual stream before each block.
    """

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


class AveragingWriter(GraphWriter):
    """A GraphWriter with further outputs: the mean of each layer's input over the tokens.

    `NAME/mean` [N, in], NAME as in checkpoint/layers.py; of qkv and fc1 before the factors of the LayerNorm.
    """

    def linear(self, x: str, prefix: str, name: str) -> str:
        layer = layer_of(prefix)
        if layer is not None and layer.endswith((".out", ".fc2")):
            self._mean(x, layer)
        return super().linear(x, prefix, name)

    def layer_norm(self, x: str, prefix: str, name: str) -> str:
        layer = layer_behind(prefix)
        if layer:
            hidden = self.checkpoint.vision.hidden_size
            one, zero = (self.constant(f"full:{v}", np.full(hidden, v), np.float32) for v in (1.0, 0.0))
            attributes = {"axis": -1, "epsilon": self.checkpoint.vision.layer_norm_eps}
            self._mean(self.op("LayerNormalization", [x, one, zero], f"{name}/plain", attributes), layer)
        return super().layer_norm(x, prefix, name)

    def _mean(self, x: str, layer: str) -> None:
        self.op("ReduceMean", [x, self.shape(1)], f"{layer}/mean", {"keepdims": 0})
        self.outputs.append(helper.make_tensor_value_info(f"{layer}/mean", TensorProto.FLOAT, [None] * 2))


class Bf16Writer(GraphWriter):
    """A GraphWriter for a compiler that computes in bf16: the patches' weights keep 16 bits, where they have them."""

    def patches(self, x: str, prefix: str) -> str:
        weight = f"{prefix}.weight"
        coarse, fine = halves(SafetensorsFile(self.checkpoint.path).array(weight))
        if not fine.any():
            return super().patches(x, prefix)
        names = (self.constant(f"{weight}/{n}", v, np.float32) for n, v in (("coarse", coarse), ("fine", fine)))
        return self.halved_patches(x, prefix, *names)


def halves(weight: Float32Array) -> tuple[Float32Array, Float32Array]:
    """The weights rounded to bf16, and what is left, of which bf16 keeps 8 more bits.

    All pixels of a patch go one way where it is bright: the rounding of its 768 weights then adds up, to half of bf16's
    whole error in the scores.
    """
    coarse = weight.astype(ml_dtypes.bfloat16).astype(np.float32)
    return coarse, weight - coarse


ALIGNMENT = 64  # of weights in a file of their own


def external_tensor(
    name: str, kind: int, dims: Sequence[int], location: str, offset: int, length: int
) -> onnx.TensorProto:
    """Describe a tensor whose values lie in the file `location`, from `offset` on, `length` bytes."""
    tensor = TensorProto(name=name, data_type=kind, data_location=TensorProto.EXTERNAL)
    tensor.dims.extend(dims)
    for key, value in {"location": location, "offset": str(offset), "length": str(length)}.items():
        tensor.external_data.add(key=key, value=value)
    return tensor
