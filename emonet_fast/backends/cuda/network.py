"""The vision tower, the pooling head and the heads, from patches to raw scores, in static buffers.

One code serves float32, bf16 and FP8, on the GPU and (for checks) on the host. What differs lies in Linear (how a layer
multiplies) and Operations (who computes what lies between the products).

The residual stream x is stored once. What a branch adds to it waits in `delta` until the next LayerNorm, which adds,
stores and normalises in one pass.
"""

from collections.abc import Callable
from typing import Any

from ...checkpoint.spec import VisionConfig
from ...optional import need
from .linear import Linear, multiply, multiply_gelu
from .operations import Operations
from .weights import Block, Norm, Weights
from .workspace import Views


class CudaNetwork:
    """Runs the network.

    `observe`, where it is set, is called with (layer's name, its input [rows, in]) before each product of a block, for
    calibration.
    """

    def __init__(self, vision: VisionConfig, weights: Weights, operations: Operations) -> None:
        self.torch = need("torch", "the GPU engine")
        self.vision, self.weights, self.operations = vision, weights, operations
        self._on_cuda = weights.positions.device.type == "cuda"
        self.observe: Callable[[str, Any], None] | None = None

    def run(self, v: Views) -> None:
        """Compute v.embedding and v.raw from v.patches. Allocates little, copies nothing to or from the host."""
        self._embed(v)
        delta = None
        for i, block in enumerate(self.weights.blocks):
            self._attention(v, block, delta, i)
            delta = v.delta
            self._mlp(v, block, i)
        self._norm(v, self.weights.post_norm, v.tokens, delta)
        v.embedding.copy_(self._pool(self._images(v.tokens, v)))
        self.operations.heads(v.embedding, v.raw)

    def _embed(self, v: Views) -> None:
        """stream = patches @ W.T + bias + positions."""
        multiply(self.weights.patch, v.patches, v.stream)
        self._images(v.stream, v).add_(self.weights.positions)

    def _attention(self, v: Views, block: Block, delta: Any, i: int) -> None:
        """delta = out_proj(attention(LayerNorm1(stream + delta)))."""
        x, scales = self._normed(v, block.norm1, block.qkv, delta)
        self._seen(f"{i}.qkv", x)
        multiply(block.qkv, x, v.qkv, scales=scales)
        heads = self.vision.num_attention_heads
        x = self.operations.attention(v.qkv, v.normed, v.batch, self.vision.tokens, heads)
        scales = None
        if block.out.quantised:
            self.operations.quantise(x, v.narrow8, v.scales)
            x, scales = v.narrow8, v.scales
        self._seen(f"{i}.out", x)
        multiply(block.out, x, v.delta, scales=scales)

    def _mlp(self, v: Views, block: Block, i: int) -> None:
        """delta = fc2(gelu(fc1(LayerNorm2(stream + delta))))."""
        x, scales = self._normed(v, block.norm2, block.fc1, v.delta)
        self._seen(f"{i}.fc1", x)
        after, after_scales = (v.wide8, v.scales) if block.fc2.quantised else (v.wide, None)
        # Not in float32, which is what others are measured by: the epilogue's GELU is an approximation.
        if self._on_cuda and block.fc1.weight.dtype == self.torch.bfloat16 and not block.fc2.quantised:
            multiply_gelu(block.fc1, x, v.wide)
        else:
            multiply(block.fc1, x, v.wide, scales=scales, bias=False)
            self.operations.gelu(v.wide, block.fc1.exact_bias, after, after_scales)
        self._seen(f"{i}.fc2", after)
        multiply(block.fc2, after, v.delta, scales=after_scales)

    def _seen(self, name: str, x: Any) -> None:
        if self.observe is not None:
            self.observe(name, x)

    def _normed(self, v: Views, norm: Norm, following: Linear, delta: Any) -> tuple[Any, Any]:
        """Compute LayerNorm(stream + delta) in the form that the following layer takes; returns it and its scales."""
        if not following.quantised:
            self._norm(v, norm, v.normed, delta)
            return v.normed, None
        self._norm(v, norm, v.narrow8, delta, v.scales)
        return v.narrow8, v.scales

    def _norm(self, v: Views, norm: Norm, out: Any, delta: Any, scales: Any = None) -> None:
        self.operations.layer_norm(v.stream, norm.weight, norm.bias, self.vision.layer_norm_eps, out, delta, scales)

    def _images(self, matrix: Any, v: Views) -> Any:
        """[M, D] as [batch, tokens, D]."""
        return matrix.view(v.batch, self.vision.tokens, -1)

    def _pool(self, x: Any) -> Any:
        """Attention pooling by the folded probe in float32: x [N, tokens, D] -> [N, D].

        Formula and folding: graph/backbone.py. Float32 because this part made a quarter of bf16's error in the
        scores for 0.04% of the work.
        """
        torch, p = self.torch, self.weights.pooling
        functional = torch.nn.functional
        weights = torch.softmax(x @ p.keys, dim=1)  # [N, tokens, heads]
        mixed = torch.bmm(weights.transpose(1, 2), x)  # [N, heads, D]
        context = torch.bmm(mixed.transpose(0, 1), p.values)  # [heads, N, head_dim]
        y = context.transpose(0, 1).reshape(len(x), -1) + p.value_bias
        y = functional.linear(y, p.out.weight, p.out.bias)
        h = functional.layer_norm(y, y.shape[-1:], p.norm.weight, p.norm.bias, self.vision.layer_norm_eps)
        h = functional.gelu(functional.linear(h, p.fc1.weight, p.fc1.bias), approximate="tanh")
        return y + functional.linear(h, p.fc2.weight, p.fc2.bias)
