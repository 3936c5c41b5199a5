"""H heads as stacked layers: the first is one wide product, as all heads have the same input; the others are batched.

Heads learn from embeddings that are centred and scaled, and from labels that are centred and scaled, so that one
learning rate suits all of them. Both are linear, and go into the first and the last layer when the heads are done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from ..checkpoint.heads import Layers
from ..checkpoint.tensors import Array
from ..optional import need
from ..records import Float32Array, Float64Array

# (weight [H, out, in], bias [H, out]) of each Linear layer in the order of data; tensors of PyTorch.
Stack: TypeAlias = list[tuple[Any, Any]]
PURPOSE = "training heads"
_KEEP = 65536  # dropout is drawn from 16 bits a number: ten times as fast as PyTorch's own on a CPU


@dataclass(frozen=True, slots=True)
class Standard:
    """How inputs and labels are centred and scaled.

    Args:
        centre: [width] float64, subtracted from embeddings.
        gain: they are then multiplied by.
        shift: [H] float64, subtracted from labels.
        spread: [H] float64, which they are then divided by.
    """

    centre: Float64Array
    gain: float
    shift: Float64Array
    spread: Float64Array


def forward(stack: Stack, x: Any, masks: Sequence[Any] = ()) -> Any:
    """[H, B] scores of inputs x [B, width].

    masks: for each layer but the last, factors [H, B, out]: 0 where dropout takes a number, else 1 / (1 - dropout).
    """
    torch = need("torch", PURPOSE)
    weight, bias = stack[0]
    heads, out, width = weight.shape
    wide = torch.nn.functional.linear(x, weight.reshape(heads * out, width), bias.reshape(-1))
    y = wide.view(len(x), heads, out).transpose(0, 1)
    for i, (weight, bias) in enumerate(stack[1:]):
        y = y.relu()
        if masks:
            y = y * masks[i]
        y = torch.baddbmm(bias[:, None, :], y, weight.transpose(1, 2))
    return y[..., 0]


def draw_masks(stack: Stack, rows: int, dropout: float, generator: Any) -> list[Any]:
    """Factors of dropout for `forward`, of so many rows; [] where nothing is dropped."""
    torch = need("torch", PURPOSE)
    if not dropout:
        return []
    taken = round(dropout * _KEEP)
    masks = []
    for _, bias in stack[:-1]:
        shape = (bias.shape[0], rows, bias.shape[1])
        words = torch.empty(-(-bias.numel() * rows // 4), dtype=torch.int64)
        words.random_(-(2**63), None, generator=generator)
        drawn = words.view(torch.int16)[: bias.numel() * rows].view(shape)
        masks.append((drawn >= taken - _KEEP // 2).to(torch.float32).mul_(_KEEP / (_KEEP - taken)))
    return masks


def new_stack(heads: int, widths: Sequence[int], seed: int) -> Stack:
    """Layers as `torch.nn.Linear` begins: uniform within 1 / sqrt(in). widths: of the input, then of each output."""
    torch = need("torch", PURPOSE)
    generator = torch.Generator().manual_seed(seed)
    stack: Stack = []
    for inside, outside in pairwise(widths):
        bound = inside**-0.5
        pair = (torch.empty(heads, outside, inside), torch.empty(heads, outside))
        stack.append(tuple(t.uniform_(-bound, bound, generator=generator) for t in pair))
    for tensor in stack[-1]:  # a head begins with what its labels have in common
        tensor.mul_(0.1)
    return stack


def from_layers(heads: Sequence[Layers], standard: Standard | None = None) -> Stack:
    """Heads as a stack; with `standard`, one that takes standardised embeddings and gives standardised scores."""
    torch = need("torch", PURPOSE)
    pairs: list[list[Array]] = [
        [np.stack([head[i][part] for head in heads]) for part in (0, 1)] for i in range(len(heads[0]))
    ]
    if standard is not None:
        weight, bias = (t.astype(np.float64) for t in pairs[0])
        pairs[0] = [weight / standard.gain, bias + weight @ standard.centre]
        weight, bias = (t.astype(np.float64) for t in pairs[-1])
        spread = standard.spread
        pairs[-1] = [weight / spread[:, None, None], (bias - standard.shift[:, None]) / spread[:, None]]
    return [
        (torch.from_numpy(weight.astype(np.float32)), torch.from_numpy(bias.astype(np.float32)))
        for weight, bias in pairs
    ]


def to_layers(stack: Stack, names: Sequence[str], standard: Standard) -> dict[str, Layers]:
    """Heads that take plain embeddings and give plain scores, by name, as `write_heads` takes them."""
    pairs: list[list[Array]] = [[tensor.detach().cpu().numpy() for tensor in pair] for pair in stack]
    weight, bias = (t.astype(np.float64) for t in pairs[-1])
    spread = standard.spread
    pairs[-1] = [weight * spread[:, None, None], bias * spread[:, None] + standard.shift[:, None]]
    weight, bias = (t.astype(np.float64) for t in pairs[0])
    weight = weight * standard.gain
    pairs[0] = [weight, bias - weight @ standard.centre]
    small = [[np.ascontiguousarray(t, np.float32) for t in pair] for pair in pairs]
    return {name: [(weight[h], bias[h]) for weight, bias in small] for h, name in enumerate(names)}


def scores_of(heads: Mapping[str, Layers], values: Float32Array, rows: int = 4096) -> Float32Array:
    """[N, H] raw scores of embeddings [N, width], as the heads take them: what the heads' files give."""
    torch = need("torch", PURPOSE)
    stack = from_layers(list(heads.values()))
    out = np.empty((len(values), len(heads)), np.float32)
    with torch.inference_mode():
        for start in range(0, len(values), rows):
            out[start : start + rows] = forward(stack, torch.from_numpy(values[start : start + rows])).numpy().T
    return out
