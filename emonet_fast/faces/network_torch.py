"""YuNet by PyTorch, for a GPU that scores with PyTorch already: the ONNX graph's nodes one by one, in float32.

Eight kinds of nodes compute; those that only give a shape are left out, as the number of an output's cells follows from
its size. Not measured on a GPU; on the CPU the results equal OpenVINO's (a test).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import CheckpointError
from ..float32 import exact_convolutions
from ..optional import need
from ..records import Float32Array
from .decoding import OUTPUTS, WIDTHS

_SHAPES = {"Shape", "Gather", "Unsqueeze", "Concat", "Constant"}


class TorchNetwork:
    """The same as network.Network, on a device of PyTorch ("cuda:0").

    Raises MissingPackageError without PyTorch, and CheckpointError when the file is no YuNet model.
    """

    def __init__(self, model: Path | bytes, device: str) -> None:
        import onnx
        from onnx import numpy_helper

        path = model if isinstance(model, Path) else "the detector's model"
        self._torch = need("torch", "finding faces on the GPU")
        self._device = self._torch.device(device)
        try:
            graph = (onnx.load(str(model)) if isinstance(model, Path) else onnx.load_from_string(model)).graph
        except Exception as error:  # protobuf's own errors
            raise CheckpointError(f"{path} is no ONNX model ({error}); expected YuNet") from None
        names = {output.name for output in graph.output}
        unknown = {node.op_type for node in graph.node} - _SHAPES - set(self._operations())
        if unknown or not set(OUTPUTS) <= names or len(graph.input) < 1:
            raise CheckpointError(
                f"{path} lacks outputs of YuNet or holds {sorted(unknown)}; expected YuNet of 2023 with 12 outputs"
            )
        self._input = graph.input[0].name
        self._weights = {
            tensor.name: self._torch.from_numpy(numpy_helper.to_array(tensor).copy()).to(self._device)
            for tensor in graph.initializer
        }
        self._nodes = [
            (node.op_type, list(node.input), node.output[0], _attributes(node))
            for node in graph.node
            if node.op_type not in _SHAPES
        ]

    def __call__(self, pixels: Any) -> dict[str, Float32Array]:
        """See network.Network. A torch tensor is read where it lies."""
        torch, operations = self._torch, self._operations()
        # TF32 would cost three digits of the boxes.
        with torch.inference_mode(), exact_convolutions():
            values: dict[str, Any] = {self._input: torch.as_tensor(pixels, device=self._device)}
            for kind, inputs, output, attributes in self._nodes:
                taken = [values[name] if name in values else self._weights.get(name) for name in inputs]
                values[output] = operations[kind](taken, attributes)
            n = len(pixels)
            return {
                name: values[name].reshape(n, -1, WIDTHS[name.partition("_")[0]]).float().cpu().numpy()
                for name in OUTPUTS
            }

    def _operations(self) -> dict[str, Callable[[list[Any], dict[str, Any]], Any]]:
        torch = self._torch
        run = torch.nn.functional
        return {
            "Conv": lambda x, a: run.conv2d(
                x[0], x[1], x[2] if len(x) > 2 else None, a["strides"], a["pads"][:2], a["dilations"], a["group"]
            ),
            "Relu": lambda x, a: run.relu(x[0]),
            "Add": lambda x, a: x[0] + x[1],
            "Sigmoid": lambda x, a: torch.sigmoid(x[0]),
            "MaxPool": lambda x, a: run.max_pool2d(x[0], a["kernel_shape"], a["strides"], a["pads"][:2]),
            "Resize": lambda x, a: run.interpolate(x[0], scale_factor=2.0, mode="nearest"),
            "Transpose": lambda x, a: x[0].permute(*a["perm"]),
            "Reshape": lambda x, a: x[0].reshape(len(x[0]), -1, x[0].shape[-1]),
        }


def _attributes(node: Any) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}
