"""The synthetic vision tower: seeded tensors, made layer by layer while pictures run through them.

Trained towers have three properties that random weights lack. Residual branches are small beside the stream that they
add to. What all pictures have in common does not hide what tells them apart. A few fc1 channels fire hundreds of times
above the median on a few tokens. Here the first comes from the gains, the second from the output biases (minus the mean
over the calibration pictures), the third from `_massive`.

The calibration runs on 144 of the 576 tokens: its constants are means over tokens and pictures, and a quarter of the
tokens gives them at a quarter of the cost. Constants are rounded to about 3 digits.
"""

import math
import zlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from ..checkpoint.spec import VisionConfig
from ..engines.tower import gelu, layer_norm
from ..records import Float32Array, UInt8Array
from .synthetic_maths import (
    EPS,
    HEADS,
    HIDDEN,
    IMAGE,
    PATCH,
    TOKENS,
    attend,
    near_bfloat16,
    patch_filters,
    patches,
)

Put = Callable[[str, Float32Array], None]

MLP = 4304
CALIBRATION_TOKENS = TOKENS // 4

# All residual branches together add this much standard deviation to a stream of about 1. At 1.0 the effective
# rank of photographs' embeddings was 3.6, at 0.6 it was 4.4, and a change of resize filter showed better.
BRANCH = 0.6
PROBE = 1.5
EMBEDDING_SCALE = 0.6  # per element of each of two branches: a norm of about 25 over 1152 elements


def vision_config(layers: int) -> VisionConfig:
    """Sizes of a tower with so many blocks."""
    return VisionConfig(HIDDEN, MLP, layers, HEADS, IMAGE, PATCH, EPS)


def generator(seed: int, name: str) -> np.random.Generator:
    """Each tensor has its own stream: PCG64 of SeedSequence([seed, crc32(name)])."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, zlib.crc32(name.encode())])))


def rounded(values: npt.ArrayLike) -> Float32Array:
    """About 3 significant digits of the array's own size, so that another BLAS gives the same constants."""
    array = np.asarray(values, np.float64)
    size = float(np.sqrt(np.mean(array**2)))
    step = 10.0 ** (math.floor(math.log10(size)) - 2) if size > 0 else 1.0
    return (np.rint(array / step) * step).astype(np.float32)


