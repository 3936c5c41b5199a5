"""All heads' scores from embeddings, in two launches.

For each row x of an embedding [B, D] and each head, in float32 sums of bf16 products:

    n = x / ||x||                  (only with l2_normalise)
    y1 = relu(W1 n + b1)           launch 1: one GEMM over all heads, y1 to memory as bf16
    y2 = relu(W2 y1 + b2)          launch 2: y2 stays in the multiprocessor, rounded to bf16
    y3 = relu(W3 y2 + b3)          launch 2, float32; not in the Small layout
    raw = w4 . y3 + b4             launch 2, float32

Source: the published heads' own definition (ReLU and Dropout between Linear layers; Dropout is a no-op at inference).
W1 n is computed as (W1 x) / ||x||, with x rounded to bf16 but not ||x||: launch 1 reads all of x anyway, and a division
of a sum costs less precision than one more rounding to bf16.

What bounds it: up to batch 64 the weights, 161 MB in bf16 for 44 Large heads, 37 us at 4.3 TB/s. So every weight is
read from memory once, by many programs at a time; `head_launch.py` says how many bytes are under way.

Unmeasured on a GPU. Predicted for 44 Large heads on an H200, both launches in one CUDA graph: 45 us up to batch 16
(24 + 13 of memory, the rest starts, ends and the last sums), 55 at 64, 100 at 256; Small 7 at batch 1, all latency.
"""

import torch
import triton
import triton.language as tl

from .aot import Launch, Variant
from .contract import capability_of, check_device
from .head_launch import LaunchConfig, Scratch, Tile, launch_config
from .head_weights import EMBEDDING_STEP, HeadWeights
from .precision import product, rounded

# ||x|| in this range has a square that float32 holds with all its digits. SigLIP's are 1 to 1000.
SMALLEST_SQUARE: tl.constexpr = tl.constexpr(1e-30)
LARGEST_SQUARE: tl.constexpr = tl.constexpr(1e36)


def reference(x: torch.Tensor, weights: HeadWeights, l2_normalise: bool) -> torch.Tensor:
    """Scores [B, H] of embeddings x [B, D], one head after the other, in float64 for a float64 x, else in float32."""
    wide = torch.promote_types(x.dtype, torch.float32)
    n = x.to(wide)
    if l2_normalise:
        n = n / n.norm(dim=1, keepdim=True)
    first = weights.first[:, : weights.embedding].to(wide).unflatten(0, (weights.heads, -1))
    scores = []
    for head in range(weights.heads):
        y = torch.relu(n @ first[head].T + weights.first_bias[head])
        y = torch.relu(y @ weights.second[head].to(wide).T + weights.second_bias[head])
        if weights.third is not None and weights.third_bias is not None:
            y = torch.relu(y @ weights.third[head].to(wide) + weights.third_bias[head])
        scores.append(y @ weights.last[head].to(wide) + weights.last_bias[head])
    return torch.stack(scores, dim=1)


@triton.jit
def _relu(y):
    """max(y, 0), and NaN for NaN: a broken embedding must not become a plausible score."""
    return tl.where(y < 0, 0.0, y)


