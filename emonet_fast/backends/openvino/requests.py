"""Infer requests of the three engines: a batch on each stream, each from pixels to outputs."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeAlias

from ...errors import BackendError
from ...records import UInt8Array
from ..base import Outputs, padded
from .heads import heads_batch

# A request of the tower, one of the pooling head, and one of the heads.
_Requests: TypeAlias = tuple[Any, Any, Any]
_CLOSED = "this engine was closed; open the scorer again"


class Requests:
    """Scores batches by three compiled engines of so many streams each. Thread-safe."""

    def __init__(self, tower: Any, pooling: Any, heads: Any, streams: int, batch_size: int) -> None:
        self._batch_size, self._streams = batch_size, streams
        # The requests that nobody uses. None says that there will be no more.
        self._free: SimpleQueue[_Requests | None] = SimpleQueue()
        for _ in range(streams):
            self._free.put((tower.create_infer_request(), pooling.create_infer_request(), heads.create_infer_request()))
        # Threads that wait for requests. Callbacks of OpenVINO would need none, but they abort an interpreter that ends
        # while a batch is under way.
        self._waiting = ThreadPoolExecutor(streams, "openvino")
        self._closing = threading.Lock()

    def run(self, pixels: UInt8Array) -> Outputs:
        """As Backend.run, by the next requests that are free."""
        batch = padded(pixels, self._batch_size)
        free = self._free.get()
        try:
            if free is None:
                raise BackendError(_CLOSED)
            tower, pooling, heads = free
            tower.start_async({"pixels": batch}, share_inputs=True)
            tower.wait()
            pooling.start_async({"tokens": tower.get_tensor("tokens")}, share_inputs=True)
            pooling.wait()
            embedding = pooling.get_tensor("embedding").data[: len(pixels)].copy()
            heads.start_async({"embedding": padded(embedding, heads_batch(self._batch_size))}, share_inputs=True)
            heads.wait()
            return Outputs(embedding, heads.get_tensor("raw").data[: len(pixels)].copy())
        finally:
            self._free.put(free)

    def start(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """As Backend.submit."""
        try:
            running = self._waiting.submit(self.run, pixels.copy())
        except RuntimeError:  # it takes nothing any more
            raise BackendError(_CLOSED) from None

        def outputs() -> Outputs:
            try:
                return running.result()
            except CancelledError:
                raise BackendError(_CLOSED) from None

        return outputs

    def close(self) -> None:
        """Wait for the batches on the streams, give up those that wait for one, and free the requests."""
        self._waiting.shutdown(cancel_futures=True)
        with self._closing:
            for _ in range(self._streams):
                self._free.get()
            self._streams = 0
        self._free.put(None)
