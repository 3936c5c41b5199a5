"""The SigLIP vision model: uint8 pixels to tokens (the tower), tokens to the pooled embedding (the pooling head).

Source: transformers' SiglipVisionModel (eager form), tensor by tensor.
"""

import numpy as np

from ..checkpoint.probe import probe_keys
from .writer import GraphWriter


def add_tower(w: GraphWriter, pixels: str) -> str:
    """pixels [N, 3, S, S] uint8 -> tokens [N, tokens, hidden] float32 after the last LayerNorm."""
    x = w.low(_embed(w, _normalise(w, pixels)))
    for layer in range(w.checkpoint.vision.num_hidden_layers):
        x = _block(w, x, layer)
    x = w.high(x)
    return w.layer_norm(x, "vision_model.post_layernorm", "post_layernorm")


def _normalise(w: GraphWriter, pixels: str) -> str:
    """(x * rescale_factor - mean) / std, as one multiply and one add in float32."""
    factor, shift = (
        w.constant(f"pixels/{name}", np.reshape(values, (1, 3, 1, 1)), np.float32)
        for name, values in zip(("factor", "shift"), w.checkpoint.preprocess.affine, strict=True)
    )
    x = w.op("Cast", [pixels], "pixels/float", {"to": 1})
    return w.op("Add", [w.op("Mul", [x, factor], "pixels/scaled"), shift], "pixels/normalised")


def _embed(w: GraphWriter, x: str) -> str:
    """Patch embedding plus learned positions: [N, 3, S, S] -> [N, tokens, hidden]."""
    vision = w.checkpoint.vision
    prefix = "vision_model.embeddings"
    x = w.patches(x, f"{prefix}.patch_embedding")
    x = w.op("Reshape", [x, w.shape(0, vision.hidden_size, vision.tokens)], "patches/flat")
    x = w.op("Transpose", [x], "patches/tokens", {"perm": [0, 2, 1]})
    return w.op("Add", [x, w.weight(f"{prefix}.position_embedding.weight")], "embeddings")


def _block(w: GraphWriter, x: str, layer: int) -> str:
    """x + attention(LN1(x)), then x + mlp(LN2(x))."""
    prefix, name = f"vision_model.encoder.layers.{layer}", f"layer{layer}"
    h = w.layer_norm(x, f"{prefix}.layer_norm1", f"{name}/norm1")
    x = w.op("Add", [x, _attention(w, h, f"{prefix}.self_attn", f"{name}/attention")], f"{name}/residual1")
    h = w.layer_norm(x, f"{prefix}.layer_norm2", f"{name}/norm2")
    return w.op("Add", [x, w.mlp(h, f"{prefix}.mlp", f"{name}/mlp")], f"{name}/residual2")


def _attention(w: GraphWriter, x: str, prefix: str, name: str) -> str:
    """softmax(q k^T / sqrt(head_dim)) v per head, then out_proj; non-causal.

    q is scaled before the product, because OpenVINO fuses this pattern into one attention kernel.
    """
    vision = w.checkpoint.vision
    split = w.shape(0, vision.tokens, vision.num_attention_heads, vision.head_dim)
    perms = {"q": [0, 2, 1, 3], "k": [0, 2, 3, 1], "v": [0, 2, 1, 3]}
    parts = {}
    for part, perm in perms.items():
        y = w.linear(x, f"{prefix}.{part}_proj", f"{name}/{part}")
        y = w.op("Reshape", [y, split], f"{name}/{part}/heads")
        parts[part] = w.op("Transpose", [y], f"{name}/{part}/transposed", {"perm": perm})
    q = w.scaled_query(parts["q"], f"{name}/q/scaled")
    logits = w.op("MatMul", [q, parts["k"]], f"{name}/logits")
    weights = w.op("Softmax", [logits], f"{name}/softmax", {"axis": -1})
    y = w.op("MatMul", [weights, parts["v"]], f"{name}/context")
    y = w.op("Transpose", [y], f"{name}/context/transposed", {"perm": [0, 2, 1, 3]})
    y = w.op("Reshape", [y, w.shape(0, vision.tokens, vision.hidden_size)], f"{name}/context/flat")
    return w.linear(y, f"{prefix}.out_proj", f"{name}/out")


def add_pooling(w: GraphWriter, x: str) -> str:
    """Attention pooling by the learned probe, then LayerNorm and MLP with residual: tokens -> embedding [N, D].

    The probe does not depend on the image, so the projections move out of the loop over tokens; in real arithmetic this
    is exact. The logits of head h are x @ (Wk_h^T q_h): the term q_h.bk is the same for all tokens, and softmax drops
    it. And sum_t a_t (Wv_h x_t + bv_h) = Wv_h (sum_t a_t x_t) + bv_h, because the weights a_t sum to 1.
    That turns 3.1 GFLOP an image into 0.04.
    """
    vision = w.checkpoint.vision
    heads, width, size = vision.num_attention_heads, vision.hidden_size, vision.head_dim
    prefix = "vision_model.head"
    keys = w.constant("pool/probe_keys", probe_keys(w.checkpoint), np.float32)
    logits = w.op("MatMul", [x, keys], "pool/logits")  # [N, tokens, heads]
    # The transpose stands behind the softmax: before it, TensorRT takes these products for self-attention over tokens
    # and plans a tensor [N, tokens, tokens, D].
    weights = w.op("Softmax", [logits], "pool/softmax", {"axis": 1})
    weights = w.op("Transpose", [weights], "pool/softmax/transposed", {"perm": [0, 2, 1]})
    mixed = w.op("MatMul", [weights, x], "pool/mixed")  # [N, heads, D]
    mixed = w.op("Transpose", [mixed], "pool/mixed/transposed", {"perm": [1, 0, 2]})
    rows = (2 * width, 3 * width)  # the packed in_proj holds q, k and v one under the other
    values = w.weight(f"{prefix}.attention.in_proj_weight", (heads, size, width), rows)
    values = w.op("Transpose", [values], "pool/values", {"perm": [0, 2, 1]})
    y = w.op("MatMul", [mixed, values], "pool/context")  # [heads, N, head_dim]
    y = w.op("Transpose", [y], "pool/context/transposed", {"perm": [1, 0, 2]})
    y = w.op("Reshape", [y, w.shape(0, width)], "pool/context/flat")
    y = w.op("Add", [y, w.weight(f"{prefix}.attention.in_proj_bias", rows=rows)], "pool/context/biased")
    y = w.linear(y, f"{prefix}.attention.out_proj", "pool/out")
    h = w.layer_norm(y, f"{prefix}.layernorm", "pool/norm")
    return w.op("Add", [y, w.mlp(h, f"{prefix}.mlp", "pool/mlp")], "pool/embedding")
