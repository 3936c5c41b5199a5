"""The tower in numpy, step by step as backbone.py writes it; int8 layers of a recipe by their own arithmetic."""

import numpy as np

from emonet_fast.checkpoint.layers import layer_behind, layer_names, layer_of
from emonet_fast.checkpoint.tensors import SafetensorsFile


class Tower:
    """Computes tokens in float32. `largest` is the largest magnitude of each layer's input that it has met.

    `means` are those of the inputs of the last picture, see means_of_inputs.
    """

    def __init__(self, checkpoint, recipe=None):
        self.vision, self.affine = checkpoint.vision, checkpoint.preprocess.affine
        self.layers = {} if recipe is None else recipe.layers
        self.file, self.largest, self.means = SafetensorsFile(checkpoint.path), {}, {}

    def tokens(self, pixels):
        """pixels [3, S, S] uint8 -> [tokens, hidden] float32 after the last LayerNorm."""
        v, prefix = self.vision, "vision_model.embeddings"
        factor, shift = (np.array(values, np.float32)[:, None, None] for values in self.affine)
        side, count = v.patch_size, v.image_size // v.patch_size
        x = (pixels.astype(np.float32) * factor + shift)[:, : count * side, : count * side]
        x = x.reshape(3, count, side, count, side).transpose(1, 3, 0, 2, 4).reshape(count * count, -1)
        x = x @ self.file.array(f"{prefix}.patch_embedding.weight").reshape(v.hidden_size, -1).T
        x = x + self.file.array(f"{prefix}.patch_embedding.bias")
        x = x + self.file.array(f"{prefix}.position_embedding.weight")
        for i in range(v.num_hidden_layers):
            block = f"vision_model.encoder.layers.{i}"
            x = x + self._attention(self._norm(x, f"{block}.layer_norm1"), f"{block}.self_attn")
            h = self._linear(self._norm(x, f"{block}.layer_norm2"), f"{block}.mlp.fc1")
            h = h / 2 * (1 + np.tanh(np.float32(np.sqrt(2 / np.pi)) * (h + np.float32(0.044715) * h**3)))
            x = x + self._linear(h, f"{block}.mlp.fc2")
        return self._norm(x, "vision_model.post_layernorm")

    def _norm(self, x, prefix):
        x = x - x.mean(-1, keepdims=True)
        x = x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float32(self.vision.layer_norm_eps))
        self.means[layer_behind(prefix)] = x.mean(axis=0)
        return x * self.file.array(f"{prefix}.weight") + self.file.array(f"{prefix}.bias")

    def _linear(self, x, prefix):
        name = layer_of(prefix)
        self.largest[name] = max(self.largest.get(name, 0.0), float(np.abs(x).max()))
        if name.endswith((".out", ".fc2")):
            self.means[name] = x.mean(axis=0)
        if name in self.layers:
            return self.layers[name].product(prefix, x)
        return x @ self.file.array(f"{prefix}.weight").T + self.file.array(f"{prefix}.bias")

    def _attention(self, x, prefix):
        v = self.vision
        q, k, values = (
            self._linear(x, f"{prefix}.{part}_proj").reshape(v.tokens, v.num_attention_heads, -1).swapaxes(0, 1)
            for part in "qkv"
        )
        logits = (q * np.float32(v.head_dim**-0.5)) @ k.swapaxes(1, 2)
        weights = np.exp(logits - logits.max(-1, keepdims=True))
        y = (weights / weights.sum(-1, keepdims=True)) @ values
        return self._linear(y.swapaxes(0, 1).reshape(v.tokens, -1), f"{prefix}.out_proj")


def means_of_inputs(checkpoint, pixels):
    """By layer [n, in]: what it takes, as the mean over tokens; of qkv and fc1 before the factors of the LayerNorm."""
    found = {name: [] for name in layer_names(checkpoint.vision.num_hidden_layers)}
    for one in pixels:
        tower = Tower(checkpoint)
        tower.tokens(one)
        for name, values in found.items():
            values.append(tower.means[name])
    return {name: np.stack(values) for name, values in found.items()}