@triton.jit(do_not_specialize=["batch"])
def _first_layer(
    x,  # [batch, D] bf16 or float32
    weight,  # [outputs, PADDED] bf16, zeros from column D on
    bias,  # [outputs] float32
    hidden,  # [batch, outputs] bf16: relu(W1 n + b1)
    batch,
    D: tl.constexpr,
    PADDED: tl.constexpr,
    NORMALISE: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
):
    # Programs with the same weights run next to each other: the second reads them from L2.
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    steps = tl.arange(0, STEP)
    # Rows behind the batch repeat its last row: no masks, and nothing of theirs is stored.
    read = tl.minimum(rows, batch - 1).to(tl.int64)
    x_at = x + read[:, None] * D + steps[None, :]
    weight_at = weight + columns[:, None] * PADDED + steps[None, :]
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    square = tl.zeros([ROWS], tl.float32)
    for start in range(0, PADDED, STEP):
        if D == PADDED:
            part = tl.load(x_at + start)
        else:
            part = tl.load(x_at + start, mask=steps[None, :] < D - start, other=0.0)
        if NORMALISE and ROWS >= 64 and x.dtype.element_ty == tl.bfloat16:
            # No effect on what is stored: it makes wgmma take x from registers. From shared memory, which the squares
            # read, too, Triton would have it race with the next copy: see `races.py`.
            part = tl.where((rows < batch)[:, None], part, 0.0)
        wide = part.to(tl.float32)
        total = product(rounded(wide, tl.bfloat16), tl.trans(tl.load(weight_at + start)), total)
        if NORMALISE:
            square += tl.sum(wide * wide, axis=1)
    if NORMALISE:
        # The comparisons are false for NaN, too.
        sound = (square >= SMALLEST_SQUARE) & (square <= LARGEST_SQUARE)
        total *= tl.where(sound, 1.0 / tl.sqrt(tl.where(sound, square, 1.0)), float("nan"))[:, None]
    y = _relu(total + tl.load(bias + columns)[None, :])
    stored = hidden + rows.to(tl.int64)[:, None] * (tl.num_programs(1) * COLUMNS) + columns[None, :]
    tl.store(stored, rounded(y, tl.bfloat16), mask=(rows < batch)[:, None])


@triton.jit
def _last_layer(y, last, last_bias, head, rows, batch, raw, WIDTH: tl.constexpr):
    """raw[rows, head] = last[head] . y + last_bias[head], y [ROWS, WIDTH] float32."""
    vector = tl.load(last + head * WIDTH + tl.arange(0, WIDTH))
    score = tl.sum(y * vector[None, :], axis=1) + tl.load(last_bias + head)
    tl.store(raw + rows.to(tl.int64) * tl.num_programs(2) + head, score, mask=rows < batch)


@triton.jit(do_not_specialize=["batch"])
def _other_layers(
    hidden,  # [batch, H * W1] bf16
    second,  # [H, W2, W1] bf16
    second_bias,  # [H, W2] float32
    third,  # [H, W2, W3] bf16; not read where W3 is 0, and neither are the next three
    third_bias,  # [H, W3] float32
    partials,  # [H, row tiles, SPLITS, ROWS, W3] float32
    counters,  # [H, row tiles] int32, 0 before and after
    last,  # [H, W3 or W2] float32
    last_bias,  # [H] float32
    raw,  # [batch, H] float32
    batch,
    W1: tl.constexpr,
    W2: tl.constexpr,
    W3: tl.constexpr,
    ROWS: tl.constexpr,
    COLUMNS: tl.constexpr,
    STEP: tl.constexpr,
    SPLITS: tl.constexpr,
    EARLY: tl.constexpr,
):
    # Grid: row tiles, splits, heads. Programs with the same weights run next to each other.
    head = tl.program_id(2)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    steps = tl.arange(0, STEP)
    # Rows behind the batch repeat its last row: no masks, and nothing of theirs is stored.
    read = tl.minimum(rows, batch - 1).to(tl.int64)
    hidden_at = hidden + read[:, None] * (tl.num_programs(2) * W1) + head * W1 + steps[None, :]
    SLICES: tl.constexpr = W2 // COLUMNS // SPLITS
    y3 = tl.zeros([ROWS, max(W3, 1)], tl.float32)
    for i in range(SLICES):
        columns = head * W2 + (tl.program_id(1) * SLICES + i) * COLUMNS + tl.arange(0, COLUMNS)
        third_at = third + columns[:, None] * W3 + tl.arange(0, max(W3, 1))[None, :]
        if EARLY:
            # Asked for before the loop, so that the wait for it passes under the loop's own.
            slice3 = tl.load(third_at)
        second_at = second + columns[:, None] * W1 + steps[None, :]
        total = tl.zeros([ROWS, COLUMNS], tl.float32)
        for start in range(0, W1, STEP):
            total = product(tl.load(hidden_at + start), tl.trans(tl.load(second_at + start)), total)
        y2 = _relu(total + tl.load(second_bias + columns)[None, :])
        if W3 == 0:
            _last_layer(y2, last, last_bias, head, rows, batch, raw, W2)
        else:
            if not EARLY:
                slice3 = tl.load(third_at)
            y3 = product(rounded(y2, tl.bfloat16), slice3, y3)
    if W3 > 0:
        tile = head * tl.num_programs(0) + tl.program_id(0)
        if SPLITS == 1:
            _last_two_layers(y3, third_bias, last, last_bias, head, rows, batch, raw, W3)
        else:
            block = tl.arange(0, ROWS)[:, None] * W3 + tl.arange(0, W3)[None, :]
            partials += tile * (SPLITS * ROWS * W3)
            tl.store(partials + tl.program_id(1) * (ROWS * W3) + block, y3)
            # All of the block's threads have stored before one of them says so; what it acquires holds for all after
            # the barrier that hands out the result.
            tl.debug_barrier()
            if tl.atomic_add(counters + tile, 1, sem="acq_rel", scope="gpu") == SPLITS - 1:
                # For the next launch, or the next replay of a CUDA graph.
                tl.store(counters + tile, 0)
                # In this order whoever arrives last: scores do not differ from run to run.
                y3 = tl.zeros([ROWS, W3], tl.float32)
                for split in range(SPLITS):
                    y3 += tl.load(partials + split * (ROWS * W3) + block, cache_modifier=".cg")
                _last_two_layers(y3, third_bias, last, last_bias, head, rows, batch, raw, W3)


