"""One captured graph for each batch size, made at first use. Work is captured on a GPU, and just called on a host."""

import logging
from collections.abc import Callable
from typing import Any

from ...errors import BackendError
from ...optional import need
from ..staging import sizes_up_to
from .linear import exact_float32

_log = logging.getLogger("emonet_fast")

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

Replay = Callable[[], None]
# Turns work on static buffers into something that repeats it.
Capture = Callable[[Callable[[], None]], Replay]


class Graphs:
    """Replays `work(size)` for the smallest size that holds a batch; `work` fills that many rows of static buffers."""

    def __init__(self, capture: Capture, work: Callable[[int], None], largest: int) -> None:
        self.sizes = sizes_up_to(largest, SIZES)
        self._capture, self._work = capture, work
        self._replays: dict[int, Replay] = {}

    @property
    def captured(self) -> tuple[int, ...]:
        return tuple(sorted(self._replays))

    def size_for(self, n: int) -> int:
        """Return the size whose graph serves n rows, 1 <= n <= largest."""
        if not 1 <= n <= self.sizes[-1]:
            raise ValueError(f"a batch has {n} rows; expected 1 to {self.sizes[-1]}")
        return next(size for size in self.sizes if size >= n)

    def prepare(self, n: int) -> Replay:
        """Return the replay for n rows; capture it if there is none yet.

        Raises BackendError when there is no memory for it; what was captured before stays usable.
        """
        size = self.size_for(n)
        if size not in self._replays:
            try:
                self._replays[size] = self._capture(lambda: self._work(size))
            except need("torch", "the GPU engine").OutOfMemoryError as error:
                raise BackendError(
                    f"the GPU's memory does not hold batch size {size} ({error}); "
                    "use a smaller batch size (--batch-size), or free memory on the GPU"
                ) from None
        return self._replays[size]

    def clear(self) -> None:
        """Forget all graphs, and with them their memory."""
        self._replays.clear()


class CudaCapture:
    """Captures CUDA graphs that share one memory pool: they never run at the same time."""

    def __init__(self, device: Any) -> None:
        self.torch = need("torch", "the GPU engine")
        self.device = device
        self._pool = self.torch.cuda.graph_pool_handle()
        self._warm, self._captures = self.torch.cuda.Stream(device), self.torch.cuda.Stream(device)

    def __call__(self, work: Callable[[], None]) -> Replay:
        torch, current = self.torch, self.torch.cuda.current_stream(self.device)
        _log.info("capturing a graph (once for each batch size)")
        with exact_float32():
            self._warm.wait_stream(current)
            try:
                # Before the capture, because Triton compiles and loads and cuBLAS makes its handles, which a capture
                # forbids. Twice, since the first run may still choose between algorithms.
                with torch.cuda.stream(self._warm):
                    work()
                    work()
            finally:
                # Also after an error: what was queued uses the static buffers.
                current.wait_stream(self._warm)
            graph = torch.cuda.CUDAGraph()
            # thread_local: other threads (decoding into pinned memory, another scorer) go on using the GPU.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._captures, capture_error_mode="thread_local"):
                work()
        # cuBLAS met the capture's stream for the first time inside, so its workspace lies in the graphs' pool. It
        # belongs to this graph from here on: the next capture makes its own at the same place, and closing another
        # engine cannot free it.
        torch._C._cuda_clearCublasWorkspaces()
        replay: Replay = graph.replay
        return replay


def call_directly(work: Callable[[], None]) -> Replay:
    """The Capture for CPU tensors: there is nothing to record, and the work itself is the replay."""
    return work
