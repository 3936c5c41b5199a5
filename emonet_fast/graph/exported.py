"""Writes the network for other people's runtimes: pixels to scores in one graph, its weights as products want them.

No Transpose of a weight is left in the graph: the weight is stored transposed, and read only when the file is written.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from ..arithmetic import EMOTIONS
from ..checkpoint.spec import Checkpoint
from .backbone import add_pooling, add_tower
from .int8 import Int8Recipe
from .int8_writer import Int8Writer
from .model import IR_VERSION, OPSET, add_heads
from .turned import Turn
from .writer import Attribute

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Weight:
    """A weight that is read when its file is written.

    Args:
        dtype: of its values in the file.
        shape: of the weight.
        make: gives the values, in that shape and type.
    """

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    make: Callable[[], Array]

    @property
    def nbytes(self) -> int:
        """Bytes of its values."""
        return int(np.prod(self.shape)) * self.dtype.itemsize


@dataclass(frozen=True, slots=True)
class Graph:
    """A model whose weights are not in it yet.

    Args:
        model: everything else.
        weights: by the names that its nodes read.
    """

    model: onnx.ModelProto
    weights: Mapping[str, Weight]


class ExportWriter(Int8Writer):
    """An Int8Writer that writes no file; without a recipe all layers are float.

    With `half`, weights of two dimensions and more are float16 (biases are not), and each is cast to float32 before it
    is used: SigLIP's activations go beyond float16, weights do not.
    """

    def __init__(self, checkpoint: Checkpoint, recipe: Int8Recipe | None = None, *, half: bool = False) -> None:
        super().__init__(checkpoint, BytesIO(), "", recipe or Int8Recipe(checkpoint.weights_hash))
        self._half = half
        self._weights: dict[str, Weight] = {}
        self._dequantised: dict[str, Sequence[str]] = {}  # what makes a weight of its codes, until it is transposed

    def weight(self, name: str, shape: Sequence[int] | None = None, rows: tuple[int, int] | None = None) -> str:
        label = name if rows is None else f"{name}[{rows[0]}:{rows[1]}]"
        if label not in self._weights:
            whole = self.checkpoint.tensors[name].shape
            first, end = rows if rows is not None else (0, whole[0])
            dims = tuple(shape) if shape is not None else (end - first, *whole[1:])
            make = lambda: self.file.array(name)[first:end].reshape(dims)  # noqa: E731 - what it takes is at hand here
            self._weights[label] = Weight(np.dtype(np.float32), dims, make)
        return label

    def stored(self, label: str, array: Array) -> str:
        self._weights.setdefault(label, Weight(array.dtype, array.shape, lambda: array))
        return label

    def patches(self, x: str, prefix: str) -> str:
        return self.convolution([x, self.weight(f"{prefix}.weight"), self.weight(f"{prefix}.bias")], "patches")

    def _turned_back(self, x: str, turn: Turn) -> str:
        return self.op("MatMul", [x, self.stored("turn/back", turn.stream.T)], "turned_back")

    def op(self, kind: str, inputs: Sequence[str], name: str, attributes: Mapping[str, Attribute] | None = None) -> str:
        first = inputs[0]
        if kind == "DequantizeLinear" and first in self._weights:
            self._dequantised[name] = inputs
            return name
        if kind == "Transpose" and attributes is not None:
            perm = attributes["perm"]
            if first in self._weights:
                return self._transposed(first, perm)
            if first in self._dequantised:
                codes, *scales = self._dequantised[first]
                return super().op("DequantizeLinear", [self._transposed(codes, perm), *scales], name, {"axis": 1})
        return super().op(kind, [self._ready(x) for x in inputs], name, attributes)

    def _transposed(self, label: str, perm: Any) -> str:
        """The weight under another name, its axes in the order `perm`."""
        weight, name = self._weights[label], f"{label}/transposed"
        shape = tuple(weight.shape[axis] for axis in perm)
        self._weights[name] = Weight(weight.dtype, shape, lambda: weight.make().transpose(perm))
        return self._ready(name)

    def _ready(self, label: str) -> str:
        """What a node reads for this weight, or for another value, which stays as it is."""
        weight = self._weights.get(label)
        if not self._half or weight is None or len(weight.shape) < 2 or "weight" not in label:
            return label
        name, cast = f"{label}/half", f"{label}/cast"
        if name not in self._weights:
            self._weights[name] = Weight(np.dtype(np.float16), weight.shape, lambda: weight.make().astype(np.float16))
            super().op("Cast", [name], cast, {"to": TensorProto.FLOAT})
        return cast

    def graph(self, inputs: Sequence[onnx.ValueInfoProto], outputs: Sequence[onnx.ValueInfoProto]) -> Graph:
        """The model of all nodes so far, and the weights that they read."""
        model = self.model("emonet", inputs, outputs, OPSET, IR_VERSION)
        read = {name for node in self.nodes for name in node.input}
        return Graph(model, {name: weight for name, weight in self._weights.items() if name in read})


def output_width(checkpoint: Checkpoint, name: str) -> int:
    """How many columns an output of `export_graph` has."""
    known = {"softmax": len(EMOTIONS), "embedding": checkpoint.vision.hidden_size}
    return known.get(name, len(checkpoint.names))


def export_graph(
    checkpoint: Checkpoint,
    outputs: Sequence[str],
    *,
    floats: bool = False,
    batch: int | None = None,
    recipe: Int8Recipe | None = None,
    half: bool = False,
) -> Graph:
    """Write the network from pixels to scores.

    The input is `pixels`, RGB: [N, S, S, 3] uint8, or with `floats` [N, 3, S, S] float32 from 0 to 1. `outputs` are in
    the order asked for, float32:

        scores     [N, H]       raw less the neutral mean of the head
        raw        [N, H]       what the heads give
        embedding  [N, hidden]  the pooled embedding, not normalised
        softmax    [N, 40]      of the scores of the 40 emotions

    Args:
        outputs: some of these names; `softmax` and `scores` need neutral means, `softmax` all 40 emotions.
        batch: N; None leaves it open.
        recipe: of the layers that are int8.
        half: weights as float16, see ExportWriter.
    """
    w = ExportWriter(checkpoint, recipe, half=half)
    embedding = add_pooling(w, add_tower(w, _planes(w, floats=floats)))
    raw = add_heads(w, embedding)
    _rename(w, {embedding: "embedding", raw: "raw"})
    if checkpoint.neutral_means is not None and {"scores", "softmax"} & set(outputs):
        means = [checkpoint.neutral_means[name] for name in checkpoint.names]
        scores = w.op("Sub", ["raw", w.constant("neutral_means", means, np.float32)], "scores")
        if "softmax" in outputs:
            # the emotions come first in the order of names
            places = {"first": 0, "end": len(EMOTIONS), "axis": 1}
            ends = (w.constant(f"softmax/{key}", [value], np.int64) for key, value in places.items())
            w.op("Softmax", [w.op("Slice", [scores, *ends], "softmax/emotions")], "softmax", {"axis": 1})
    n, side = batch or "N", checkpoint.vision.image_size
    kind, shape = (TensorProto.FLOAT, [n, 3, side, side]) if floats else (TensorProto.UINT8, [n, side, side, 3])
    ends_of = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [n, output_width(checkpoint, name)]) for name in outputs
    ]
    _prune(w, outputs)
    return w.graph([helper.make_tensor_value_info("pixels", kind, shape)], ends_of)


def _planes(w: ExportWriter, *, floats: bool) -> str:
    """The input as planes [N, 3, S, S] float32 from 0 to 255.

    Bytes are cast before they are transposed: TensorRT takes uint8 for nothing but a Cast.
    """
    if floats:
        return w.op("Mul", ["pixels", w.constant("pixels/bytes", 255.0, np.float32)], "pixels/planes")
    return w.op(
        "Transpose", [w.op("Cast", ["pixels"], "pixels/bytes", {"to": 1})], "pixels/planes", {"perm": [0, 3, 1, 2]}
    )


def _rename(w: ExportWriter, names: Mapping[str, str]) -> None:
    """Give values other names. An Identity would leave both names in OpenVINO, and its first one is the older."""
    for node in w.nodes:
        for values in (node.input, node.output):
            values[:] = [names.get(name, name) for name in values]


def _prune(w: ExportWriter, outputs: Sequence[str]) -> None:
    """Leave out the nodes and constants that no output needs."""
    wanted = set(outputs)
    for node in reversed(w.nodes):
        if node.output[0] in wanted:
            wanted.update(node.input)
    w.nodes = [node for node in w.nodes if node.output[0] in wanted]
    w.initializers = {name: tensor for name, tensor in w.initializers.items() if name in wanted}
