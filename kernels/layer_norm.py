"""LayerNorm with the residual addition before it and the quantisation after it, in one pass over memory.

    x      <- x + delta                             where delta is given; rounded to x's dtype, stored in place
    h       = x + shift                             where shift is given; not stored
    y       = (h - mean(h)) / sqrt(mean((h - mean(h))^2) + eps) * weight + bias
    out     = y                                     bf16 or float32
    out, scales = e4m3(y / scale), scale            e4m3: `quantise.py` has the formula

    x       [M, D]  bf16 or float32                 the residual stream
    delta   [M, D]  bf16                            the output of the GEMM before
    weight, bias, shift  [D]  float32
    out     [M, D]  bf16, float32 or e4m3
    scales  [M]     float32

`shift` carries the biases of all GEMMs that were added to the residual stream so far: they are the same for every
row, so they need not be added there one by one.
Source of the norm: Ba, Kiros and Hinton, "Layer Normalization", arXiv 1607.06450. All sums are float32. The variance is
that of the values minus their mean, never E[h^2] - mean^2: SigLIP's residual stream has channels far above the others,
where the difference of two large numbers would lose the digits that matter.

Bytes: a row of D = 1152 costs 2D (x) + 2D (delta) + 2D (x stored) + D (e4m3) or 2D (bf16): 8 or 9 kB. No floating-point
limit is near. One program takes one row and one warp, as a row fits into its registers; weight, bias and shift
(14 kB) are read from L1 by every row.
Unmeasured on a GPU.
"""

# Compile-time arguments are written in capitals.
# ruff: noqa: N803

import itertools

import torch
import triton
import triton.language as tl

from .ahead import Variant
from .contract import E4M3, RowLaunch, check_device, check_matrix, check_scales, check_vector, row_launch
from .quantise import largest_bits, row_scale
from .quantise import reference as quantised
from .rounding import rounded

OUTPUTS = {torch.bfloat16: "*bf16", torch.float32: "*fp32", E4M3: "*fp8e4nv"}


