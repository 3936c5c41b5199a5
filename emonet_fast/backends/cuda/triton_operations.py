"""Operations by our Triton kernels; attention by PyTorch or by our kernel."""

from typing import Any

from ...kernels.attention import attention
from ...kernels.gelu import gelu
from ...kernels.head_launch import Scratch
from ...kernels.head_weights import HeadWeights
from ...kernels.heads import score_heads
from ...kernels.layer_norm import layer_norm
from ...kernels.patches import patches
from ...kernels.quantise import quantise
from .operations import sdpa
from .weights import Weights


class TritonOperations:
    """Operations by our kernels, on the current device and stream. Allocates nothing but the result of sdpa.

    Attention is PyTorch's ("sdpa") until our own ("triton") is measured to be faster.
    """

    def __init__(
        self, weights: Weights, patch: int, l2_normalise: bool, batch_size: int, attention_by: str = "sdpa"
    ) -> None:
        if attention_by not in ("sdpa", "triton"):
            raise ValueError(f"attention_by is {attention_by!r}; expected 'sdpa' or 'triton'")
        self.patch, self.attention_by, self.l2_normalise = patch, attention_by, l2_normalise
        device = weights.positions.device
        self.layer_norm, self.gelu, self.quantise = layer_norm, gelu, quantise
        matrices, biases = zip(*weights.heads, strict=True)
        self._heads = HeadWeights.from_layers(matrices, biases, device)
        self._scratch = Scratch.allocate(self._heads, batch_size)

    def patches(self, pixels: Any, out: Any, factor: tuple[float, ...], shift: tuple[float, ...]) -> None:
        patches(pixels, out, self.patch, factor=factor, shift=shift)

    def attention(self, qkv: Any, out: Any, batch: int, tokens: int, heads: int) -> Any:
        if self.attention_by == "sdpa":
            return sdpa(qkv, batch, tokens, heads)
        attention(qkv, out, batch, tokens, heads)
        return out

    def heads(self, embedding: Any, out: Any) -> None:
        score_heads(embedding, self._heads, self._scratch, out, l2_normalise=self.l2_normalise)
