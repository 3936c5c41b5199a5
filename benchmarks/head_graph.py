"""The heads of our graph alone, compiled by OpenVINO: what one embedding's scores cost, for any number of heads."""

import tempfile
from typing import Any

import onnx
from onnx import TensorProto, helper

from emonet_fast.backends.openvino.build import compile_options
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.graph.heads import add_heads
from emonet_fast.graph.model import IR_VERSION, OPSET
from emonet_fast.graph.writer import GraphWriter


def heads_model(checkpoint: Checkpoint) -> onnx.ModelProto:
    """`embedding` [N, D] float32 -> `raw` [N, H] float32; weights are external data of the checkpoint's file."""
    w = GraphWriter(checkpoint)
    w.op("Identity", [add_heads(w, "embedding")], "raw")
    width, count = checkpoint.head_widths[0], len(checkpoint.names)
    graph = helper.make_graph(
        w.nodes,
        "emonet_heads",
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", width])],
        [helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["N", count])],
        list(w.initializers.values()),
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def compiled_heads(checkpoint: Checkpoint, n: int) -> Any:
    """A function of [n, D] float32 that gives [n, H] float32."""
    import openvino as ov

    core = ov.Core()
    with tempfile.NamedTemporaryFile(dir=checkpoint.path.parent, suffix=".onnx") as file:
        onnx.save(heads_model(checkpoint), file.name)
        model = core.read_model(file.name)
        model.reshape([n, checkpoint.head_widths[0]])
        request = core.compile_model(model, "CPU", compile_options("fp32")).create_infer_request()
    return lambda values: request.infer([values])["raw"].copy()