class Tower:
    """Makes the tensors in order, while the N calibration pictures ([H, W, 3] uint8 RGB) run through them.

    `put` takes each tensor and its name. `x` [N, 144, 1152] float32 is the pictures' residual stream at `tokens`.
    """

    def __init__(self, seed: int, layers: int, pictures: Sequence[UInt8Array], put: Put) -> None:
        self.seed, self.layers, self.put = seed, layers, put
        order = generator(seed, "calibration tokens").permutation(TOKENS)
        self.tokens = np.sort(order[:CALIBRATION_TOKENS])
        self.massive_at = [int(v) for v in generator(seed, "massive tokens").choice(CALIBRATION_TOKENS, 3, False)]
        self.x = self._embed(pictures)

    def _make(self, name: str, tensor: Float32Array) -> Float32Array:
        self.put(name, tensor)
        return tensor

    def _make_normal(self, name: str, shape: tuple[int, ...], std: float, mean: float = 0.0) -> Float32Array:
        return self._make(name, self._normal(name, shape, std, mean))

    def _normal(self, name: str, shape: tuple[int, ...], std: float, mean: float = 0.0) -> Float32Array:
        out = generator(self.seed, name).standard_normal(shape, np.float32)
        out *= np.float32(std)
        if mean:
            out += np.float32(mean)
        return near_bfloat16(out)

    def _selective(self, name: str, shape: tuple[int, int], std: float) -> Float32Array:
        """Signed squares of normal numbers: few large weights a row, so that rows differ."""
        out = generator(self.seed, name).standard_normal(shape, np.float32)
        out *= np.abs(out)
        out *= np.float32(std / math.sqrt(3.0))  # E[n^4] = 3
        return near_bfloat16(out)

    def _layer_norm(self, name: str, x: Float32Array) -> Float32Array:
        gamma = self._make_normal(name + ".weight", (HIDDEN,), 0.15, 1.0)
        beta = self._make_normal(name + ".bias", (HIDDEN,), 0.1)
        return layer_norm(x, gamma, beta, EPS)

    def _linear(self, name: str, x: Float32Array, rows: int, gain: float, bias: float = 0.1) -> Float32Array:
        """y = x W^T + b with W of std gain / sqrt(columns)."""
        columns = x.shape[-1]
        w = self._make_normal(name + ".weight", (rows, columns), gain / math.sqrt(columns))
        b = self._make_normal(name + ".bias", (rows,), bias)
        return x @ w.T + b

    def _centred(self, name: str, y: Float32Array) -> Float32Array:
        """Add the bias that takes away the mean of `y` over pictures and tokens."""
        mean = y.reshape(-1, y.shape[-1]).mean(axis=0, dtype=np.float64)
        bias = self._make(name, near_bfloat16(rounded(-mean)))
        return y + bias

    def _embed(self, pictures: Sequence[UInt8Array]) -> Float32Array:
        at = "vision_model.embeddings."
        filters = self._make(at + "patch_embedding.weight", patch_filters(generator(self.seed, at)))
        bias = self._make_normal(at + "patch_embedding.bias", (HIDDEN,), 0.1)
        position = self._make_normal(at + "position_embedding.weight", (TOKENS, HIDDEN), 0.5)
        flat = filters.reshape(HIDDEN, -1).T
        x = np.stack([patches(p)[self.tokens] @ flat for p in pictures])
        return x + bias + position[self.tokens]

    def blocks(self) -> Iterator[int]:
        """Make the layers one by one; yields the index of each finished layer."""
        for i in range(self.layers):
            at = f"vision_model.encoder.layers.{i}."
            gain = BRANCH / math.sqrt(2 * self.layers)
            self.x += self._attention(at, self._layer_norm(at + "layer_norm1", self.x), gain)
            self.x += self._mlp(at, self._layer_norm(at + "layer_norm2", self.x), gain, massive=i >= self.layers // 2)
            yield i

    def _attention(self, at: str, x: Float32Array, gain: float) -> Float32Array:
        # q and k of std 1.2 give logits of std 1.4: selective, yet far from one-hot, where rounding would flip
        q = self._linear(at + "self_attn.q_proj", x, HIDDEN, 1.2)
        k = self._linear(at + "self_attn.k_proj", x, HIDDEN, 1.2)
        v = self._linear(at + "self_attn.v_proj", x, HIDDEN, 1.0)
        mixed = attend(q, k, v)
        name = at + "self_attn.out_proj"
        # averaging over tokens leaves about a third of v's standard deviation: 3 makes up for it
        w = self._make_normal(name + ".weight", (HIDDEN, HIDDEN), 3 * gain / math.sqrt(HIDDEN))
        return self._centred(name + ".bias", mixed @ w.T)

    def _mlp(self, at: str, x: Float32Array, gain: float, massive: bool) -> Float32Array:
        w1 = self._selective(at + "mlp.fc1.weight", (MLP, HIDDEN), 1.3 / math.sqrt(HIDDEN))
        b1 = self._normal(at + "mlp.fc1.bias", (MLP,), 0.3, -0.3)
        w2 = self._normal(at + "mlp.fc2.weight", (HIDDEN, MLP), 1.5 * gain / math.sqrt(MLP))
        if massive:
            self._massive(at, x, w1, b1, w2)
        self._make(at + "mlp.fc1.weight", w1)
        self._make(at + "mlp.fc1.bias", b1)
        hidden = gelu(x @ w1.T + b1)
        self._make(at + "mlp.fc2.weight", w2)
        return self._centred(at + "mlp.fc2.bias", hidden @ w2.T)

    def _massive(self, at: str, x: Float32Array, w1: Float32Array, b1: Float32Array, w2: Float32Array) -> None:
        """Make 6 channels silent but on one of 3 tokens, and there hundreds of times the median.

        Their rows of fc1 point at what the token has and others lack (its position embedding, at this depth),
        with a threshold halfway, so that every picture fires them, by an amount that depends on the picture.
        Their columns of fc2 shrink accordingly: the stream feels them no more than a few other channels.
        """
        rng = generator(self.seed, at + "massive")
        channels = rng.choice(MLP, 6, False)
        everywhere = x.reshape(-1, HIDDEN).mean(axis=0, dtype=np.float64)
        for j, channel in enumerate(channels):
            token = self.massive_at[j % len(self.massive_at)]
            direction = x[:, token].mean(axis=0, dtype=np.float64) - everywhere
            direction += 0.3 * np.linalg.norm(direction) / math.sqrt(HIDDEN) * rng.standard_normal(HIDDEN)
            row = rounded(direction / np.linalg.norm(direction))
            z = x @ row
            others = float(np.quantile(np.delete(z, token, axis=1), 0.999))
            peak = float(z[:, token].mean())
            threshold = (others + peak) / 2
            height = rng.uniform(30.0, 80.0)
            steep = float(rounded(height / (peak - threshold)))
            w1[channel] = row * np.float32(steep)
            b1[channel] = rounded(-steep * threshold)
            w2[:, channel] *= np.float32(4.0 / height)

    def pool(self) -> Float32Array:
        """Make the attention-pooling head and return the calibration pictures' embeddings [N, 1152]."""
        x = self._layer_norm("vision_model.post_layernorm", self.x)
        at = "vision_model.head."
        probe = self._make_normal(at + "probe", (1, 1, HIDDEN), 1.0)
        # A query of std 1.5 gives the probe's logits a standard deviation of 1.5 over the tokens. At 2 the pooling
        # rested on some ten tokens, and their rounding errors no longer averaged out.
        gains = np.repeat(np.array([PROBE, 1.0, 1.0], np.float32), HIDDEN)[:, None]
        name = at + "attention.in_proj_weight"
        w = self._make(name, self._normal(name, (3 * HIDDEN, HIDDEN), 1 / math.sqrt(HIDDEN)) * gains)
        b = self._make_normal(at + "attention.in_proj_bias", (3 * HIDDEN,), 0.1)
        q, k, v = (slice(i * HIDDEN, (i + 1) * HIDDEN) for i in range(3))
        query = np.broadcast_to(probe @ w[q].T + b[q], (len(x), 1, HIDDEN))
        pooled = attend(query, x @ w[k].T + b[k], x @ w[v].T + b[v])[:, 0]
        std = 2 * EMBEDDING_SCALE / math.sqrt(HIDDEN)
        out = self._make_normal(at + "attention.out_proj.weight", (HIDDEN, HIDDEN), std)
        residual = self._centred(at + "attention.out_proj.bias", pooled @ out.T)
        h = self._layer_norm(at + "layernorm", residual)
        w1 = self._selective(at + "mlp.fc1.weight", (MLP, HIDDEN), 1.0 / math.sqrt(HIDDEN))
        h = h @ self._make(at + "mlp.fc1.weight", w1).T
        h = gelu(h + self._make_normal(at + "mlp.fc1.bias", (MLP,), 0.3))
        w2 = self._normal(at + "mlp.fc2.weight", (HIDDEN, MLP), 1.5 * EMBEDDING_SCALE / math.sqrt(MLP))
        return residual + self._centred(at + "mlp.fc2.bias", h @ self._make(at + "mlp.fc2.weight", w2).T)
