"""Kernels run on the GPU where there is one, else in Triton's interpreter on the CPU."""

import os
import sys

import pytest
import torch

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
