"""Per-token quantisation of bf16 rows to FP8 (e4m3), and the scale formula that all kernels with an FP8 output share.

    scale = amax(|x|) / 448                         1 for a row of zeros
    out   = e4m3(x * (1 / scale))                   so that out * scale ~ x
    |out * scale - x| <= max(2^-4 |x|, 2^-10 scale) half a step of 3 mantissa bits, or of e4m3's subnormals (2^-9)

    x       [M, D]  bf16
    out     [M, D]  e4m3
    scales  [M]     float32                         one a row (token)

448 is e4m3's largest value. A scale a token costs nothing more here than one for the whole tensor, and keeps the few
background tokens of SigLIP that have outliers from taking the digits of all others. x * (1 / scale) instead of
x / scale: one division a row, and at most 448 * (1 + 2^-22), which still rounds to 448.
Source of the bound: e4m3 in "FP8 Formats for Deep Learning", arXiv 2209.05433; rounding to nearest errs by half a step,
which is 2^-4 of a normal value at most.

Bytes: 3D a row. One program takes one row. Unmeasured on a GPU.
"""

# Compile-time arguments are written in capitals.
# ruff: noqa: N803

import torch
import triton
import triton.language as tl

from .ahead import Variant
from .contract import E4M3, RowLaunch, check_device, check_matrix, check_scales, row_launch
from .rounding import rounded

# Below this amax the scale would leave float32's normal range, and its reciprocal the finite range. Such a row (none
# with a value above 5e-36) keeps the absolute half of the bound only.
SMALLEST_AMAX: tl.constexpr = tl.constexpr(448.0 * 2.0**-126)


def reference(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(e4m3 values, float32 scales) of rows x [M, D], by the formula above."""
    amax = x.abs().amax(1).float()
    scales = torch.where(amax == 0, 1.0, torch.where(amax < SMALLEST_AMAX.value, SMALLEST_AMAX.value, amax) / 448)
    scaled = x * (1 / scales).to(torch.promote_types(x.dtype, torch.float32)).unsqueeze(1)
    return scaled.to(E4M3), scales


@triton.jit
def largest_bits(y):
    """The bits (int32) of the largest |y| of float32 values.

    As integers, magnitudes are ordered as their values are, with infinity above all numbers and NaN above infinity: the
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
    y = tl.load(x + main).to(tl.float32)
    bits = largest_bits(y)
    if TAIL > 0:
        tail = MAIN + tl.arange(0, TAIL)
        z = tl.load(x + tail, mask=tail < COLUMNS, other=0.0).to(tl.float32)
        bits = tl.maximum(bits, largest_bits(z))
    scale, inverse = row_scale(bits)
    tl.store(scales + row, scale)
    tl.store(out + main, rounded(y * inverse, out.dtype.element_ty))
    if TAIL > 0:
        tl.store(out + tail, rounded(z * inverse, out.dtype.element_ty), mask=tail < COLUMNS)


def quantise(x: torch.Tensor, out: torch.Tensor, scales: torch.Tensor) -> None:
    """Write x [M, D] (bf16) to `out` (e4m3) and `scales` [M] (float32). See the file's head.

    Rows must be contiguous; the distance between rows is free. A row with a NaN has the scale NaN; with an infinity,
    the scale infinity and NaN or 0 in `out`: out * scale is NaN in both, and no other row is touched.

    Raises:
        ValueError: shapes, dtypes, layouts or devices that do not fit.
    """
    rows, columns = x.shape if x.dim() == 2 else (None, 0)
    if not columns:
        raise ValueError(f"x: expected the shape [rows, columns], got {list(x.shape)}")
    check_matrix("x", x, rows, columns, [torch.bfloat16])
    check_matrix("out", out, rows, columns, [E4M3])
    check_scales(out, scales)
    check_device({"x": x, "out": out, "scales": scales})
    if rows == 0:
        return
    launch = launch_config(columns)
    _quantise[(rows,)](x, out, scales, x.stride(0), out.stride(0), **launch.constants, **launch.options)


def launch_config(columns: int) -> RowLaunch:
    """Blocks and warps for rows of `columns` values."""
    return row_launch(columns)


def variants(capability: int) -> list[Variant]:
    """Rows of D = 1152 (the attention's output) and 4304 (the MLP's hidden layer)."""
    types = {"x": "*bf16", "out": "*fp8e4nv", "scales": "*fp32", "x_stride": "i32", "out_stride": "i32"}
    found = []
    for columns in (1152, 4304):
        launch = launch_config(columns)
        signature = types | dict.fromkeys(launch.constants, "constexpr")
        found.append(
            Variant(
                str(columns),
                _quantise,
                signature,
                launch.constants,
                launch.warps,
                1,
                divisible=tuple(types),
                minimum=89,
            )
        )
    return found
