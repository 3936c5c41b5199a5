"""A torch whose GPU is the host, and which writes down what is done on which stream."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch

from emonet_fast.gpu import Gpu

GPU = Gpu(0, "Fake GPU", (9, 0), 80_000_000_000)


class FakeStream:
    """A stream by its name; `log` is the one of its torch."""

    def __init__(self, log: list[tuple[str, ...]], name: str) -> None:
        self.log, self.name, self.device = log, name, SimpleNamespace(index=0)
        self.cuda_stream = 1000 + sum(map(ord, name))

    def wait_stream(self, other: "FakeStream") -> None:
        self.log.append(("wait", self.name, other.name))

    def wait_event(self, event: "FakeEvent") -> None:
        self.log.append(("wait", self.name, "event"))

    def synchronize(self) -> None:
        self.log.append(("synchronize", self.name))


class FakeEvent:
    """An event that has passed as soon as its `passed` is set."""

    def __init__(self, cuda: "FakeCuda") -> None:
        self.cuda, self.passed, self.recorded = cuda, False, 0
        cuda.events.append(self)

    def record(self) -> None:
        self.recorded += 1
        self.cuda.log.append(("record", self.cuda.current[-1].name))

    def query(self) -> bool:
        return self.passed

    def synchronize(self) -> None:
        self.passed = True


class FakeGraph:
    """Records nothing: a replay does the captured work again. `cuda.broken` makes its end raise, as CUDA's does."""

    def __init__(self, cuda: "FakeCuda") -> None:
        self.cuda = cuda

    def capture_begin(self, pool: object, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        self.cuda.capturing = True
        self.cuda.log.append(("begin", self.cuda.current[-1].name))

    def capture_end(self) -> None:
        self.cuda.capturing = False
        self.cuda.log.append(("end", self.cuda.current[-1].name))
        if self.cuda.broken:
            raise RuntimeError("operation failed due to a previous error during capture")

    def replay(self) -> None:
        self.cuda.log.append(("replay", self.cuda.current[-1].name))


class FakeCuda:
    """torch.cuda."""

    Stream = FakeStream

    def __init__(self) -> None:
        self.log: list[tuple[str, ...]] = []
        self.default = FakeStream(self.log, "default")
        self.current = [self.default]
        self.events: list[FakeEvent] = []
        self.capturing = self.broken = False

    def Event(self) -> FakeEvent:  # noqa: N802 - PyTorch's name
        return FakeEvent(self)

    def CUDAGraph(self) -> FakeGraph:  # noqa: N802 - PyTorch's name
        return FakeGraph(self)

    def current_stream(self, device: object = None) -> FakeStream:
        return self.current[-1]

    @contextmanager
    def stream(self, stream: FakeStream) -> Iterator[None]:
        self.current.append(stream)
        try:
            yield
        finally:
            self.current.pop()

    @contextmanager
    def device(self, device: object) -> Iterator[None]:
        yield

    def is_current_stream_capturing(self) -> bool:
        return self.capturing

    def graph_pool_handle(self) -> str:
        return "the pool"

    def empty_cache(self) -> None:
        self.log.append(("empty cache",))

    def synchronize(self, device: object = None) -> None:
        self.log.append(("synchronize", "all"))

    def mem_get_info(self, index: int) -> tuple[int, int]:
        return 64_000_000_000, 80_000_000_000


class FakeTorch:
    """torch, but for what needs a GPU."""

    def __init__(self) -> None:
        self.cuda = FakeCuda()
        log = self.cuda.log
        self._C = SimpleNamespace(
            _cuda_clearCublasWorkspaces=lambda: log.append(("clear",)),
            _cuda_endAllocateToPool=lambda index, pool: log.append(("end allocating",)),
            _cuda_releasePool=lambda index, pool: log.append(("release pool",)),
        )

    def device(self, kind: str, index: int) -> torch.device:
        return torch.device("cpu")

    def empty(self, shape: Any, *, dtype: Any, device: Any = None, pin_memory: bool = False) -> torch.Tensor:
        return torch.empty(shape, dtype=dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(torch, name)
