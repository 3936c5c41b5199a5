"""What is known of a checkpoint, independent of the file it came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# By PIL's numbers
RESAMPLE_NAMES = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic", 4: "box", 5: "hamming"}


@dataclass(frozen=True, slots=True)
class VisionConfig:
    """Sizes of the SigLIP vision tower (fields of transformers' SiglipVisionConfig)."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    image_size: int
    patch_size: int
    layer_norm_eps: float = 1e-6

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    @property
    def tokens(self) -> int:
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True, slots=True)
class Preprocess:
    """RGB uint8 -> Pillow resize to size x size with `resample` -> (x * rescale_factor - mean) / std.

    resample: a value of RESAMPLE_NAMES. mean, std: 3 each.
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

    dtype: safetensors' name ("F32"); offset: bytes from the file's start.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int


@dataclass(frozen=True)
class Checkpoint:
    """An opened packed checkpoint; its tensors stay in the file.

    path: the packed safetensors file. tensors: by name: `vision_model.*` as published, and for the heads'
    i-th Linear layer `heads.{i}.weight` [H, out, in] and `heads.{i}.bias` [H, out], all float32.
    names: H slugs in canonical order (taxonomy.canonical_order). head_widths: (1152, 1024, 512, 256, 1).
    neutral_means: by slug, or None where the checkpoint has none.
    l2_normalise: embedding to norm 1 before the heads.
    weights_hash: "sha256:..." of everything that decides a score. source: where it came from, for people.
    untrained: synthetic weights, whose numbers mean nothing.
    """

    path: Path
    vision: VisionConfig
    preprocess: Preprocess
    names: tuple[str, ...]
    head_widths: tuple[int, ...]
    neutral_means: Mapping[str, float] | None
    l2_normalise: bool
    weights_hash: str
    source: str
    untrained: bool
    tensors: Mapping[str, TensorInfo]
