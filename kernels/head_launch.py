"""How the two launches of `heads.py` are cut into programs, and the memory between them. Figures: 44 Large heads.

Bytes under way decide up to batch 64. By Little's law 4.3 TB/s at a latency of 0.7 us need 3 MB asked for at any time,
23 KB for each of an H200's 132 multiprocessors (SMs); 40 to 90 KB leave room for the start and the end of each program.

- Launch 1: 128 columns are 16 KB of weights a step; 352 programs, 2.7 an SM, all resident at once (at most 168
  registers a thread and 72 KiB of shared memory each). 3 stages or more keep 2 steps, 85 KB an SM, under way.
- x is read once by each column tile, from L2: 52 MB beside 104 MB of weights at batch 64. 64 columns would double that,
  and 7 TB/s from L2 to the SMs would then be the limit.
- Launch 2: slices of 64 outputs of layer 2 (128 from 64 rows on, where reading the hidden rows again costs as much as
  the weights). One slice a program: 352 programs of 128 KB weights each, or 176 of 256 KB.
- SMs with 3 programs beside SMs with 2 cost little: memory is shared by programs, not by SMs, and 3 programs ask for a
  third of what one SM can take.

From batch 65 on it is a matter of L2 traffic, then of arithmetic: 128 rows in launch 1. Launch 2 stays at 64 rows
(128 spill: two accumulators of 64 and 128 registers beside the operands), so at batch 256 it reads 310 MB from L2,
which takes about twice as long as its arithmetic. The backbone takes a thousand times as long.
"""

from dataclasses import dataclass

import torch
import triton

from .contract import capability_of
from .head_weights import NARROWEST, HeadWeights

# Programs of launch 2 that 132 SMs hold at once: 3 each up to 32 rows, 2 each from there on (registers).
RESIDENT_NARROW, RESIDENT_WIDE = 3 * 132, 2 * 132

# Below this many programs some SMs have nothing to do; narrower tiles then cost less than idle SMs.
FEWEST_PROGRAMS = 128


@dataclass(frozen=True)
class Tile:
    """What a program computes at a time: rows x columns outputs, in steps along the sum."""

    rows: int
    columns: int
    step: int
    warps: int
    stages: int


@dataclass(frozen=True)
class LaunchConfig:
    first: Tile
    second: Tile
    # Programs of launch 2 that share a head and its rows, each with W2 / columns / splits slices of layer 2.
    splits: int


def launch_config(
    batch: int, heads: int, widths: tuple[int, int, int], element_bytes: int, capability: int
) -> LaunchConfig:
    """How `batch` embeddings with values of `element_bytes` are scored on a GPU of `capability` (90 for 9.0).

    A pure function, so that the choice can be printed, tested, and compiled without a GPU. `widths` are (W1, W2, W3) as
    of HeadWeights.widths. Order and grouping of a row's sums depend on `splits` and the steps, and on nothing else.
    """
    w1, w2, w3 = widths
    rows = _rows(batch)
    first = _first(batch, heads * w1, element_bytes, capability)
    if not w3:
        # Small: a head's layers 2 and 3 are 8 KB; the whole head is one slice.
        return LaunchConfig(first, Tile(rows, w2, min(128, w1), 4, 3), 1)
    if rows < 64:
        second = Tile(rows, min(64, w2), min(128, w1), 4, 3 if capability in (86, 89) or capability >= 120 else 4)
    else:
        second = Tile(rows, min(128, w2), min(64, w1), 8, 3)
    resident = RESIDENT_NARROW if rows < 64 else RESIDENT_WIDE
    tiles, splits = heads * triton.cdiv(batch, rows), w2 // second.columns
    while splits > 1 and tiles * splits > resident:
        splits //= 2
    return LaunchConfig(first, second, splits)


