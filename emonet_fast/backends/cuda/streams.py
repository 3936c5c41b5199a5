"""CUDA streams of our own, and the lock under which engines are opened, captured and closed.

PyTorch gives streams out in turns from 32, so a program may hold the very one that an engine works on. What it queued
there while the engine is captured would become a part of the graph.
"""

import threading
from collections import defaultdict
from typing import Any

from ...driver import new_stream
from ...optional import need

# One engine at a time in the whole process is opened, captured or closed: to give memory back, or to clear cuBLAS's
# workspaces, is forbidden to all threads while one captures.
ALONE = threading.RLock()


class OwnStreams:
    """Streams that closed engines gave back, and new ones. Thread-safe.

    No stream is ever destroyed: PyTorch's allocator keeps the handle of each stream that has used a block of memory,
    and records events there when the block is freed, which may be long after the engine was closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: defaultdict[int, list[int]] = defaultdict(list)

    def take(self, device: Any) -> Any:
        """A torch stream on the device cuda:N that nobody else has."""
        with self._lock:
            free = self._free[device.index]
            handle = free.pop() if free else new_stream(device.index)
        return need("torch", "the GPU engine").cuda.ExternalStream(handle, device)

    def give_back(self, stream: Any) -> None:
        """Let another engine have the stream."""
        with self._lock:
            self._free[stream.device.index].append(stream.cuda_stream)


# Of the process, as its streams are.
OWN_STREAMS = OwnStreams()
