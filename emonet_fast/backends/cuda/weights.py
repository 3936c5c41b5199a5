"""The checkpoint's tensors on the device, laid out for the network: q, k and v packed, the probe folded."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ...checkpoint.layers import PARTS
from ...checkpoint.probe import probe_keys
from ...checkpoint.spec import Checkpoint
from ...checkpoint.tensors import SafetensorsFile
from ...optional import need
from .linear import Linear, make_linear, with_values


@dataclass(frozen=True, slots=True)
class Norm:
    """LayerNorm's weight [D] and bias [D], float32."""

    weight: Any
    bias: Any


@dataclass(frozen=True, slots=True)
class Block:
    """One encoder layer; qkv holds q, k and v one under the other, [3 D, D]."""

    norm1: Norm
    qkv: Linear
    out: Linear
    norm2: Norm
    fc1: Linear
    fc2: Linear


@dataclass(frozen=True, slots=True)
class Pooling:
    """The attention-pooling head in float32; graph/backbone.py explains how the probe is folded in.

    Args:
        keys: [D, heads].
        values: [heads, D, head_dim].
        value_bias: [D].
        out: the output projection.
        norm: before the MLP.
        fc1: of the MLP.
        fc2: of the MLP.
    """

    keys: Any
    values: Any
    value_bias: Any
    out: Linear
    norm: Norm
    fc1: Linear
    fc2: Linear


@dataclass(frozen=True, slots=True)
class Weights:
    """Everything that the network needs.

    Args:
        patch: the patch embedding, [D, 3 P P].
        positions: [tokens, D] in the dtype of the residual stream.
        blocks: the encoder layers.
        post_norm: after the last block.
        pooling: the attention-pooling head.
        heads: (weight [H, out, in], bias [H, out]) float32 of each layer of the regression heads, on the host.
    """

    patch: Linear
    positions: Any
    blocks: tuple[Block, ...]
    post_norm: Norm
    pooling: Pooling
    heads: tuple[tuple[Any, Any], ...]


def load(checkpoint: Checkpoint, device: Any, precision: str, keep: frozenset[str] = frozenset()) -> Weights:
    """Copy a packed checkpoint to a torch device, one tensor at a time. In "fp8" the layers of `keep` stay in bf16."""
    return _Loader(checkpoint, device, precision, keep).load()


def mixed(bf16: Weights, fp8: Weights, keep: frozenset[str]) -> Weights:
    """Return the FP8 layers, but those of `keep` from `bf16`. Both sets of tensors are shared."""
    blocks = []
    for i, block in enumerate(fp8.blocks):
        kept = {part: getattr(bf16.blocks[i], part) for part in PARTS if f"{i}.{part}" in keep}
        blocks.append(replace(block, **kept))
    return replace(fp8, blocks=tuple(blocks))


def refined(weights: Weights, tensors: Mapping[str, Any]) -> Weights:
    """Return the same layers; those that are FP8 with the weights and biases that `tensors` holds for them.

    Args:
        weights: the network's; scales stay.
        tensors: "<layer>.weight" [out, in], codes of e4m3 as uint8, and "<layer>.bias" [out] float32.
    """
    blocks = []
    for i, block in enumerate(weights.blocks):
        parts = {part: getattr(block, part) for part in PARTS}
        changed: dict[str, Any] = {
            part: with_values(layer, tensors.get(f"{i}.{part}.weight"), tensors.get(f"{i}.{part}.bias"))
            for part, layer in parts.items()
            if layer.quantised
        }
        blocks.append(replace(block, **changed))
    return replace(weights, blocks=tuple(blocks))


class _Loader:
    def __init__(self, checkpoint: Checkpoint, device: Any, precision: str, keep: frozenset[str]) -> None:
        self.torch = need("torch", "the GPU engine")
        self.checkpoint, self.device, self.precision, self.keep = checkpoint, device, precision, keep
        self.file = SafetensorsFile(checkpoint.path)

    def load(self) -> Weights:
        vision, torch = self.checkpoint.vision, self.torch
        prefix = "vision_model.embeddings"
        filters = self.tensor(f"{prefix}.patch_embedding.weight").reshape(vision.hidden_size, -1)
        plain = "fp32" if self.precision == "fp32" else "bf16"
        positions = self.tensor(f"{prefix}.position_embedding.weight")
        count = len(self.checkpoint.head_widths) - 1
        return Weights(
            patch=make_linear(filters, self.tensor(f"{prefix}.patch_embedding.bias"), plain),
            positions=positions.to(torch.float32 if plain == "fp32" else torch.bfloat16),
            blocks=tuple(self.block(i) for i in range(vision.num_hidden_layers)),
            post_norm=self.norm("vision_model.post_layernorm"),
            pooling=self.pooling(),
            heads=tuple((self.host(f"heads.{i}.weight"), self.host(f"heads.{i}.bias")) for i in range(count)),
        )

    def block(self, i: int) -> Block:
        prefix = f"vision_model.encoder.layers.{i}"
        attention = f"{prefix}.self_attn"
        names = [f"{attention}.{part}_proj" for part in "qkv"]
        packed = [self.torch.cat([self.tensor(f"{n}.{kind}") for n in names]) for kind in ("weight", "bias")]
        return Block(
            norm1=self.norm(f"{prefix}.layer_norm1"),
            qkv=make_linear(packed[0], packed[1], self.precision_of(f"{i}.qkv")),
            out=self.linear(f"{attention}.out_proj", f"{i}.out"),
            norm2=self.norm(f"{prefix}.layer_norm2"),
            fc1=self.linear(f"{prefix}.mlp.fc1", f"{i}.fc1"),
            fc2=self.linear(f"{prefix}.mlp.fc2", f"{i}.fc2"),
        )

    def pooling(self) -> Pooling:
        vision = self.checkpoint.vision
        heads, width, size = vision.num_attention_heads, vision.hidden_size, vision.head_dim
        prefix = "vision_model.head"
        values = self.tensor(f"{prefix}.attention.in_proj_weight")[2 * width :].reshape(heads, size, width)

        def exact(name: str) -> Linear:
            return make_linear(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), "fp32")

        keys = self.torch.from_numpy(probe_keys(self.checkpoint).astype(np.float32))
        return Pooling(
            keys=keys.to(self.device),
            values=values.transpose(1, 2).contiguous(),
            value_bias=self.tensor(f"{prefix}.attention.in_proj_bias")[2 * width :].clone(),
            out=exact(f"{prefix}.attention.out_proj"),
            norm=self.norm(f"{prefix}.layernorm"),
            fc1=exact(f"{prefix}.mlp.fc1"),
            fc2=exact(f"{prefix}.mlp.fc2"),
        )

    def precision_of(self, name: str) -> str:
        return "bf16" if self.precision == "fp8" and name in self.keep else self.precision

    def linear(self, name: str, short: str) -> Linear:
        return make_linear(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"), self.precision_of(short))

    def norm(self, name: str) -> Norm:
        return Norm(self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias"))

    def tensor(self, name: str) -> Any:
        """Read a tensor to the device, float32."""
        return self.host(name).to(self.device)

    def host(self, name: str) -> Any:
        # A copy: the file's pages are mapped read-only, which torch cannot express.
        return self.torch.from_numpy(np.array(self.file.array(name), np.float32))
