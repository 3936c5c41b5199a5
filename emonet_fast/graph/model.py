"""The network as one ONNX model, or cut in two at the tokens; and its regression heads."""

import onnx
from onnx import TensorProto, helper

from ..checkpoint.spec import Checkpoint
from .backbone import add_pooling, add_tower
from .writer import AveragingWriter, Bf16Writer, GraphWriter, ObservingWriter

OPSET = 20  # the first with Gelu
IR_VERSION = 9

# "all": pixels to scores. "tower": pixels to tokens. "pooling": tokens to embedding. "heads": embedding to scores. An
# engine in low precision keeps the last two in float32: a quarter of bf16's error in the scores came from them, for
# 0.04% of the work. The heads stand alone for stored embeddings, too.
# "observed": all, and what calibration needs to know of the tower's linear layers, see ObservingWriter. "averaged": the
# tower, and the means of its layers' inputs, see AveragingWriter.
PARTS = ("all", "tower", "pooling", "heads", "observed", "averaged")


def build_model(checkpoint: Checkpoint, part: str = "all", *, bf16: bool = False) -> onnx.ModelProto:
    """Write the network of a packed checkpoint, or one of PARTS of it.

    The input is `pixels` [N, 3, S, S] uint8, RGB planes; of pooling, `tokens` [N, tokens, hidden] float32. The outputs
    are `embedding` [N, hidden] float32, not normalised, and `raw` [N, H] float32; of a part, what the next one takes. N
    is free.

    Weights are external data at the checkpoint's file name: save the model beside that file, or read it with that
    folder as its base. With `bf16` it is written for a compiler that computes in bf16, see Bf16Writer.
    """
    if part not in PARTS:
        raise ValueError(f"part is {part!r}; expected one of {PARTS}")
    kind = {"observed": ObservingWriter, "averaged": AveragingWriter}.get(part, Bf16Writer if bf16 else GraphWriter)
    return assemble(kind(checkpoint), part, OPSET, IR_VERSION)


def assemble(w: GraphWriter, part: str, opset: int, ir_version: int) -> onnx.ModelProto:
    """Write one of PARTS by this writer, with the inputs and outputs that build_model names."""
    checkpoint = w.checkpoint
    vision = checkpoint.vision
    tokens = _value("tokens", TensorProto.FLOAT, vision.tokens, vision.hidden_size)
    embedding, raw = scores_of(checkpoint)
    if part in ("tower", "averaged"):
        w.op("Identity", [add_tower(w, "pixels")], "tokens")
        inputs, outputs = [pixels_of(checkpoint)], [tokens]
    elif part == "pooling":
        w.op("Identity", [add_pooling(w, "tokens")], "embedding")
        inputs, outputs = [tokens], [embedding]
    elif part == "heads":
        w.op("Identity", [add_heads(w, "embedding")], "raw")
        inputs, outputs = [embedding], [raw]
    else:
        pooled = add_pooling(w, add_tower(w, "pixels"))
        w.op("Identity", [pooled], "embedding")
        w.op("Identity", [add_heads(w, pooled)], "raw")
        inputs, outputs = [pixels_of(checkpoint)], [embedding, raw]
    return w.model(f"emonet_{part}", inputs, outputs + w.outputs, opset, ir_version)


def scores_of(checkpoint: Checkpoint) -> tuple[onnx.ValueInfoProto, onnx.ValueInfoProto]:
    """Describe the outputs `embedding` and `raw`."""
    return (
        _value("embedding", TensorProto.FLOAT, checkpoint.vision.hidden_size),
        _value("raw", TensorProto.FLOAT, len(checkpoint.names)),
    )


def pixels_of(checkpoint: Checkpoint) -> onnx.ValueInfoProto:
    """Describe the input `pixels`."""
    return _value("pixels", TensorProto.UINT8, 3, checkpoint.vision.image_size, checkpoint.vision.image_size)


def _value(name: str, kind: int, *shape: int) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, ["N", *shape])


def add_heads(w: GraphWriter, embedding: str) -> str:
    """All regression heads at once, weights stacked over the heads.

    embedding [N, D] float32 -> raw scores [N, H] float32 in the order of Checkpoint.names.

    e = embedding / ||embedding||; for each head Linear, ReLU, ..., Linear (Dropout does nothing at inference).
    The heads share the input of their first layers, so these are one [H * out, D] product; the next ones are batched
    over H.
    """
    widths, heads = w.checkpoint.head_widths, len(w.checkpoint.names)
    x = _normalised(w, embedding) if w.checkpoint.l2_normalise else embedding
    first = w.weight("heads.0.weight", (heads * widths[1], widths[0]))
    x = w.affine(x, first, w.weight("heads.0.bias", (heads * widths[1],)), "heads/0")
    x = w.op("Reshape", [x, w.shape(0, heads, widths[1])], "heads/0/split")
    x = w.op("Transpose", [x], "heads/0/transposed", {"perm": [1, 0, 2]})  # [H, N, out]
    for i in range(1, len(widths) - 1):
        x = w.op("Relu", [x], f"heads/{i - 1}/relu")
        weight = w.op("Transpose", [w.weight(f"heads.{i}.weight")], f"heads/{i}/weight", {"perm": [0, 2, 1]})
        x = w.op("MatMul", [x, weight], f"heads/{i}/product")
        x = w.op("Add", [x, w.weight(f"heads.{i}.bias", (heads, 1, widths[i + 1]))], f"heads/{i}")
    x = w.op("Transpose", [x], "heads/rows", {"perm": [1, 0, 2]})  # [N, H, 1]
    return w.op("Reshape", [x, w.shape(0, heads)], "heads/raw")


def _normalised(w: GraphWriter, x: str) -> str:
    """x / ||x||_2 over the last axis."""
    norm = w.op("ReduceL2", [x, w.shape(-1)], "heads/norm", {"keepdims": 1})
    return w.op("Div", [x, norm], "heads/normalised")
