"""All regression heads at once: embedding to raw scores, weights stacked over the heads."""

from .writer import GraphWriter


def add_heads(w: GraphWriter, embedding: str) -> str:
    """embedding [N, D] float32 -> raw scores [N, H] float32 in the order of Checkpoint.names.

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
