"""Infer requests of the two engines, in pairs: a batch on each stream, each from pixels to outputs."""

import threading
from collections.abc import Callable
from concurrent.futures import CancelledError, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, TypeAlias

from ...errors import BackendError
from ...records import UInt8Array
from ..base import Outputs, padded

# A request of the tower and one of the top.
_Pair: TypeAlias = tuple[Any, Any]
_CLOSED = "this engine was closed; open the scorer again"


class Requests:
    """Scores batches by two compiled engines of so many streams each. Thread-safe."""

    def __init__(self, tower: Any, top: Any, streams: int, batch_size: int) -> None:
        self._batch_size, self._pairs = batch_size, streams
        # The pairs that nobody uses. None says that there will be no more.
        self._free: SimpleQueue[_Pair | None] = SimpleQueue()
        for _ in range(streams):
            self._free.put((tower.create_infer_request(), top.create_infer_request()))
        # Threads that wait for requests. Callbacks of OpenVINO would need none, but they abort an interpreter that ends
        # while a batch is under way.
        self._waiting = ThreadPoolExecutor(streams, "openvino")
        self._closing = threading.Lock()

    def run(self, pixels: UInt8Array) -> Outputs:
        """As Backend.run, by the next pair that is free."""
        batch = padded(pixels, self._batch_size)
        pair = self._free.get()
        try:
            if pair is None:
                raise BackendError(_CLOSED)
            tower, top = pair
            tower.start_async({"pixels": batch}, share_inputs=True)
            tower.wait()
            top.start_async({"tokens": tower.get_tensor("tokens")}, share_inputs=True)
            top.wait()
            embedding, raw = (top.get_tensor(name).data[: len(pixels)].copy() for name in ("embedding", "raw"))
            return Outputs(embedding, raw)
        finally:
            self._free.put(pair)

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
            for _ in range(self._pairs):
                self._free.get()
            self._pairs = 0
        self._free.put(None)
