"""Attention over all tokens of an image, from packed queries, keys and values: out = softmax(q k^T / sqrt(d)) v.

    qkv  [B T, 3 D]  bf16   q | k | v; head h in the columns h d .. (h + 1) d of each, D = heads * d
    out  [B T, D]    bf16   head h in the columns h d .. (h + 1) d

Unmeasured on a GPU. Whether it beats PyTorch's `scaled_dot_product_attention` is not known; the prediction is below.

Source: the running maximum and sum of Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv
1805.02867, on tiles as in FlashAttention-2, arXiv 2307.08691. Logits, sums and accumulators are float32; the
probabilities are rounded to bf16 for the second product. exp(x) is taken as exp2(x / ln 2), with 1 / ln 2 and
1 / sqrt(d) as one float32 factor.

Why an own kernel: d = 72. Products on tensor cores need powers of two in Triton: one block would be 128, of which 44%
is idle, and FlashAttention runs it as 96. Here d is split into 64 + 16, of which 8 are idle: q k^T is the sum of two
products, and the output has two accumulators.

Arithmetic, for one layer of B = 256 images of T = 576 tokens, 16 heads of d = 72, on an H200 (132 SMs, 1.75 GHz):
- 4 B heads T^2 d = 391 GFLOP, 435 with the padding to 80: 0.54 ms at 800 TFLOP/s;
- 350 instructions of a warp for 16 queries x 64 keys (counted in the compiled loop), four a clock on an SM: 0.50 ms;
- 1.36 G exponentials, 16 a clock on an SM: 0.37 ms;
- memory: 1.02 GB of qkv read and 0.34 GB written: 0.32 ms;
- L2: 166 kB of keys and values for every tile of queries are 3.4 GB with 128 queries a tile (0.6 ms at 5.5 TB/s), and
  6.1 GB with 64 (1.1 ms), which would be the limit.
None of them dominates. They overlap only where the blocks on an SM are at different steps, since within a block the
products and the exponentials wait for each other: two blocks must fit.
Predicted: 0.8 to 1.2 ms; FlashAttention-2 at 96 columns and 330 TFLOP/s would take 1.6 ms. B = 1: 7 to 10 us.
If it is slower than SDPA, look at the memory barriers first (four a step on 9.0, one for each product whose operand
came by cp.async): tensor descriptors (TMA) need none.

576 = 4 x 128 + 64: the last tile has a block of its own of 64 queries, so no product is lost (5 x 128 would lose 10%).
576 = 9 x 64 keys, so that no key is masked.
"""

import math

import torch
import triton
import triton.language as tl

from .aot import SHARED_LIMIT_KIB, Launch, Variant
from .contract import blocks, capability_of, check_device, check_matrix
from .precision import product, rounded

SMALLEST_DOT = 16  # columns of a product on tensor cores in bf16, at least
LARGEST_HEAD = 128  # beyond it the accumulators would not fit into registers
# Tiles of 128 queries from which on they are used: four rounds of two blocks on each of 132 SMs. With fewer, tiles of
# 64 spread more evenly over the SMs, and reading keys and values from L2 twice as often is not yet the limit.
MANY_TILES = 1024


def reference(qkv: torch.Tensor, batch: int, tokens: int, heads: int) -> torch.Tensor:
    """The formula above [B T, D], in float32, or in float64 for float64 inputs; not rounded."""
    wide = qkv.to(torch.promote_types(qkv.dtype, torch.float32))
    q, k, v = wide.view(batch, tokens, 3, heads, -1).permute(2, 0, 3, 1, 4)
    weights = torch.softmax(q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]), -1)
    return (weights @ v).transpose(1, 2).reshape(batch * tokens, -1)


