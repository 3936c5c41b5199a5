"""What is known of a checkpoint, independent of the file it came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# By PIL's numbers
RESAMPLE_NAMES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Sizes of the SigLIP vision tower, by the names of transformers' SiglipVisionConfig.

    Args:
        hidden_size: width of the tower and of its embedding, 1152 in the published encoder.
        intermediate_size: width of each block's MLP.
        num_hidden_layers: number of blocks.
        num_attention_heads: number of attention heads; divides hidden_size.
        image_size: side of the square input in pixels.
        patch_size: side of a square patch in pixels.
        layer_norm_eps: added to the variance in each LayerNorm.
    """

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def tokens(self) -> int:
        """Number of patches, each of which is a token."""
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, slots=True)
class Preprocess:
    """From a picture to the network's input: Pillow's resize, then (x * rescale_factor - mean) / std.

    Args:
        size: side of the square input in pixels; pictures are squashed to it.
        resample: Pillow's filter, a value of RESAMPLE_NAMES.
        rescale_factor: what a pixel of 0..255 is multiplied by, mostly 1/255.
        mean: subtracted from R, G and B.
        std: what R, G and B are divided by.
    """

    size: int
    resample: str
    rescale_factor: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    @property
    def affine(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(factor, shift) of each channel: (x * rescale_factor - mean) / std = x * factor + shift.

        For mean = std = 0.5 the factor is 2/255 and the shift -1: x/127.5 - 1.
        """
        factor = tuple(self.rescale_factor / s for s in self.std)
        return factor, tuple(-m / s for m, s in zip(self.mean, self.std, strict=True))


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """Where a tensor lies in a safetensors file.

    Args:
        dtype: as safetensors names it, such as "F32".
        shape: of the tensor.
        offset: bytes from the file's start.
        nbytes: size of the tensor's data.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Description:
    """All that decides a score beside the tensors, and where the checkpoint came from.

    Args:
        vision: sizes of the vision tower.
        preprocess: from a picture to the tower's input.
        names: H slugs of the heads, in the order of taxonomy.canonical_order.
        head_widths: (1152, 1024, 512, 256, 1): the width of a head's input, then of what each of its layers gives.
        neutral_means: by slug; None where the checkpoint has none.
        l2_normalise: whether the embedding is scaled to norm 1 before the heads.
        untrained: whether the weights are synthetic, so that the numbers mean nothing.
        source: where the checkpoint came from, for people.
    """

    vision: VisionConfig
    preprocess: Preprocess
    names: tuple[str, ...]
    head_widths: tuple[int, ...]
    neutral_means: Mapping[str, float] | None
    l2_normalise: bool
    untrained: bool
    source: str


@dataclass(frozen=True)
class Checkpoint(Description):
    """An opened packed checkpoint: its description, and where its tensors lie. The tensors stay in the file.

    Args:
        path: the packed safetensors file.
        weights_hash: "sha256:..." of everything that decides a score.
        stated_encoder: "sha256:..." of everything that decides an embedding: tower, its sizes, preprocessing; "" in a
            file of an earlier emonet-fast. See pack.encoder_hash.
        tensors: by name, all float32: `vision_model.*` as published, and for the heads' i-th Linear layer
            `heads.{i}.weight` [H, out, in] and `heads.{i}.bias` [H, out].
    """

    path: Path
    weights_hash: str
    stated_encoder: str
    tensors: Mapping[str, TensorInfo]
