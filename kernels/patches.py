"""Images to rows of normalised patches. The patch embedding is then one GEMM with the Conv2d weight as it is stored.

    out[n T + y S/P + x, (c P + i) P + j] = pixels[n, c, y P + i, x P + j] * factor[c] + shift[c]      uint8
                                          = pixels[n, c, y P + i, x P + j]                             floating point

    pixels  [N, 3, S, S]    uint8, or float32, float16, bf16 already normalised; any strides
    out     [N T, 3 P P]    bf16 or float32; T = (S / P)^2 tokens in row-major order
    factor, shift           3 numbers each; one multiplication and addition in float32

Columns are ordered as the weight [D, 3, P, P] of the Conv2d with P x P patches at steps of P, flattened after D (the
patch embedding of Dosovitskiy et al., arXiv 2010.11929).

Bytes: 0.44 MB of uint8 read and 0.88 MB of bf16 written an image of 384 x 384: 0.3 us on an H200. A program takes some
tokens and one channel; 16 neighbouring pixels of a row lie together, which is one load of 16 bytes for uint8.
Unmeasured on a GPU.
"""

import torch
import triton
import triton.language as tl

from .aot import Launch, Variant
from .contract import check_device, check_matrix
from .precision import rounded

INPUTS = {torch.uint8: "*u8", torch.float32: "*fp32", torch.float16: "*fp16", torch.bfloat16: "*bf16"}
OUTPUTS = {torch.bfloat16: "*bf16", torch.float32: "*fp32"}

Channels = tuple[float, float, float]


def reference(
    pixels: torch.Tensor, patch: int, *, factor: Channels, shift: Channels, dtype: torch.dtype = torch.float32
) -> torch.Tensor:
    """Compute rows of patches [N T, 3 P P], normalised in `dtype` (float32 or float64)."""
    images, channels, size, _ = pixels.shape
    values = pixels.to(dtype)
    if pixels.dtype == torch.uint8:
        scale, offset = (torch.tensor(v, dtype=dtype, device=pixels.device).view(1, 3, 1, 1) for v in (factor, shift))
        values = values * scale + offset
    side = size // patch
    grid = values.reshape(images, channels, side, patch, side, patch)
    return grid.permute(0, 2, 4, 1, 3, 5).reshape(images * side * side, channels * patch * patch)


@triton.jit
def _patches(
    pixels,
    out,
    rows,
    stride_image,
    stride_channel,
    stride_y,
    stride_x,
    out_stride,
    factor_red,
    factor_green,
    factor_blue,
    shift_red,
    shift_green,
    shift_blue,
    SIDE: tl.constexpr,
    PATCH: tl.constexpr,
    TOKENS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """TOKENS tokens of one channel a program, grid (tokens of all images / TOKENS, 3).

    SIDE: tokens along a side; BLOCK: PATCH * PATCH or the next power of two. Strides in elements. Offsets are 64-bit:
    2^31 elements are 4855 images of 384 x 384, and less where the strides are large.
    """
    row = tl.program_id(0) * TOKENS + tl.arange(0, TOKENS)
    image = (row // (SIDE * SIDE)).to(tl.int64)
    y = (row // SIDE % SIDE * PATCH).to(tl.int64)
    x = (row % SIDE * PATCH).to(tl.int64)
    channel = tl.program_id(1)
    column = tl.arange(0, BLOCK)
    inside = (row < rows)[:, None] & (column < PATCH * PATCH)[None, :]

    corner = image * stride_image + y * stride_y + x * stride_x + channel.to(tl.int64) * stride_channel
    within = (column // PATCH).to(tl.int64) * stride_y + (column % PATCH).to(tl.int64) * stride_x
    value = tl.load(pixels + corner[:, None] + within[None, :], mask=inside, other=0).to(tl.float32)
    if pixels.dtype.element_ty == tl.uint8:
        factor = tl.where(channel == 0, factor_red, tl.where(channel == 1, factor_green, factor_blue))
        shift = tl.where(channel == 0, shift_red, tl.where(channel == 1, shift_green, shift_blue))
        value = value * factor + shift
    target = out + (row.to(tl.int64) * out_stride)[:, None] + (channel * PATCH * PATCH + column)[None, :]
    tl.store(target, rounded(value, out.dtype.element_ty), mask=inside)


def patches(pixels: torch.Tensor, out: torch.Tensor, patch: int, *, factor: Channels, shift: Channels) -> None:
    """Write pixels [N, 3, S, S] to `out` [N T, 3 P P] as rows of patches. See the file's head.

    `factor` and `shift` are used for uint8 only. They go to the kernel by value: a captured CUDA graph keeps those that
    it was captured with. Raises ValueError when shapes, dtypes, layouts or devices do not fit, or the size is no
    multiple of the patch.
    """
    if pixels.dim() != 4 or pixels.shape[1] != 3 or pixels.shape[2] != pixels.shape[3]:
        raise ValueError(f"pixels: expected the shape [images, 3, size, size], got {list(pixels.shape)}")
    if pixels.dtype not in INPUTS:
        raise ValueError(f"pixels: expected {' or '.join(map(str, INPUTS))}, got {pixels.dtype}")
    images, _, size, _ = pixels.shape
    if patch < 1 or size < 1 or size % patch:
        raise ValueError(f"patch: expected a divisor of the image's size {size}, got {patch}")
    if len(factor) != 3 or len(shift) != 3:
        raise ValueError(f"factor and shift: expected 3 numbers each, got {factor} and {shift}")
    side = size // patch
    rows = images * side * side
    check_matrix("out", out, rows, 3 * patch * patch, list(OUTPUTS))
    check_device({"pixels": pixels, "out": out})
    if rows == 0:
        return
    launch = launch_config(side, patch)
    numbers = map(float, (*factor, *shift))
    grid = (triton.cdiv(rows, launch.constants["TOKENS"]), 3)
    _patches[grid](pixels, out, rows, *pixels.stride(), out.stride(0), *numbers, **launch.keywords)


def launch_config(side: int, patch: int) -> Launch:
    """Choose about 2048 values a program: 16 for each lane of 4 warps, which is one load of 16 bytes for uint8."""
    block = triton.next_power_of_2(patch * patch)
    return Launch({"SIDE": side, "PATCH": patch, "TOKENS": max(1, 2048 // block), "BLOCK": block}, 4)


def variants(capability: int) -> list[Variant]:
    """Contiguous images of 384 x 384 in patches of 16, every type of pixels, to bf16."""
    integers = ("rows", "stride_image", "stride_channel", "stride_y", "out_stride")
    floats = [f"{name}_{colour}" for name in ("factor", "shift") for colour in ("red", "green", "blue")]
    listed = []
    for dtype in INPUTS.values():
        types = {"pixels": dtype, "out": "*bf16", **dict.fromkeys(integers, "i32"), **dict.fromkeys(floats, "fp32")}
        listed.append(Variant(dtype[1:], _patches, types, launch_config(384 // 16, 16), {"stride_x": 1}))
    return listed
