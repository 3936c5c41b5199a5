"""GELU (tanh form), with the bias of the GEMM before it and the quantisation after it, in one pass over memory.

    h   = x + bias
    y   = h / 2 * (1 + tanh(u)),  u = sqrt(2 / pi) * (h + 0.044715 h^3)
        = h / (1 + exp(-2 u))                       what the kernel computes: the same, as 1 + tanh(u) = 2 / (1 + e^-2u)
    out = y                                         bf16
    out, scales = e4m3(y / scale), scale            e4m3: `quantise.py` has the formula

    x       [M, D]  bf16
    bias    [D]     float32
    out     [M, D]  bf16 or e4m3
    scales  [M]     float32

Source: Hendrycks and Gimpel, "Gaussian Error Linear Units", arXiv 1606.08415; PyTorch's and transformers'
`gelu_pytorch_tanh`. The second form needs no tanh, which would cancel against the 1 for h below -2. It is stable for
every float32: far below 0 the exponential becomes infinite and y zero, far above it becomes 0 and y = h. -inf gives
NaN, as in PyTorch's formula.

Bytes: 2D read, D (e4m3) or 2D (bf16) written: 12.9 or 17.2 kB a row of D = 4304. On an H200, 1024 values in e4m3 take
0.71 ns of memory (4.3 TB/s), 0.55 ns of the special function units (two operations a value, exponential and reciprocal,
16 a clock on each of 132 SMs at 1.75 GHz) and 0.66 ns of instruction slots (19 a value, counted in the compiled code).
All three are near each other: one more instruction would show.
One program takes one row. Unmeasured on a GPU.
"""

import math

import torch
import triton
import triton.language as tl

from .aot import Variant
from .contract import E4M3, check_device, check_rows, check_vector, row_launch
from .precision import INTERPRETED
from .quantise import load_row, store_row
from .quantise import reference as quantised

# -2 u / ln 2 = h * (LINEAR + CUBIC * h^2): the exponential is one of base 2.
LINEAR: tl.constexpr = tl.constexpr(-2 * 0.7978845608028654 / 0.6931471805599453)
CUBIC: tl.constexpr = tl.constexpr(-2 * 0.7978845608028654 / 0.6931471805599453 * 0.044715)

OUTPUTS = {torch.bfloat16: "*bf16", E4M3: "*fp8e4nv"}


def reference(x: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Compute (out of `dtype`, scales or None) in float32, or in float64 for a float64 x.

    It takes the second form: PyTorch's own `gelu` is the first, whose float64 has no right digit left at h = -6.
    """
    h = x.to(torch.promote_types(x.dtype, torch.float32))
    h = h + bias.to(h.dtype)
    y = h * torch.sigmoid(2 * math.sqrt(2 / math.pi) * (h + 0.044715 * h**3))
    return quantised(y) if dtype == E4M3 else (y.to(dtype), None)


@triton.jit
def _reciprocal(d):
    """1 / d for d >= 1, to one unit in the last place; 0 from 2^126 on.

    Triton's division takes seven instructions for the sake of denominators that do not occur here. With it the kernel
    would be bound by instructions instead of memory.
    """
    if INTERPRETED:
        return 1.0 / d
    else:
        return tl.inline_asm_elementwise(
            "rcp.approx.ftz.f32 $0, $1;", "=f,f", [d], dtype=tl.float32, is_pure=True, pack=1
        )


@triton.jit
def _load_gelu(x, bias, columns, mask):
    """float32 GELU of x + bias at `columns`, 0 where they are masked."""
    h = load_row(x, columns, mask) + load_row(bias, columns, mask)
    return h * _reciprocal(1.0 + tl.exp2(h * (LINEAR + CUBIC * h * h)))


@triton.jit
def _gelu(
    x,
    bias,
    out,
    scales,
    x_stride,
    out_stride,
    COLUMNS: tl.constexpr,
    MAIN: tl.constexpr,
    TAIL: tl.constexpr,
):
    """One row a program, grid (M,). Strides in elements between rows; scales may be None."""
    row = tl.program_id(0).to(tl.int64)
    x += row * x_stride
    out += row * out_stride
    main = tl.arange(0, MAIN)
    y = _load_gelu(x, bias, main, None)
    z, tail, inside = y, main, None
    if TAIL > 0:
        tail = MAIN + tl.arange(0, TAIL)
        inside = tail < COLUMNS if MAIN + TAIL > COLUMNS else None
        z = _load_gelu(x, bias, tail, inside)
    scale_at = None if scales is None else scales + row
    store_row(out, scale_at, y, z, main, tail, inside, TAIL)


def gelu(x: torch.Tensor, bias: torch.Tensor, out: torch.Tensor, scales: torch.Tensor | None = None) -> None:
    """Write GELU(x + bias) to `out` (and `scales`). See the file's head.

    Rows must be contiguous; the distance between rows is free. A NaN (or -inf) gives NaN in its place of a bf16 output.
    In an e4m3 output it makes its whole row NaN, once that is multiplied by the scale. No other row is touched. Raises
    ValueError when shapes, dtypes, layouts or devices do not fit, or scales come without an e4m3 output, or the
    reverse.
    """
    rows, columns = check_rows(x, [torch.bfloat16], out, list(OUTPUTS), scales)
    check_vector("bias", bias, columns)
    check_device({"x": x, "out": out, "bias": bias, "scales": scales})
    if rows == 0:
        return
    _gelu[(rows,)](x, bias, out, scales, x.stride(0), out.stride(0), **row_launch(columns).keywords)


def variants(capability: int) -> list[Variant]:
    """The MLP of D = 4304, to bf16 and e4m3."""
    listed = []
    for out in OUTPUTS.values():
        types = {"x": "*bf16", "bias": "*fp32", "out": out, "scales": "*fp32", "x_stride": "i32", "out_stride": "i32"}
        fixed = {} if out == "*fp8e4nv" else {"scales": None}
        listed.append(Variant(f"4304 to {out[1:]}", _gelu, types, row_launch(4304), fixed))
    return listed
