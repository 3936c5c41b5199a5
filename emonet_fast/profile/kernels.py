"""What ran on the GPU and for how long, by torch.profiler, where the engine is PyTorch's (`cuda`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..optional import need

# The other backends have a profiler of their own, or none: OpenVINO, TensorRT.
BACKEND = "cuda"


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel of the GPU.

    Args:
        name: as the driver knows it.
        calls: how often it ran.
        seconds: on the device, in itself alone.
    """

    name: str
    calls: int
    seconds: float


@contextmanager
def kernels_of(backend: str) -> Iterator[list[Kernel]]:
    """Record a `with` block. The list is filled at its end, longest first; it stays empty without PyTorch's engine."""
    kernels: list[Kernel] = []
    if backend != BACKEND:
        yield kernels
        return
    torch = need("torch.profiler", "the kernel table")
    with torch.profile(activities=[torch.ProfilerActivity.CUDA]) as profiler:
        yield kernels
    kernels += table(profiler.key_averages(), "self_device_time_total")


def table(averages: Any, by: str) -> list[Kernel]:
    """torch.profiler's key_averages() as kernels that took time. by: its field in microseconds."""
    kernels = [Kernel(str(one.key), int(one.count), float(getattr(one, by)) / 1e6) for one in averages]
    return sorted((kernel for kernel in kernels if kernel.seconds > 0), key=lambda kernel: -kernel.seconds)
