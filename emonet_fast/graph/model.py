"""The whole network as one ONNX model."""

import onnx
from onnx import TensorProto, helper

from ..checkpoint.spec import Checkpoint
from .backbone import add_backbone
from .heads import add_heads
from .writer import GraphWriter

# Part of every engine's cache key: raise it with any change of the graph, so that no old engine is used.
GRAPH_VERSION = 1
OPSET = 20  # the first with Gelu
IR_VERSION = 9


def build_model(checkpoint: Checkpoint) -> onnx.ModelProto:
    """Write the network of a packed checkpoint.

    Input `pixels` [N, 3, S, S] uint8, RGB planes. Outputs `embedding` [N, hidden] float32, not normalised, and
    `raw` [N, H] float32. N is free. Weights are external data at the checkpoint's file name: save the model
    beside that file, or read it with that folder as base.
    """
    writer = GraphWriter(checkpoint)
    vision = checkpoint.vision
    embedding = add_backbone(writer, "pixels")
    raw = add_heads(writer, embedding)
    writer.op("Identity", [embedding], "embedding")
    writer.op("Identity", [raw], "raw")
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 3, vision.image_size, vision.image_size])
    outputs = [
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", vision.hidden_size]),
        helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["N", len(checkpoint.names)]),
    ]
    graph = helper.make_graph(
        writer.nodes, "empathic_insight_face", [pixels], outputs, list(writer.initializers.values())
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="emonet-fast",
    )
