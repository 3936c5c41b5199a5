"""The whole network in numpy, float32, one layer's weights in memory at a time: what an exported model is held to."""

from collections.abc import Callable

import numpy as np

from ..checkpoint.layers import layer_names, prefixes_of
from ..checkpoint.probe import probe_keys
from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import Array, SafetensorsFile
from ..records import Float32Array, UInt8Array
from .tower import LayeredTower, gelu, layer_norm


class HalfFile(SafetensorsFile):
    """A checkpoint's tensors, weights of two dimensions and more rounded to float16."""

    def array(self, name: str) -> Array:
        values = super().array(name)
        with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinite, and is seen in the scores
            rounded = values.ndim > 1 and name.endswith("weight")
            return values.astype(np.float16).astype(np.float32) if rounded else values


def exact_outputs(
    checkpoint: Checkpoint,
    pixels: UInt8Array,
    file: SafetensorsFile | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Float32Array, Float32Array]:
    """Compute pixels [n, 3, S, S] uint8 to embedding [n, hidden] and raw [n, H], float32.

    file: gives the tensors; None takes the checkpoint's. The pictures go through a layer together, so that its weights
    are read once. progress: told how many layers of how many are done; the last one is pooling and heads.
    """
    file = file or SafetensorsFile(checkpoint.path)
    tower = LayeredTower(checkpoint, file=file)
    places = [tower.begin(one) for one in pixels]
    names = list(layer_names(checkpoint.vision.num_hidden_layers))
    for done, name in enumerate(names):
        progress(done, len(names) + 1)
        linears = [tower.linear(prefix) for prefix in prefixes_of(name)]
        for i, place in enumerate(places):
            x = tower.taken(name, place)
            places[i] = tower.given(name, place, [x @ weight.T + bias for weight, bias in linears])
    progress(len(names), len(names) + 1)
    norm = "vision_model.post_layernorm"
    weight, bias = tower.linear(norm)
    epsilon = checkpoint.vision.layer_norm_eps
    embedding = np.stack([_pooled(checkpoint, file, layer_norm(p.stream, weight, bias, epsilon)) for p in places])
    raw = _raw(checkpoint, file, embedding)
    progress(len(names) + 1, len(names) + 1)
    return embedding, raw


def _pooled(checkpoint: Checkpoint, file: SafetensorsFile, tokens: Float32Array) -> Float32Array:
    """tokens [T, hidden] -> the pooled embedding [hidden]; see graph.backbone.add_pooling."""
    prefix, hidden = "vision_model.head", checkpoint.vision.hidden_size
    logits = tokens @ probe_keys(checkpoint).astype(np.float32)  # [T, heads]
    weights = np.exp(logits - logits.max(axis=0))
    mixed = (weights / weights.sum(axis=0)).T @ tokens  # [heads, hidden]
    values = file.array(f"{prefix}.attention.in_proj_weight")[2 * hidden :].reshape(len(mixed), -1, hidden)
    y = np.einsum("hsd,hd->hs", values, mixed).reshape(hidden)
    y = y + file.array(f"{prefix}.attention.in_proj_bias")[2 * hidden :]
    y = _linear(file, f"{prefix}.attention.out_proj", y)
    scale, shift = (file.array(f"{prefix}.layernorm.{part}") for part in ("weight", "bias"))
    h = layer_norm(y, scale, shift, checkpoint.vision.layer_norm_eps)
    pooled: Float32Array = y + _linear(file, f"{prefix}.mlp.fc2", gelu(_linear(file, f"{prefix}.mlp.fc1", h)))
    return pooled


def _linear(file: SafetensorsFile, prefix: str, x: Float32Array) -> Float32Array:
    product: Float32Array = x @ file.array(f"{prefix}.weight").T + file.array(f"{prefix}.bias")
    return product


def _raw(checkpoint: Checkpoint, file: SafetensorsFile, embedding: Float32Array) -> Float32Array:
    """embedding [n, hidden] -> raw scores [n, H]: each head is Linear, ReLU, ..., Linear."""
    if checkpoint.l2_normalise:
        embedding = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    layers = len(checkpoint.head_widths) - 1
    x = np.broadcast_to(embedding, (len(checkpoint.names), *embedding.shape))  # [H, n, width]
    for i in range(layers):
        x = x @ file.array(f"heads.{i}.weight").transpose(0, 2, 1) + file.array(f"heads.{i}.bias")[:, None]
        x = np.maximum(x, 0) if i < layers - 1 else x
    raw: Float32Array = np.ascontiguousarray(x[..., 0].T)
    return raw
