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
    """See Operations. Launches on the current device and stream, and allocates nothing but the result of sdpa.

    Args:
        weights: of the network; the heads are taken over in the form of their kernel.
        patch: P, pixels.
        l2_normalise: whether the heads take the embedding divided by its norm.
        batch_size: the largest batch.
        attention_by: "sdpa" (PyTorch's) or "triton" (ours). SDPA is the default until ours is measured to be faster.
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
        """See Operations."""
        patches(pixels, out, self.patch, factor=factor, shift=shift)

    def attention(self, qkv: Any, out: Any, batch: int, tokens: int, heads: int) -> Any:
        """See Operations."""
        if self.attention_by == "sdpa":
            return sdpa(qkv, batch, tokens, heads)
        attention(qkv, out, batch, tokens, heads)
        return out

    def heads(self, embedding: Any, out: Any) -> None:
        """See Operations."""
        score_heads(embedding, self._heads, self._scratch, out, l2_normalise=self.l2_normalise)
