"""LayerNorm, with the residual addition before it and the quantisation after it, in one pass over memory.

    x      <- x + delta                             where delta is given; rounded to x's dtype, stored in place
    y       = (x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps) * weight + bias
    out     = y                                     bf16 or float32
    out, scales = e4m3(y / scale), scale            e4m3: `quantise.py` has the formula

    x       [M, D]  bf16 or float32                 the residual stream
    delta   [M, D]  bf16                            the output of the GEMM before
    weight, bias  [D]  float32
    out     [M, D]  bf16, float32 or e4m3
    scales  [M]     float32

Source of the norm: Ba, Kiros and Hinton, "Layer Normalization", arXiv 1607.06450. All sums are float32. The variance is
that of the values minus their mean, never E[x^2] - mean^2: SigLIP's residual stream has channels far above the others,
where the difference of two large numbers would lose the digits that matter.

Bytes: a row of D = 1152 costs 2D (x) + 2D (delta) + 2D (x stored) + D (e4m3) or 2D (bf16): 8 or 9 kB. No floating-point
limit is near. One program takes one row and one warp, as a row fits into its registers; weight and bias
(9 kB) are read from L1 by every row.
Unmeasured on a GPU.
"""

import itertools

import torch
import triton
import triton.language as tl

from .aot import Variant
from .contract import E4M3, check_device, check_matrix, check_rows, check_vector, row_launch
from .precision import rounded
from .quantise import load_row, store_row
from .quantise import reference as quantised

OUTPUTS = {torch.bfloat16: "*bf16", torch.float32: "*fp32", E4M3: "*fp8e4nv"}


def reference(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    dtype: torch.dtype,
    *,
    delta: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """Compute (x + delta, out of `dtype`, scales or None) in float32, or in float64 for a float64 x."""
    wide = torch.promote_types(x.dtype, torch.float32)
    if delta is not None:
        x = (x.to(wide) + delta.to(wide)).to(x.dtype)
    centred = x.to(wide) - x.to(wide).mean(1, keepdim=True)
    variance = centred.square().mean(1, keepdim=True)
    y = centred * torch.rsqrt(variance + eps) * weight.to(wide) + bias.to(wide)
    if dtype == E4M3:
        return x, *quantised(y)
    return x, y.to(dtype), None


@triton.jit
def _load_all(x, delta, weight, bias, columns, mask):
    """(x + delta in x's dtype, the same as float32, weight, bias) at `columns`."""
    total = load_row(x, columns, mask)
    if delta is not None:
        total += load_row(delta, columns, mask)
    # The norm is of what later passes will read, not of the sum before it was rounded.
    stored = rounded(total, x.dtype.element_ty)
    return stored, stored.to(tl.float32), load_row(weight, columns, mask), load_row(bias, columns, mask)


@triton.jit
def _layer_norm(
    x,
    delta,
    weight,
    bias,
    out,
    scales,
    x_stride,
    delta_stride,
    out_stride,
    eps,
    COLUMNS: tl.constexpr,
    MAIN: tl.constexpr,
    TAIL: tl.constexpr,
):
    """One row a program, grid (M,). Strides in elements between rows; delta and scales may be None.

    Nothing is stored before all is loaded. The compiler must keep a load behind a store to a pointer that might be the
    same; such a load would wait for memory a second time, and a small batch takes no other time.
    """
    row = tl.program_id(0).to(tl.int64)
    x += row * x_stride
    out += row * out_stride
    if delta is not None:
        delta += row * delta_stride
    main = tl.arange(0, MAIN)
    x_main, y, weight_main, bias_main = _load_all(x, delta, weight, bias, main, None)
    z, tail, inside = y, main, None
    if TAIL > 0:
        tail = MAIN + tl.arange(0, TAIL)
        inside = tail < COLUMNS if MAIN + TAIL > COLUMNS else None
        x_tail, z, weight_tail, bias_tail = _load_all(x, delta, weight, bias, tail, inside)
    if delta is not None:
        tl.store(x + main, x_main)
        if TAIL > 0:
            tl.store(x + tail, x_tail, mask=inside)

    total = tl.sum(y, axis=0)
    if TAIL > 0:
        total += tl.sum(z, axis=0)
    mean = total / COLUMNS
    y -= mean
    squares = tl.sum(y * y, axis=0)
    if TAIL > 0:
        z -= mean
        if inside is not None:
            z = tl.where(inside, z, 0.0)
        squares += tl.sum(z * z, axis=0)
    inverse = tl.rsqrt(squares / COLUMNS + eps)
    y = y * inverse * weight_main + bias_main
    if TAIL > 0:
        z = z * inverse * weight_tail + bias_tail
    scale_at = None if scales is None else scales + row
    store_row(out, scale_at, y, z, main, tail, inside, TAIL)


def layer_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    out: torch.Tensor,
    delta: torch.Tensor | None = None,
    scales: torch.Tensor | None = None,
) -> None:
    """Write the norm of x + delta to `out` (and `scales`), and x + delta back to x. See the file's head.

    Rows must be contiguous; the distance between rows is free for x, delta and out. A NaN or infinity in a row of x or
    delta makes that row of `out` NaN and touches no other row. Raises ValueError when shapes, dtypes, layouts or
    devices do not fit, or scales come without an e4m3 output, or the reverse.
    """
    rows, columns = check_rows(x, [torch.bfloat16, torch.float32], out, list(OUTPUTS), scales)
    if delta is not None:
        check_matrix("delta", delta, rows, columns, [torch.bfloat16])
    for name, vector in {"weight": weight, "bias": bias}.items():
        check_vector(name, vector, columns)
    check_device({"x": x, "weight": weight, "bias": bias, "out": out, "delta": delta, "scales": scales})
    if rows == 0:
        return
    delta_stride = 0 if delta is None else delta.stride(0)
    tensors = (x, delta, weight, bias, out, scales)
    strides = (x.stride(0), delta_stride, out.stride(0))
    _layer_norm[(rows,)](*tensors, *strides, eps, **row_launch(columns).keywords)


def variants(capability: int) -> list[Variant]:
    """What a network of D = 1152 may launch: every type of x and out; the first norm of all has no delta yet."""
    listed = []
    for x, out, with_delta in itertools.product(("*bf16", "*fp32"), OUTPUTS.values(), (False, True)):
        types = {
            **{"x": x, "delta": "*bf16", "weight": "*fp32", "bias": "*fp32", "out": out, "scales": "*fp32"},
            **{"x_stride": "i32", "delta_stride": "i32", "out_stride": "i32", "eps": "fp32"},
        }
        fixed = ({} if with_delta else {"delta": None}) | ({} if out == "*fp8e4nv" else {"scales": None})
        name = f"{x[1:]} to {out[1:]}{' delta' if with_delta else ''}"
        listed.append(Variant(name, _layer_norm, types, row_launch(1152), fixed))
    return listed
