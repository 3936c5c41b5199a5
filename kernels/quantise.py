"""Quantisation of bf16 rows to FP8 (e4m3), one scale a token; and how all kernels of rows store theirs.

    scale = amax(|x|) / 448                         1 for a row of zeros
    out   = e4m3(x * (1 / scale))                   so that out * scale ~ x
    |out * scale - x| <= max(2^-4 |x|, 2^-10 scale) half a step of 3 mantissa bits, or of e4m3's subnormals (2^-9)

    x       [M, D]  bf16
    out     [M, D]  e4m3
    scales  [M]     float32                         one a row (token)

448 is e4m3's largest value. One scale a token costs no more here than one for the whole tensor. It keeps the few
background tokens of SigLIP that have outliers from taking the digits of all others. x * (1 / scale) needs one division
a row, where x / scale needs many, and is at most 448 * (1 + 2^-22), which still rounds to 448.
Source of the bound: e4m3 in "FP8 Formats for Deep Learning", arXiv 2209.05433. Rounding to nearest errs by half a step,
which is 2^-4 of a normal value at most.

Bytes: 3D a row. One program takes one row. Unmeasured on a GPU.
"""

import torch
import triton
import triton.language as tl

from .aot import Variant
from .contract import E4M3, check_device, check_rows, row_launch
from .precision import rounded

# Below this amax the scale would leave float32's normal range, and its reciprocal the finite range. Such a row (none
# with a value above 5e-36) keeps the absolute half of the bound only.
SMALLEST_AMAX: tl.constexpr = tl.constexpr(448.0 * 2.0**-126)


def reference(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute (e4m3 values, float32 scales) of rows x [M, D] by the formula above."""
    amax = x.abs().amax(1).float()
    scales = torch.where(amax == 0, 1.0, torch.where(amax < SMALLEST_AMAX.value, SMALLEST_AMAX.value, amax) / 448)
    scaled = x * (1 / scales).to(torch.promote_types(x.dtype, torch.float32)).unsqueeze(1)
    return scaled.to(E4M3), scales


@triton.jit
def largest_bits(y):
    """The bits (int32) of the largest |y| of float32 values.

    As integers, magnitudes have the order of their values, with infinity above all numbers and NaN above infinity. The
    maximum of the values themselves would drop NaN.
    """
    return tl.max(tl.abs(y).to(tl.int32, bitcast=True), axis=0)


@triton.jit
def row_scale(bits):
    """(scale, 1 / scale) of a row from `largest_bits`; both NaN, or infinity and 0, where the row has such a value."""
    amax = bits.to(tl.float32, bitcast=True)
    # A comparison and not a maximum, which would drop NaN. Both divisions round as PyTorch's do.
    amax = tl.where(amax < SMALLEST_AMAX, SMALLEST_AMAX, amax)
    scale = tl.where(bits == 0, 1.0, tl.div_rn(amax, 448.0))
    return scale, tl.div_rn(1.0, scale)


@triton.jit
def load_row(pointer, columns, mask):
    """float32 values at `columns`, 0 where they are masked. mask: None for none."""
    if mask is None:
        return tl.load(pointer + columns).to(tl.float32)
    else:
        return tl.load(pointer + columns, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def store_row(out, scale_at, y, z, main, tail, inside, TAIL: tl.constexpr):
    """Store a row in out's dtype: y at the columns `main`, z at `tail` where `inside`; z is not read where TAIL is 0.

    scale_at: where the row's scale goes, for an e4m3 output; else None.
    """
    if scale_at is not None:
        bits = largest_bits(y)
        if TAIL > 0:
            bits = tl.maximum(bits, largest_bits(z))
        scale, inverse = row_scale(bits)
        tl.store(scale_at, scale)
        y *= inverse
        if TAIL > 0:
            z *= inverse
    tl.store(out + main, rounded(y, out.dtype.element_ty))
    if TAIL > 0:
        tl.store(out + tail, rounded(z, out.dtype.element_ty), mask=inside)


@triton.jit
def _quantise(
    x,
    out,
    scales,
    x_stride,
    out_stride,
    COLUMNS: tl.constexpr,
    MAIN: tl.constexpr,
    TAIL: tl.constexpr,
):
    """One row a program, grid (M,). Strides in elements between rows."""
    row = tl.program_id(0).to(tl.int64)
    x += row * x_stride
    out += row * out_stride
    main = tl.arange(0, MAIN)
    y = load_row(x, main, None)
    z, tail, inside = y, main, None
    if TAIL > 0:
        tail = MAIN + tl.arange(0, TAIL)
        inside = tail < COLUMNS if MAIN + TAIL > COLUMNS else None
        z = load_row(x, tail, inside)
    store_row(out, scales + row, y, z, main, tail, inside, TAIL)


def quantise(x: torch.Tensor, out: torch.Tensor, scales: torch.Tensor) -> None:
    """Write x [M, D] (bf16) to `out` (e4m3) and `scales` [M] (float32). See the file's head.

    Rows must be contiguous; the distance between rows is free. A row with a NaN has the scale NaN. A row with an
    infinity has the scale infinity, and NaN or 0 in `out`. out * scale is NaN in both, and no other row is touched.
    Raises ValueError when shapes, dtypes, layouts or devices do not fit.
    """
    rows, columns = check_rows(x, [torch.bfloat16], out, [E4M3], scales)
    check_device({"x": x, "out": out, "scales": scales})
    if rows == 0:
        return
    _quantise[(rows,)](x, out, scales, x.stride(0), out.stride(0), **row_launch(columns).keywords)


def variants(capability: int) -> list[Variant]:
    """Rows of D = 1152 (the attention's output) and 4304 (the MLP's hidden layer)."""
    types = {"x": "*bf16", "out": "*fp8e4nv", "scales": "*fp32", "x_stride": "i32", "out_stride": "i32"}
    return [Variant(str(columns), _quantise, types, row_launch(columns)) for columns in (1152, 4304)]