@triton.jit
def _rows(pointer, row, column, STRIDE: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    """[row, column] of a matrix; 0 from ROWS or COLUMNS on, where these are given."""
    pointers = pointer + row[:, None] * STRIDE + column[None, :]
    if ROWS is None and COLUMNS is None:
        return tl.load(pointers)
    elif COLUMNS is None:
        return tl.load(pointers, mask=(row < ROWS)[:, None], other=0.0)
    elif ROWS is None:
        return tl.load(pointers, mask=(column < COLUMNS)[None, :], other=0.0)
    else:
        return tl.load(pointers, mask=(row < ROWS)[:, None] & (column < COLUMNS)[None, :], other=0.0)


@triton.jit
def _tile(
    qkv,
    out,
    first,
    QUERIES: tl.constexpr,
    WHOLE: tl.constexpr,
    KEYS: tl.constexpr,
    TOKENS: tl.constexpr,
    WIDTH: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    MAIN: tl.constexpr,
    TAIL: tl.constexpr,
    SCALE: tl.constexpr,
    STAGES: tl.constexpr,
):
    """Queries first .. first + QUERIES of one head of one image, against all its keys. WHOLE: none beyond the image."""
    STRIDE: tl.constexpr = 3 * WIDTH
    QUERY_LIMIT: tl.constexpr = None if WHOLE else TOKENS
    KEY_LIMIT: tl.constexpr = None if TOKENS % KEYS == 0 else TOKENS
    query = first + tl.arange(0, QUERIES)
    main = tl.arange(0, MAIN)
    q_main = _rows(qkv, query, main, STRIDE, QUERY_LIMIT, None)
    sums_main = tl.zeros([QUERIES, MAIN], tl.float32)
    if TAIL > 0:
        # The columns beyond the head are the next head's: they must read as 0.
        tail = MAIN + tl.arange(0, TAIL)
        q_tail = _rows(qkv, query, tail, STRIDE, QUERY_LIMIT, HEAD_DIM)
        sums_tail = tl.zeros([QUERIES, TAIL], tl.float32)
    highest = tl.full([QUERIES], float("-inf"), tl.float32)
    total = tl.zeros([QUERIES], tl.float32)

    for start in tl.range(0, TOKENS, KEYS, num_stages=STAGES):
        key = start + tl.arange(0, KEYS)
        logits = tl.zeros([QUERIES, KEYS], tl.float32)
        if TAIL > 0:
            k_tail = _rows(qkv + WIDTH, key, tail, STRIDE, KEY_LIMIT, HEAD_DIM)
            logits = product(q_tail, tl.trans(k_tail), logits)
        k_main = _rows(qkv + WIDTH, key, main, STRIDE, KEY_LIMIT, None)
        logits = product(q_main, tl.trans(k_main), logits)
        if KEY_LIMIT is not None:
            logits = tl.where((key < TOKENS)[None, :], logits, float("-inf"))

        higher = tl.maximum(highest, tl.max(logits, 1))
        # A NaN that these maxima drop comes back here: it is still in the logits.
        p = tl.exp2(logits * SCALE - (higher * SCALE)[:, None])
        fade = tl.exp2((highest - higher) * SCALE)
        total = total * fade + tl.sum(p, 1)
        highest = higher

        p = rounded(p, tl.bfloat16)
        v_main = _rows(qkv + 2 * WIDTH, key, main, STRIDE, KEY_LIMIT, None)
        sums_main = product(p, v_main, sums_main * fade[:, None])
        if TAIL > 0:
            v_tail = _rows(qkv + 2 * WIDTH, key, tail, STRIDE, KEY_LIMIT, HEAD_DIM)
            sums_tail = product(p, v_tail, sums_tail * fade[:, None])

    inverse = (1.0 / total)[:, None]
    target = out + query[:, None] * WIDTH
    inside = (query < TOKENS)[:, None]
    tl.store(target + main[None, :], rounded(sums_main * inverse, tl.bfloat16), mask=inside)
    if TAIL > 0:
        inside = inside & (tail < HEAD_DIM)[None, :]
        tl.store(target + tail[None, :], rounded(sums_tail * inverse, tl.bfloat16), mask=inside)


@triton.jit
def _attention(
    qkv,
    out,
    TOKENS: tl.constexpr,
    HEADS: tl.constexpr,
    HEAD_DIM: tl.constexpr,
    MAIN: tl.constexpr,
    TAIL: tl.constexpr,
    SCALE: tl.constexpr,
    QUERIES: tl.constexpr,
    LAST: tl.constexpr,
    KEYS: tl.constexpr,
    STAGES: tl.constexpr,
):
    """A tile of QUERIES queries a program (the last of an image: LAST), grid (tiles * heads * images).

    Tiles of a head are neighbours, so that its keys and values are in L2 while they run.
    """
    WIDTH: tl.constexpr = HEADS * HEAD_DIM
    FULL: tl.constexpr = TOKENS // QUERIES
    TILES: tl.constexpr = (TOKENS + QUERIES - 1) // QUERIES
    program = tl.program_id(0)
    tile = program % TILES
    head = program // TILES % HEADS
    # 64 bits: 2^31 elements are 1078 images of 576 tokens.
    image = (program // (TILES * HEADS)).to(tl.int64)
    qkv += image * (TOKENS * 3 * WIDTH) + head * HEAD_DIM
    out += image * (TOKENS * WIDTH) + head * HEAD_DIM
    first = tile * QUERIES
    if TILES == FULL:
        _tile(qkv, out, first, QUERIES, True, KEYS, TOKENS, WIDTH, HEAD_DIM, MAIN, TAIL, SCALE, STAGES)
    elif LAST == QUERIES:
        _tile(qkv, out, first, QUERIES, False, KEYS, TOKENS, WIDTH, HEAD_DIM, MAIN, TAIL, SCALE, STAGES)
    else:
        WHOLE: tl.constexpr = TOKENS % QUERIES == LAST
        if tile < FULL:
            _tile(qkv, out, first, QUERIES, True, KEYS, TOKENS, WIDTH, HEAD_DIM, MAIN, TAIL, SCALE, STAGES)
        else:
            _tile(qkv, out, first, LAST, WHOLE, KEYS, TOKENS, WIDTH, HEAD_DIM, MAIN, TAIL, SCALE, STAGES)


def attention(qkv: torch.Tensor, out: torch.Tensor, batch: int, tokens: int, heads: int) -> None:
    """Write softmax(q k^T / sqrt(head_dim)) v of every image and head to `out`. See the file's head.

    Both matrices must be contiguous. head_dim is any from 16 to 128; multiples of 8 are read fastest. An image never
    sees another one's rows: a NaN in an image makes rows of that image NaN, and no others. Raises ValueError when
    shapes, dtypes, layouts or devices do not fit.
    """
    if batch < 0 or tokens < 1 or heads < 1:
        raise ValueError(f"expected batch >= 0, tokens >= 1 and heads >= 1, got {batch}, {tokens} and {heads}")
    if qkv.dim() != 2 or qkv.shape[1] == 0 or qkv.shape[1] % (3 * heads):
        raise ValueError(f"qkv: expected the shape [rows, 3 * {heads} heads * head_dim], got {list(qkv.shape)}")
    width = qkv.shape[1] // 3
    head_dim = width // heads
    if not SMALLEST_DOT <= head_dim <= LARGEST_HEAD:
        raise ValueError(f"head_dim: expected {SMALLEST_DOT} to {LARGEST_HEAD}, got {head_dim}")
    if tokens * 3 * width >= 2**31:
        raise ValueError(f"expected less than 2^31 elements an image, got {tokens} tokens of {3 * width}")
    check_matrix("qkv", qkv, batch * tokens, 3 * width, [torch.bfloat16])
    check_matrix("out", out, batch * tokens, width, [torch.bfloat16])
    for name, tensor in {"qkv": qkv, "out": out}.items():
        if not tensor.is_contiguous():
            raise ValueError(f"{name}: must be contiguous, got the strides {tensor.stride()}")
    check_device({"qkv": qkv, "out": out})
    if batch == 0:
        return
    launch(qkv, out, batch, launch_config(batch, tokens, heads, head_dim, capability_of(qkv.device)))


def launch_config(batch: int, tokens: int, heads: int, head_dim: int, capability: int) -> Launch:
    """Tiles, warps and stages by arithmetic, not by measurement: see the file's head.

    Keys by 64: 576 = 9 x 64, and the logits of 128 keys would take the registers of the second block on an SM.
    9.0 and 10.0 with many tiles: 128 queries by 8 warps (on 9.0 a warp group takes 64 rows), at most 128 registers and
    two blocks an SM. Else 64 queries by 4 warps: before 9.0 and on 12.0 products take their operands from registers,
    and 128 queries by 4 warps would need all 255 of them.
    Three stages where two blocks with them fit on an SM, else two; on 10.0 a third one costs Triton 3.7 a spill.
    """
    queries, warps = 64, 4
    if capability in (90, 100) and triton.cdiv(tokens, 128) * heads * batch >= MANY_TILES:
        queries, warps = 128, 8
    keys = 64
    main, tail = blocks(head_dim, SMALLEST_DOT)
    limit = SHARED_LIMIT_KIB.get(capability, min(SHARED_LIMIT_KIB.values())) * 1024
    three = 2 * (main + tail) * (queries + 3 * 2 * keys)
    stages = 3 if 2 * three <= limit and (queries, capability) != (128, 100) else 2
    constants = {
        "TOKENS": tokens, "HEADS": heads, "HEAD_DIM": head_dim, "MAIN": main, "TAIL": tail,
        "SCALE": 1 / (math.sqrt(head_dim) * math.log(2)), "QUERIES": queries,
        "LAST": 64 if 0 < tokens % queries <= 64 else queries, "KEYS": keys, "STAGES": stages,
    }  # fmt: skip
    return Launch(constants, warps, stages)


def launch(qkv: torch.Tensor, out: torch.Tensor, batch: int, config: Launch) -> None:
    """Run the kernel with this configuration, on tensors that `attention` has checked."""
    tiles = triton.cdiv(config.constants["TOKENS"], config.constants["QUERIES"])
    _attention[(tiles * config.constants["HEADS"] * batch,)](qkv, out, **config.keywords)


def variants(capability: int) -> list[Variant]:
    """576 tokens, 16 heads of 72: one image, and a batch of 256 where it is launched differently."""
    listed: list[Variant] = []
    for batch in (1, 256):
        config = launch_config(batch, 576, 16, 72, capability)
        if listed and listed[0].launch == config:
            continue
        name = f"b{batch}, {config.constants['QUERIES']}+{config.constants['LAST']} x {config.constants['KEYS']}"
        listed.append(Variant(name, _attention, {"qkv": "*bf16", "out": "*bf16"}, config))
    return listed
