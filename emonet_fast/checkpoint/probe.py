"""The pooling head's probe, folded into its key projection. Every engine computes the pooling logits from it."""

import numpy as np

from ..records import Float64Array
from .spec import Checkpoint
from .tensors import SafetensorsFile


def probe_keys(checkpoint: Checkpoint) -> Float64Array:
    """[hidden, heads] float64: column h is Wk_h^T (Wq probe + bq)_h / sqrt(head_dim)."""
    vision = checkpoint.vision
    heads, width, size = vision.num_attention_heads, vision.hidden_size, vision.head_dim
    file = SafetensorsFile(checkpoint.path)
    probe = file.array("vision_model.head.probe").reshape(width).astype(np.float64)
    weight = file.array("vision_model.head.attention.in_proj_weight")[: 2 * width].astype(np.float64)
    bias = file.array("vision_model.head.attention.in_proj_bias")[:width].astype(np.float64)
    query = (weight[:width] @ probe + bias).reshape(heads, size) * size**-0.5
    keys = weight[width:].reshape(heads, size, width)
    result: Float64Array = np.einsum("hsw,hs->wh", keys, query)
    return result