def reference(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    dtype: torch.dtype,
    *,
    delta: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """(x + delta, out of `dtype`, scales or None) by the formula above, in float32, or in float64 for a float64 x."""
    wide = torch.promote_types(x.dtype, torch.float32)
    if delta is not None:
        x = (x.to(wide) + delta.to(wide)).to(x.dtype)
    h = x.to(wide) if shift is None else x.to(wide) + shift.to(wide)
    centred = h - h.mean(1, keepdim=True)
    variance = centred.square().mean(1, keepdim=True)
    y = centred * torch.rsqrt(variance + eps) * weight.to(wide) + bias.to(wide)
    if dtype == E4M3:
        return x, *quantised(y)
    return x, y.to(dtype), None


@triton.jit
def _load(pointer, columns, mask):
    """float32 values at `columns`, 0 where masked."""
    if mask is None:
        return tl.load(pointer + columns).to(tl.float32)
    else:
        return tl.load(pointer + columns, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def _load_all(x, delta, shift, weight, bias, columns, mask):
    """(x + delta in x's dtype, float32 x + delta + shift, weight, bias) at `columns`."""
    h = _load(x, columns, mask)
    if delta is not None:
        h += _load(delta, columns, mask)
    # The norm is of what later passes will read, not of the sum before it was rounded.
    total = rounded(h, x.dtype.element_ty)
    h = total.to(tl.float32)
    if shift is not None:
        h += _load(shift, columns, mask)
    return total, h, _load(weight, columns, mask), _load(bias, columns, mask)


@triton.jit
def _layer_norm(
    x,
    delta,
    weight,
    bias,
    shift,
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
    """One row a program, grid (M,). Strides in elements between rows; delta, shift and scales may be None.

    Nothing is stored before all is loaded: a load that the compiler must keep behind a store to a pointer that might be
    the same would wait for memory a second time, which is all the time that a small batch takes.
    """
    row = tl.program_id(0).to(tl.int64)
    x += row * x_stride
    out += row * out_stride
    if delta is not None:
        delta += row * delta_stride
    main = tl.arange(0, MAIN)
    x_main, y, weight_main, bias_main = _load_all(x, delta, shift, weight, bias, main, None)
    if TAIL > 0:
        tail = MAIN + tl.arange(0, TAIL)
        inside = tail < COLUMNS if MAIN + TAIL > COLUMNS else None
        x_tail, z, weight_tail, bias_tail = _load_all(x, delta, shift, weight, bias, tail, inside)
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

    if scales is not None:
        bits = largest_bits(y)
        if TAIL > 0:
            bits = tl.maximum(bits, largest_bits(z))
        scale, inverse_scale = row_scale(bits)
        tl.store(scales + row, scale)
        y *= inverse_scale
        if TAIL > 0:
            z *= inverse_scale
    tl.store(out + main, rounded(y, out.dtype.element_ty))
    if TAIL > 0:
        tl.store(out + tail, rounded(z, out.dtype.element_ty), mask=inside)


def layer_norm(
    x: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor,
    eps: float,
    out: torch.Tensor,
    *,
    delta: torch.Tensor | None = None,
    shift: torch.Tensor | None = None,
    scales: torch.Tensor | None = None,
) -> None:
    """Write the norm of x + delta + shift to `out` (and `scales`), and x + delta back to x. See the file's head.

    Rows must be contiguous; the distance between rows is free for x, delta and out. A NaN or infinity in a row of x
    or delta makes that row of `out` NaN and touches no other row.

    Raises:
        ValueError: shapes, dtypes, layouts or devices that do not fit; scales without an e4m3 output, or the reverse.
    """
    rows, columns = x.shape if x.dim() == 2 else (None, 0)
    if not columns:
        raise ValueError(f"x: expected the shape [rows, columns], got {list(x.shape)}")
    check_matrix("x", x, rows, columns, [torch.bfloat16, torch.float32])
    check_matrix("out", out, rows, columns, list(OUTPUTS))
    if delta is not None:
        check_matrix("delta", delta, rows, columns, [torch.bfloat16])
    for name, vector in {"weight": weight, "bias": bias, "shift": shift}.items():
        if vector is not None:
            check_vector(name, vector, columns, [torch.float32])
    check_scales(out, scales)
    check_device({"x": x, "weight": weight, "bias": bias, "out": out, "delta": delta, "shift": shift, "scales": scales})
    if rows == 0:
        return
    delta_stride = 0 if delta is None else delta.stride(0)
    launch = launch_config(columns)
    tensors = (x, delta, weight, bias, shift, out, scales)
    strides = (x.stride(0), delta_stride, out.stride(0))
    _layer_norm[(rows,)](*tensors, *strides, eps, **launch.constants, **launch.options)


def launch_config(columns: int) -> RowLaunch:
    """Blocks and warps for rows of `columns` values."""
    return row_launch(columns)


def variants(capability: int) -> list[Variant]:
    """What the network of D = 1152 launches: with and without delta and shift, every type of x and out."""
    launch = launch_config(1152)
    found = []
    for x, out, delta, shift in itertools.product(("*bf16", "*fp32"), OUTPUTS.values(), (True, False), (True, False)):
        scales = out == "*fp8e4nv"
        given = {"delta": delta, "shift": shift, "scales": scales}
        absent = {name: None for name, there in given.items() if not there}
        types = {
            **{"x": x, "delta": "*bf16", "weight": "*fp32", "bias": "*fp32", "shift": "*fp32", "out": out},
            **{"scales": "*fp32", "x_stride": "i32", "delta_stride": "i32", "out_stride": "i32", "eps": "fp32"},
        }
        signature = types | dict.fromkeys([*absent, *launch.constants], "constexpr")
        found.append(
            Variant(
                " ".join([x[1:], "to", out[1:], *(name for name in ("delta", "shift") if given[name])]),
                _layer_norm,
                signature,
                launch.constants | absent,
                launch.warps,
                launch.options["num_stages"],
                tuple(name for name, kind in signature.items() if kind not in ("constexpr", "fp32")),
                89 if scales else 80,
            )
        )
    return found
