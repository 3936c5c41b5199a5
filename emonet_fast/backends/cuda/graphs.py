"""One captured graph for each batch size, made at first use. Work is captured on a GPU, and just called on a host."""

import logging
from collections.abc import Callable
from typing import Any

from ...errors import BackendError
from ...float32 import exact_products
from ...optional import need
from ..staging import sizes_up_to
from .streams import ALONE

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
    """Captures CUDA graphs that share one memory pool: they never run at the same time.

    `stream` is one that nobody else uses, see streams.OwnStreams.
    """

    def __init__(self, device: Any, stream: Any) -> None:
        self.torch = need("torch", "the GPU engine")
        self.device, self._stream = device, stream
        self._pool = self.torch.cuda.graph_pool_handle()
        # A capture that failed may have left what points to its graph behind, in PyTorch's allocator of pinned memory.
        self._failed: list[Any] = []

    def __call__(self, work: Callable[[], None]) -> Replay:
        """Capture the work. Where this fails for another reason than memory, the work itself is the replay.

        Raises torch.OutOfMemoryError.
        """
        _log.info("capturing a graph (once for each batch size)")
        with ALONE, exact_products():
            self._warm_up(work)
            graph, fault = self._captured(work)
            # cuBLAS met the stream for the first time inside, so its workspace lies in the graphs' pool. It belongs
            # to this graph from here on: the next capture makes its own at the same place, and closing another
            # engine cannot free it.
            self.torch._C._cuda_clearCublasWorkspaces()
        if fault is None:
            replay: Replay = graph.replay
            return replay
        self._failed.append(graph)
        if isinstance(fault, self.torch.OutOfMemoryError) or not isinstance(fault, Exception):
            raise fault
        _log.warning("this GPU's work cannot be captured as a graph and runs slower without one: %s", fault)
        return exact_products()(work)  # at every call anew

    def _warm_up(self, work: Callable[[], None]) -> None:
        torch, stream = self.torch, self._stream
        current = torch.cuda.current_stream(self.device)
        stream.wait_stream(current)
        try:
            # Before the capture, because Triton compiles and loads and cuBLAS makes its handles, which a capture
            # forbids. Twice, since the first run may still choose between algorithms.
            with torch.cuda.stream(stream):
                work()
                work()
        finally:
            # Also after an error: what was queued uses the static buffers.
            current.wait_stream(stream)
            # The workspace that cuBLAS has now for this stream lies outside of the graphs' pool. A graph that used it
            # would keep its address when it is freed.
            torch._C._cuda_clearCublasWorkspaces()
        stream.synchronize()
        torch.cuda.empty_cache()  # the pool can have what the warm-up took

    def _captured(self, work: Callable[[], None]) -> tuple[Any, BaseException | None]:
        """The graph, and what went wrong. In any case nothing is capturing any more."""
        torch = self.torch
        graph, fault = torch.cuda.CUDAGraph(), None
        with torch.cuda.stream(self._stream):
            try:
                # thread_local: other threads (decoding into pinned memory, another scorer) go on using the GPU.
                graph.capture_begin(pool=self._pool, capture_error_mode="thread_local")
                work()
            except BaseException as error:  # handed on below, once the capture has ended
                fault = error
            try:
                graph.capture_end()
            except RuntimeError as error:
                fault = fault or error
                self._end_allocating()
        return graph, fault

    def _end_allocating(self) -> None:
        """Do what capture_end leaves out where it raises: PyTorch would go on allocating as if it captured."""
        native, index = self.torch._C, self.device.index
        try:
            native._cuda_endAllocateToPool(index, self._pool)
        except RuntimeError:  # it had come further than that
            return
        native._cuda_releasePool(index, self._pool)


def call_directly(work: Callable[[], None]) -> Replay:
    """The Capture for CPU tensors: there is nothing to record, and the work itself is the replay."""
    return work
