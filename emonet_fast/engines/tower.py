"""The tower in numpy, one linear layer at a time, so that a layer's inputs can be seen before it is chosen.

Slower than an engine by a third, but every layer may be float32 or rounded, and needs no compiling.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import SafetensorsFile
from ..graph.turned import Turn, TurnedFile
from ..records import Float32Array, UInt8Array


class Halt(NamedTuple):
    """Where one picture is in the tower.

    Args:
        stream: [tokens, hidden] float32, the residual stream.
        carried: [tokens, in] float32, what the layer `out` or `fc2` takes next; None before `qkv` and `fc1`.
    """

    stream: Float32Array
    carried: Float32Array | None = None


class LayeredTower:
    """The blocks of a checkpoint's tower, in the coordinates of `turn`. Layers are named as in checkpoint/layers.py.

    file: gives the tensors by their names; None takes the checkpoint's as `turn` makes them.
    """

    def __init__(self, checkpoint: Checkpoint, turn: Turn | None = None, file: SafetensorsFile | None = None) -> None:
        self._checkpoint, self._file = checkpoint, file or TurnedFile(checkpoint, turn)

    def begin(self, pixels: UInt8Array) -> Halt:
        """The place of a picture [3, S, S] uint8 before the first block."""
        vision, at = self._checkpoint.vision, "vision_model.embeddings"
        factor, shift = (np.array(v, np.float32).reshape(3, 1, 1) for v in self._checkpoint.preprocess.affine)
        side, size = vision.image_size // vision.patch_size, vision.patch_size
        cut: Float32Array = (pixels * factor + shift).reshape(3, side, size, side, size).transpose(1, 3, 0, 2, 4)
        filters = self._file.array(f"{at}.patch_embedding.weight").reshape(vision.hidden_size, -1)
        x = cut.reshape(vision.tokens, -1) @ filters.T + self._file.array(f"{at}.patch_embedding.bias")
        return Halt(x + self._file.array(f"{at}.position_embedding.weight"))

    def linear(self, prefix: str) -> tuple[Float32Array, Float32Array]:
        """The checkpoint's weight [out, in] and bias [out] of a linear; of a LayerNorm both are [hidden]."""
        return self._file.array(f"{prefix}.weight"), self._file.array(f"{prefix}.bias")

    def taken(self, name: str, place: Halt) -> Float32Array:
        """What the layer `name` takes: [tokens, in]."""
        if place.carried is not None:
            return place.carried
        block, _, part = name.partition(".")
        return self._layer_norm(place.stream, f"{block}.layer_norm{1 if part == 'qkv' else 2}")

    def given(self, name: str, place: Halt, outputs: Sequence[Float32Array]) -> Halt:
        """The place behind the layer `name`, from the outputs [tokens, out] of its linears."""
        part = name.partition(".")[2]
        if part == "qkv":
            q, k, v = outputs
            return Halt(place.stream, attend(q, k, v, self._checkpoint.vision.num_attention_heads))
        if part == "fc1":
            return Halt(place.stream, gelu(outputs[0]))
        return Halt(place.stream + outputs[0])

    def _layer_norm(self, x: Float32Array, name: str) -> Float32Array:
        weight, bias = self.linear(f"vision_model.encoder.layers.{name}")
        return layer_norm(x, weight, bias, self._checkpoint.vision.layer_norm_eps)


def layer_norm(x: Float32Array, gamma: Float32Array, beta: Float32Array, epsilon: float) -> Float32Array:
    """LayerNorm over the last axis."""
    centred: Float32Array = x - x.mean(axis=-1, keepdims=True)
    centred /= np.sqrt(np.mean(centred * centred, axis=-1, keepdims=True) + np.float32(epsilon))
    centred *= gamma
    centred += beta
    return centred


def gelu(x: Float32Array) -> Float32Array:
    """0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    t: Float32Array = x * x
    t *= np.float32(0.044715)
    t += np.float32(1.0)
    t *= x
    t *= np.float32(math.sqrt(2.0 / math.pi))
    np.tanh(t, out=t)
    t += np.float32(1.0)
    t *= x
    t *= np.float32(0.5)
    return t


def attend(q: Float32Array, k: Float32Array, v: Float32Array, heads: int) -> Float32Array:
    """Multi-head attention of [Q, hidden] to [T, hidden]: softmax(q k^T / sqrt(head_dim)) v for each head."""
    hidden = q.shape[1]
    qh, kh, vh = (a.reshape(-1, heads, hidden // heads).transpose(1, 0, 2) for a in (q, k, v))
    logits = (qh @ kh.transpose(0, 2, 1)) * np.float32((hidden // heads) ** -0.5)
    logits -= logits.max(axis=-1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=-1, keepdims=True)
    mixed = np.empty(q.shape, np.float32)
    mixed[:] = (logits @ vh).transpose(1, 0, 2).reshape(-1, hidden)
    return mixed
