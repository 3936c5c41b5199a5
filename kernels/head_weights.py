"""Weights of all heads as `heads.py` reads them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

EMBEDDING_STEP = 128  # values of an embedding that the first launch takes in a step, at most
NARROWEST = 16  # values of K that tensor cores take, at least
WIDEST_LAST = 256  # width in which the accumulator of the last hidden layer is kept in registers, at most
LARGEST_MATRIX = 2**30  # values: places are 32-bit integers, and padding may come close to doubling the size


@dataclass(frozen=True)
class HeadWeights:
    """Layers of all heads on one device, padded with zeros, which add nothing to any sum.

    Hidden widths are padded to powers of two (Triton's blocks), at least 16; both published layouts have only such.
    Matrices are bf16, row-major and aligned to 16 bytes. Biases are float32, and so is the last layer, which is 1 wide
    and runs outside the tensor cores.
    """

    embedding: int  # D, values of an embedding
    first: torch.Tensor  # [H * W1, D padded to a multiple of 128] bf16: layer 1 of all heads as one matrix
    first_bias: torch.Tensor  # [H, W1] float32
    second: torch.Tensor  # [H, W2, W1] bf16
    second_bias: torch.Tensor  # [H, W2] float32
    # [H, W2, W3] bf16, transposed: a slice of layer 2's outputs then needs one contiguous block. None: 3 layers
    third: torch.Tensor | None
    third_bias: torch.Tensor | None  # [H, W3] float32
    last: torch.Tensor  # [H, W3 or W2] float32
    last_bias: torch.Tensor  # [H] float32

    @property
    def heads(self) -> int:
        return self.last.shape[0]

    @property
    def widths(self) -> tuple[int, int, int]:
        """(W1, W2, W3), padded; W3 is 0 where there are 3 layers."""
        return self.first_bias.shape[1], self.second_bias.shape[1], 0 if self.third is None else self.third.shape[2]

    @classmethod
    def from_layers(
        cls, weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor], device: torch.device | str
    ) -> "HeadWeights":
        """Take the layers of all heads in order: weights [H, out, in] and biases [H, out], float32.

        Raises ValueError when there are not 3 or 4 layers, their shapes do not follow each other, the last layer is not
        1 wide, or the one before it is wider than 256.
        """
        _check_layers(weights, biases)
        embedding, wide = weights[0].shape[2], [_padded(w.shape[1]) for w in weights[:-1]]
        if wide[-1] > WIDEST_LAST:
            raise ValueError(f"the last hidden layer has {wide[-1]} outputs, a multiprocessor holds {WIDEST_LAST}")

        def matrix(layer: int, rows: int, columns: int) -> torch.Tensor:
            return _pad(weights[layer], rows, columns).to(device, torch.bfloat16)

        def bias(layer: int) -> torch.Tensor:
            return _pad(biases[layer].unsqueeze(1), 1, wide[layer]).squeeze(1).to(device)

        middle = len(weights) == 4
        return cls(
            embedding=embedding,
            first=matrix(0, wide[0], -(-embedding // EMBEDDING_STEP) * EMBEDDING_STEP).flatten(0, 1),
            first_bias=bias(0),
            second=matrix(1, wide[1], wide[0]),
            second_bias=bias(1),
            third=matrix(2, wide[2], wide[1]).transpose(1, 2).contiguous() if middle else None,
            third_bias=bias(2) if middle else None,
            last=_pad(weights[-1], 1, wide[-1]).squeeze(1).to(device),
            last_bias=biases[-1].squeeze(1).to(device, copy=True),
        )


def _padded(width: int) -> int:
    return max(NARROWEST, 1 << (width - 1).bit_length())


def _pad(tensor: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """[H, out, in] float32 to [H, rows, columns], new memory, zeros behind."""
    out = tensor.new_zeros(tensor.shape[0], rows, columns)
    out[:, : tensor.shape[1], : tensor.shape[2]] = tensor
    return out


def _check_layers(weights: Sequence[torch.Tensor], biases: Sequence[torch.Tensor]) -> None:
    if len(weights) not in (3, 4) or len(biases) != len(weights):
        raise ValueError(f"expected 3 or 4 layers with a bias each, got {len(weights)} and {len(biases)} biases")
    previous = None
    for number, (weight, bias) in enumerate(zip(weights, biases, strict=True), 1):
        if weight.dtype != torch.float32 or bias.dtype != torch.float32:
            raise ValueError(f"layer {number}: expected float32, got {weight.dtype} and a bias of {bias.dtype}")
        if weight.dim() != 3 or 0 in weight.shape:
            raise ValueError(f"layer {number}: expected the shape [heads, out, in], got {list(weight.shape)}")
        heads, width, taken = weight.shape
        if tuple(bias.shape) != (heads, width):
            raise ValueError(f"layer {number}: expected a bias [{heads}, {width}], got {list(bias.shape)}")
        if previous is not None and (heads, taken) != previous:
            raise ValueError(
                f"layer {number}: expected {previous[0]} heads that take {previous[1]} values, got {heads} and {taken}"
            )
        previous = heads, width
    if weights[0].numel() >= LARGEST_MATRIX:
        raise ValueError(f"layer 1 of all heads has {weights[0].numel()} values, at most 2^30 can be addressed")
    if weights[-1].shape[1] != 1:
        raise ValueError(f"the last layer must be 1 wide, got {weights[-1].shape[1]}")