@triton.jit
def _last_two_layers(y3, third_bias, last, last_bias, head, rows, batch, raw, W3: tl.constexpr):
    """From layer 3's sums [ROWS, W3] float32 to scores."""
    y3 = _relu(y3 + tl.load(third_bias + head * W3 + tl.arange(0, W3))[None, :])
    _last_layer(y3, last, last_bias, head, rows, batch, raw, W3)


def score_heads(
    x: torch.Tensor,
    weights: HeadWeights,
    scratch: Scratch,
    raw: torch.Tensor,
    *,
    l2_normalise: bool,
    config: LaunchConfig | None = None,
) -> None:
    """Write raw scores [B, H] float32 of embeddings x [B, D], in two launches on the current stream.

    Nothing is allocated. With `l2_normalise` a row's norm must lie in 1e-15 .. 1e18: outside, and for a row with NaN or
    infinity, its scores are NaN. Without, NaN stays NaN. No other row is touched. A row's scores depend on `config` (by
    default `launch_config`), not on the other rows or on the row's place. Raises ValueError when dtypes, shapes,
    layouts or devices do not fit, or `scratch` is for fewer embeddings.
    """
    batch, heads = x.shape[0], weights.heads
    _check(x, weights, scratch, raw)
    if batch == 0:
        return
    if config is None:
        config = launch_config(batch, heads, weights.widths, x.element_size(), capability_of(x.device))
    scratch.check(config, batch, heads, weights.widths)
    first, second = config.first, config.second
    grid = (triton.cdiv(batch, first.rows), heads * weights.widths[0] // first.columns)
    _first_layer[grid](
        x, weights.first, weights.first_bias, scratch.hidden, batch,
        **_first_launch(weights.embedding, l2_normalise, first).keywords,
    )  # fmt: skip
    grid = (triton.cdiv(batch, second.rows), config.splits, heads)
    third, third_bias = (weights.last, weights.last) if weights.third is None else (weights.third, weights.third_bias)
    _other_layers[grid](
        scratch.hidden, weights.second, weights.second_bias, third, third_bias, scratch.partials, scratch.counters,
        weights.last, weights.last_bias, raw, batch,
        **_second_launch(weights.widths, config).keywords,
    )  # fmt: skip


def _first_launch(embedding: int, l2_normalise: bool, tile: Tile) -> Launch:
    padded = triton.cdiv(embedding, EMBEDDING_STEP) * EMBEDDING_STEP
    constants = {
        "D": embedding, "PADDED": padded, "NORMALISE": l2_normalise,
        "ROWS": tile.rows, "COLUMNS": tile.columns, "STEP": tile.step,
    }  # fmt: skip
    return Launch(constants, tile.warps, tile.stages)


def _second_launch(widths: tuple[int, int, int], config: LaunchConfig) -> Launch:
    tile = config.second
    # Up to 32 rows layer 3's weights wait in registers; from 64 on they would wait in shared memory, which would leave
    # room for one program an SM less.
    constants = {
        "W1": widths[0], "W2": widths[1], "W3": widths[2],
        "ROWS": tile.rows, "COLUMNS": tile.columns, "STEP": tile.step,
        "SPLITS": config.splits, "EARLY": tile.rows < 64,
    }  # fmt: skip
    return Launch(constants, tile.warps, tile.stages)


def _check(x: torch.Tensor, weights: HeadWeights, scratch: Scratch, raw: torch.Tensor) -> None:
    if x.dim() != 2 or x.shape[1] != weights.embedding:
        raise ValueError(f"x: expected the shape [batch, {weights.embedding}], got {list(x.shape)}")
    batch = x.shape[0]
    if x.dtype not in (torch.bfloat16, torch.float32):
        raise ValueError(f"x: expected torch.bfloat16 or torch.float32, got {x.dtype}")
    if raw.dtype != torch.float32 or tuple(raw.shape) != (batch, weights.heads):
        raise ValueError(f"raw: expected float32 of [{batch}, {weights.heads}], got {raw.dtype} of {list(raw.shape)}")
    if not x.is_contiguous() or not raw.is_contiguous():
        raise ValueError(f"x and raw must be contiguous, got the strides {x.stride()} and {raw.stride()}")
    check_device({"x": x, "raw": raw, "weights": weights.first, "scratch": scratch.hidden})


# The published layouts.
_LAYOUTS = {"large": (1024, 512, 256), "small": (128, 32, 0)}
# Small's first launch has the same kernel in narrower tiles: one type is enough for it.
_TYPES = {"large": (("bf16", 2), ("fp32", 4)), "small": (("fp32", 4),)}
_EMBEDDING = 1152
_HEADS = 44


def variants(capability: int) -> list[Variant]:
    """What is launched for the published layouts: every tile that batches of 1 to 512 lead to, once."""
    known = {}
    for layout, widths in _LAYOUTS.items():
        for batch in (1, 32, 64, 128, 256, 512):
            for type_, element_bytes in _TYPES[layout]:
                config = launch_config(batch, _HEADS, widths, element_bytes, capability)
                for v in (_first_variant(type_, config.first), _second_variant(layout, config)):
                    known.setdefault((v.kernel.__name__, v.name), v)
    return list(known.values())


def _first_variant(type_: str, tile: Tile) -> Variant:
    types = {"x": f"*{type_}", "weight": "*bf16", "bias": "*fp32", "hidden": "*bf16", "batch": "i32"}
    name = f"{type_} {tile.rows}x{tile.columns}x{tile.step} w{tile.warps} s{tile.stages}"
    return Variant(name, _first_layer, types, _first_launch(_EMBEDDING, True, tile))


def _second_variant(layout: str, config: LaunchConfig) -> Variant:
    tile = config.second
    types = {"hidden": "*bf16", "second": "*bf16", "second_bias": "*fp32", "third": "*bf16", "third_bias": "*fp32"}
    if layout == "small":
        types["third"] = "*fp32"  # the last layer stands in for it, and is not read as layer 3
    types |= {"partials": "*fp32", "counters": "*i32", "last": "*fp32", "last_bias": "*fp32", "raw": "*fp32"}
    types["batch"] = "i32"
    name = f"{layout} {tile.rows}x{tile.columns}x{tile.step} / {config.splits} w{tile.warps} s{tile.stages}"
    return Variant(name, _other_layers, types, _second_launch(_LAYOUTS[layout], config))
