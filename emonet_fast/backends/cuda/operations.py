"""What lies between the matrix products: by our Triton kernels, or in plain PyTorch.

The plain form is the float32 engine on the GPU, and what the tests compare the Triton form with.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from ...optional import need
from .linear import E4M3_MAX
from .weights import Weights


class Operations(Protocol):
    """What lies between the products. Each call writes into tensors that the caller made.

    M: rows of tokens. D: hidden size.
    """

    def patches(self, pixels: Any, out: Any, factor: tuple[float, ...], shift: tuple[float, ...]) -> None:
        """Cut pixels [N, 3, S, S] into out [N * tokens, 3 P P]. uint8 becomes x * factor + shift; floats stay."""

    def layer_norm(
        self, x: Any, weight: Any, bias: Any, eps: float, out: Any, delta: Any = None, scales: Any = None
    ) -> None:
        """Add delta to x in place, then out = LayerNorm(x) [M, D]. With scales [M], out is e4m3 times scales."""

    def gelu(self, x: Any, bias: Any, out: Any, scales: Any = None) -> None:
        """out = gelu_tanh(x + bias) [M, MLP], bias [MLP] float32. out may be x; scales as for layer_norm."""

    def quantise(self, x: Any, out: Any, scales: Any) -> None:
        """Compute out [M, D] e4m3 and scales [M], so that out * scales is close to x."""

    def attention(self, qkv: Any, out: Any, batch: int, tokens: int, heads: int) -> Any:
        """softmax(q k^T / sqrt(head_dim)) v for each head, from qkv [batch * tokens, 3 D].

        Returns the matrix [batch * tokens, D] that holds it: `out`, or another one.
        """

    def heads(self, embedding: Any, out: Any) -> None:
        """Compute the raw scores out [N, H] float32 from embedding [N, D] float32."""


class PlainOperations:
    """Operations in plain PyTorch, inner sums in float32; any device."""

    def __init__(self, weights: Weights, patch: int, l2_normalise: bool) -> None:
        self.torch = need("torch", "the GPU engine")
        self.patch, self.l2_normalise = patch, l2_normalise
        device = weights.positions.device
        self._heads = [(w.to(device), b.to(device)) for w, b in weights.heads]

    def patches(self, pixels: Any, out: Any, factor: tuple[float, ...], shift: tuple[float, ...]) -> None:
        torch, p = self.torch, self.patch
        x = pixels.float()
        if pixels.dtype == torch.uint8:
            scale, offset = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (factor, shift))
            x = x * scale + offset
        n, grid = len(x), x.shape[-1] // p
        x = x.reshape(n, 3, grid, p, grid, p).permute(0, 2, 4, 1, 3, 5)
        out.copy_(x.reshape(n * grid * grid, 3 * p * p))

    def layer_norm(
        self, x: Any, weight: Any, bias: Any, eps: float, out: Any, delta: Any = None, scales: Any = None
    ) -> None:
        if delta is not None:
            x.copy_(x.float() + delta.float())
        y = self.torch.nn.functional.layer_norm(x.float(), x.shape[-1:], weight, bias, eps)
        self._put(y, out, scales)

    def gelu(self, x: Any, bias: Any, out: Any, scales: Any = None) -> None:
        y = self.torch.nn.functional.gelu(x.float() + bias.float(), approximate="tanh")
        self._put(y, out, scales)

    def quantise(self, x: Any, out: Any, scales: Any) -> None:
        self._put(x.float(), out, scales)

    def attention(self, qkv: Any, out: Any, batch: int, tokens: int, heads: int) -> Any:
        return sdpa(qkv, batch, tokens, heads)

    def heads(self, embedding: Any, out: Any) -> None:
        x = embedding / embedding.norm(dim=-1, keepdim=True) if self.l2_normalise else embedding
        out.copy_(stacked_heads(x, self._heads))

    def _put(self, y: Any, out: Any, scales: Any) -> None:
        if scales is None:
            out.copy_(y)
            return
        largest = y.abs().amax(dim=1)
        scales.copy_(self.torch.where(largest > 0, largest / E4M3_MAX, self.torch.ones_like(largest)))
        out.copy_((y / scales.unsqueeze(1)).to(out.dtype))


def stacked_heads(x: Any, layers: Sequence[tuple[Any, Any]]) -> Any:
    """Raw scores [n, H] of embeddings x [n, D] float32, by one batched product a layer, with ReLU between them.

    A layer is (weight [H, out, in], bias [H, out]). Only methods of tensors are used, so that the benchmarks can hand
    this function to torch.compile.
    """
    x = x.unsqueeze(0).expand(len(layers[0][0]), *x.shape)  # [H, n, D]
    for i, (weight, bias) in enumerate(layers):
        x = bias.unsqueeze(1).baddbmm(x.relu() if i else x, weight.transpose(1, 2))
    return x.squeeze(-1).t()


def sdpa(qkv: Any, batch: int, tokens: int, heads: int) -> Any:
    """Operations.attention by PyTorch's scaled_dot_product_attention, straight from the packed layout.

    PyTorch takes cuDNN's kernel on Hopper and GPUs of capability 10, FlashAttention elsewhere (docs/gpu-notes.md). The
    result is not copied: both write [batch, tokens, heads, head_dim], which is the matrix we want.
    """
    functional = need("torch", "the GPU engine").nn.functional
    q, k, v = qkv.view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    y = functional.scaled_dot_product_attention(q, k, v)  # [batch, heads, tokens, head_dim]
    return y.transpose(1, 2).reshape(batch * tokens, -1)
