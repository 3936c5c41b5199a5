"""Kernels run on the GPU where there is one, else in Triton's interpreter on the CPU."""

import os
import sys

import pytest
import torch

from ..tolerances import INTERPRETED_SUMS

if not torch.cuda.is_available():
    # Must be set before the first import of Triton: that import decides about Triton's own functions, too.
    if "triton" in sys.modules and not os.environ.get("TRITON_INTERPRET"):
        raise RuntimeError("Triton was imported before tests/kernels was collected: set TRITON_INTERPRET=1 yourself")
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(scope="session")
def device() -> str:
    """Where the kernels run: 'cuda', or 'cpu' in the interpreter, which is slow: keep shapes small there."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def poisoned(shape: tuple[int, ...], dtype: torch.dtype, device: str) -> torch.Tensor:
    """A tensor of NaN: whatever a kernel leaves unwritten fails every comparison."""
    return torch.full(shape, float("nan"), dtype=torch.float32, device=device).to(dtype)


def assert_same(one: torch.Tensor, other: torch.Tensor) -> None:
    """That two results of one kernel are equal bit for bit; in the interpreter, but for the order of BLAS's sums."""
    tolerance = 0.0 if one.is_cuda else INTERPRETED_SUMS
    torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance)
