"""Low precision that is the same in compiled kernels and in the interpreter: rounding to it, and products of it.

A compiled kernel uses the GPU's own conversion. Triton's interpreter (3.6 to 3.9) cuts bf16 off instead of rounding it,
and its e4m3 loses carries and NaN. There the bits are made with integers, so that tests on a CPU see what a GPU writes.
Source of e4m3: "FP8 Formats for Deep Learning", arXiv 2209.05433: 4 exponent bits with bias 7, 3 mantissa bits, largest
448, smallest normal 2^-6, smallest step 2^-9, no infinity, NaN = 0x7f.
"""

import triton
import triton.language as tl

# Read once, as the decorator of every kernel reads it once, at import.
INTERPRETED: tl.constexpr = tl.constexpr(bool(triton.knobs.runtime.interpret))


@triton.jit
def rounded(y, dtype: tl.constexpr):
    """Round values y (float32, any shape) to `dtype`: float32, float16, bf16 or e4m3.

    NaN stays NaN. In e4m3 a finite value above 448 becomes 448 (as by PTX's `satfinite`; PyTorch makes it NaN above
    464), so the caller must scale first.
    """
    if INTERPRETED and dtype == tl.bfloat16:
        y = _bf16_bits(y).to(tl.bfloat16, bitcast=True)
    elif INTERPRETED and dtype == tl.float8e4nv:
        y = _e4m3_bits(y).to(tl.float8e4nv, bitcast=True)
    else:
        y = y.to(dtype)
    return y


@triton.jit
def _bf16_bits(y):
    """Upper 16 of the 32 bits, after adding just below half of the last place that stays, or half where it is odd."""
    bits = y.to(tl.uint32, bitcast=True)
    bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return tl.where(y == y, bits, 0x7FC0).to(tl.uint16)


@triton.jit
def _e4m3_bits(y):
    """Sign, then exponent and mantissa as one number, which a carry out of the mantissa raises as it should."""
    magnitude = tl.abs(y)
    bits = magnitude.to(tl.uint32, bitcast=True)
    normal = ((bits + 0x7FFFF + ((bits >> 20) & 1)) >> 20) - ((127 - 7) << 3)
    # At 2^14 the steps of float32 are 2^-9: the addition rounds to e4m3's subnormals.
    subnormal = (magnitude + 16384.0).to(tl.uint32, bitcast=True) - 0x46800000
    code = tl.where(magnitude < 0.015625, subnormal, normal)
    code = tl.where(code > 0x7E, 0x7E, code)
    code = tl.where(y == y, code, 0x7F)
    sign = (y.to(tl.uint32, bitcast=True) >> 31) << 7
    return (code | sign).to(tl.uint8)


@triton.jit
def product(a, b, total):
    """total + a b: a [M, K] and b [K, N] bf16, total [M, N] float32. K at least 16.

    Triton's interpreter (3.6 to 3.9) multiplies the bits of bf16 as if they were integers. There the values are widened
    first, which is exact. NumPy's float32 sums then stand for the tensor core's, in another order.
    """
    if INTERPRETED:
        total = tl.dot(a.to(tl.float32), b.to(tl.float32), total, input_precision="ieee")
    else:
        total = tl.dot(a, b, total)
    return total
