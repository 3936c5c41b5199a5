"""Kernels with a fault that the compile check must find, and one without. Imported without the interpreter only."""

import triton
import triton.language as tl
from emonet_fast.kernels.aot import Launch, Variant


@triton.jit
def many_registers(x, N: tl.constexpr):
    """Every value is kept until the sum of all is known: N / 32 registers a thread, of which there are 255."""
    at = x + tl.arange(0, N)
    values = tl.load(at)
    tl.store(at, values * tl.sum(values))


@triton.jit
def matrix_product(
    a, b, c, K: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, STEP: tl.constexpr, LOOK: tl.constexpr
):
    """c [ROWS, COLUMNS] = a b^T; with LOOK it also adds a's values up, beside the product that reads them."""
    rows, columns, steps = tl.arange(0, ROWS), tl.arange(0, COLUMNS), tl.arange(0, STEP)
    total = tl.zeros([ROWS, COLUMNS], tl.float32)
    seen = tl.zeros([ROWS], tl.float32)
    for start in range(0, K, STEP):
        part = tl.load(a + rows[:, None] * K + start + steps[None, :])
        total = tl.dot(part, tl.trans(tl.load(b + columns[:, None] * K + start + steps[None, :])), total)
        if LOOK:
            seen += tl.sum(part.to(tl.float32), axis=1)
    tl.store(c + rows[:, None] * COLUMNS + columns[None, :], total + seen[:, None])


@triton.jit
def not_compilable(x, N: tl.constexpr):
    """Blocks must have a power of two of values."""
    tl.store(x + tl.arange(0, N), 0.0)


def _product(name: str, step: int, stages: int, look: bool) -> Variant:
    constants = {"K": 1152, "ROWS": 64, "COLUMNS": 128, "STEP": step, "LOOK": look}
    return Variant(name, matrix_product, {"a": "*bf16", "b": "*bf16", "c": "*fp32"}, Launch(constants, 4, stages))


def _vector(kernel, values: int) -> Variant:
    return Variant(kernel.__name__, kernel, {"x": "*fp32"}, Launch({"N": values}, 1))


def toys() -> dict[str, Variant]:
    """The fault's text to the kernel that has it."""
    return {
        "sound": _product("sound", 64, 3, look=False),
        "spills": _vector(many_registers, 16384),
        "shared memory above": _product("roomy", 128, 6, look=False),
        "race": _product("racy", 64, 3, look=True),
        "Error": _vector(not_compilable, 1000),
    }