def _first(batch: int, outputs: int, element_bytes: int, capability: int) -> Tile:
    """Launch 1, whose outputs are those of all heads together."""
    if batch > 64 and outputs % 128 == 0 and _programs(batch, outputs, 128, 128) >= FEWEST_PROGRAMS:
        # A float32 tile stands beside its bf16 copy: half the step keeps both in registers.
        step, stages = (64, 3) if element_bytes == 2 else (32, 4)
        # Twice the columns halve what is read of x. With 99 KiB of shared memory, or without wgmma, they do not fit.
        wide = 90 <= capability < 120 and outputs % 256 == 0
        return Tile(128, 256 if wide else 128, step, 8, stages)
    rows = _rows(batch)
    columns = 128
    # 32 columns are 64 B a step and row of a weight: narrower ones cost more than the programs that they add bring.
    while columns > 32 and _programs(batch, outputs, rows, columns) < FEWEST_PROGRAMS:
        columns //= 2
    while columns > NARROWEST and outputs % columns:
        columns //= 2
    if rows < 64:
        return Tile(rows, columns, 64, 4, 4)
    # Twice the warps for float32, which takes twice the registers; 2 programs fit an SM then, of 72 to 88 KiB.
    return Tile(rows, columns, 64, 4 if element_bytes == 2 else 8, 3)


def _rows(batch: int) -> int:
    return 16 if batch <= 16 else 32 if batch <= 32 else 64


def _programs(batch: int, outputs: int, rows: int, columns: int) -> int:
    return outputs // columns * triton.cdiv(batch, rows)


@dataclass(frozen=True)
class Scratch:
    """Memory between the two launches, made once for the largest batch so that a launch allocates nothing.

    One launch at a time may use it: two streams need two.
    """

    hidden: torch.Tensor  # [batch, H * W1] bf16: outputs of layer 1
    partials: torch.Tensor  # flat float32: layer 3's sums over a part of its inputs, [H, row tiles, splits, rows, W3]
    counters: torch.Tensor  # flat int32: programs that have arrived, [H, row tiles]; 0 before and after a launch

    @classmethod
    def allocate(cls, weights: HeadWeights, batch: int) -> "Scratch":
        """For batches of 1 to `batch` embeddings, beside the weights."""
        device, heads, (w1, _, w3) = weights.first.device, weights.heads, weights.widths
        configs = [launch_config(b, heads, weights.widths, 4, capability_of(device)) for b in range(1, batch + 1)]
        sizes = [partial_sums(config, b, heads, w3) for b, config in enumerate(configs, 1)]
        return cls(
            torch.empty(batch, heads * w1, dtype=torch.bfloat16, device=device),
            torch.empty(max(sizes, default=0), dtype=torch.float32, device=device),
            torch.zeros(heads * triton.cdiv(batch, 16), dtype=torch.int32, device=device),
        )

    def check(self, config: LaunchConfig, batch: int, heads: int, widths: tuple[int, int, int]) -> None:
        """Raises ValueError where this is too little for a launch of `batch` embeddings."""
        if self.hidden.shape[0] < batch or self.hidden.shape[1] != heads * widths[0]:
            raise ValueError(
                f"scratch.hidden: at least {batch} rows of {heads * widths[0]} needed, got {list(self.hidden.shape)}: "
                "allocate the scratch for these weights and the largest batch"
            )
        if self.partials.numel() < (needed := partial_sums(config, batch, heads, widths[2])):
            raise ValueError(f"scratch.partials: {needed} values needed, got {self.partials.numel()}")
        if self.counters.numel() < (needed := heads * triton.cdiv(batch, config.second.rows)):
            raise ValueError(f"scratch.counters: {needed} values needed, got {self.counters.numel()}")


def partial_sums(config: LaunchConfig, batch: int, heads: int, w3: int) -> int:
    """Values of Scratch.partials that a launch needs."""
    if config.splits == 1:
        return 0
    return heads * triton.cdiv(batch, config.second.rows) * config.splits * config.second.rows * w3
