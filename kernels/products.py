"""Matrix products of bf16 values in tensor cores, the same in compiled kernels and in the interpreter."""

import triton
import triton.language as tl

from .rounding import INTERPRETED


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
