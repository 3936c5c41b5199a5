"""What ran on the GPU and for how long, by torch.profiler, where the engine is PyTorch's (`cuda`)."""

from dataclasses import dataclass
from types import TracebackType
from typing import Any

from ..optional import need

# With a profiler of their own, or none: OpenVINO, TensorRT.
BACKEND = "cuda"


@dataclass(frozen=True, slots=True)
class Kernel:
    """name: as the driver knows it. calls. seconds: on the device, of itself alone."""

    name: str
    calls: int
    seconds: float


class Kernels:
    """Records while it is entered; does nothing for another backend than `cuda`."""

    def __init__(self, backend: str) -> None:
        self._profiler: Any = None
        if backend == BACKEND:
            torch = need("torch.profiler", "the kernel table")
            self._profiler = torch.profile(activities=[torch.ProfilerActivity.CUDA])

    def __enter__(self) -> "Kernels":
        if self._profiler is not None:
            self._profiler.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._profiler is not None:
            self._profiler.__exit__(kind, error, trace)

    def rows(self) -> tuple[Kernel, ...]:
        """After it was left: longest first."""
        return () if self._profiler is None else table(self._profiler.key_averages(), "self_device_time_total")


def table(averages: Any, by: str) -> tuple[Kernel, ...]:
    """torch.profiler's key_averages() -> kernels that took time. by: its field in microseconds."""
    found = [Kernel(str(one.key), int(one.count), float(getattr(one, by)) / 1e6) for one in averages]
    return tuple(sorted((one for one in found if one.seconds > 0), key=lambda one: -one.seconds))
