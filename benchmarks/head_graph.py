"""Compiles the heads of our graph alone by OpenVINO, to measure what one embedding's scores cost."""

import tempfile
from typing import Any

import onnx
from onnx import TensorProto, helper

from emonet_fast.backends.openvino.build import compile_options
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.graph.model import IR_VERSION, OPSET, add_heads
from emonet_fast.graph.writer import GraphWriter
from emonet_fast.optional import import_openvino


def heads_model(checkpoint: Checkpoint) -> onnx.ModelProto:
    """Return the model from `embedding` [N, D] to `raw` [N, H], float32; weights lie in the checkpoint's file."""
    w = GraphWriter(checkpoint)
    w.op("Identity", [add_heads(w, "embedding")], "raw")
    width, count = checkpoint.head_widths[0], len(checkpoint.names)
    values = (("embedding", width), ("raw", count))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size]) for name, size in values]
    return w.model("emonet_heads", ends[:1], ends[1:], OPSET, IR_VERSION)


def compiled_heads(checkpoint: Checkpoint, n: int) -> Any:
    """Return a function from [n, D] float32 to [n, H] float32."""
    core = import_openvino().Core()
    with tempfile.NamedTemporaryFile(dir=checkpoint.path.parent, suffix=".onnx") as file:
        onnx.save(heads_model(checkpoint), file.name)
        model = core.read_model(file.name)
        model.reshape([n, checkpoint.head_widths[0]])
        request = core.compile_model(model, "CPU", compile_options("fp32")).create_infer_request()
    return lambda values: request.infer([values])["raw"].copy()
