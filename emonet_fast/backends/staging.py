"""What the two backends on a GPU share: batch sizes, slots for host batches, device outputs, handles of streams."""

import operator
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError
from ..gpu import PER_THREAD_DEFAULT

# What is said of memory that another CUDA context owns: no kernel of ours can read it.
OTHER_CONTEXT = (
    "lie in another CUDA context than PyTorch's and TensorRT's, the GPU's primary one; with PyCUDA import "
    "pycuda.autoprimaryctx in place of pycuda.autoinit"
)
# What is said of an array that does not tell where it becomes ready.
UNNAMED_STREAM = (
    "the batch's __cuda_array_interface__ names no stream (PyCUDA's never does), and no stream= was given: waiting for "
    "all work on the GPU; give the stream on which the batch becomes ready"
)
# 64 images fill the GPU to within a few percent of 256, with a quarter of the buffers.
DEFAULT_BATCH = 64


@dataclass(frozen=True, slots=True)
class DeviceOutputs:
    """The outputs of one batch on the GPU, ready on the stream on which the work was queued.

    Args:
        embedding: [n, D] float32, not normalised. Of CudaBackend a torch tensor; of TensorRtBackend an array with
            `__dlpack__` and `__cuda_array_interface__`, which makes a consumer on another stream wait.
        raw: [n, H] float32, likewise.
    """

    embedding: Any
    raw: Any


@dataclass(frozen=True, slots=True)
class Slot:
    """Memory for one host batch under way.

    Results have memory of their own: a slot is used again long before its last result is taken, by any thread.

    Args:
        pinned: [batch size, 3, S, S] uint8 in pinned memory of the host.
        pixels: the same on the GPU.
        done: the event after which both may be used again.
    """

    pinned: Any
    pixels: Any
    done: Any


class Slots:
    """Gives out slots in turns; there is one for each batch that may be under way."""

    def __init__(self, slots: Iterable[Slot]) -> None:
        self._slots = deque(slots)

    def take(self) -> Slot:
        """The slot that was used longest ago. Waits until its batch no longer needs it."""
        slot = self._slots[0]
        self._slots.rotate(-1)
        slot.done.synchronize()
        return slot


class KeptBatches:
    """Holds each batch of a caller until the GPU has read it: its memory may go to others as soon as it is dropped.

    Batches come in the order in which the GPU reads them. Not thread-safe.
    """

    def __init__(self) -> None:
        self._kept: deque[tuple[Any, object]] = deque()

    def keep(self, read: Any, batch: object) -> None:
        """Hold the batch until the event `read`, and let go what was read before."""
        self.let_go()
        self._kept.append((read, batch))

    def let_go(self) -> None:
        """Let go what was read. Waits for nothing."""
        while self._kept and self._kept[0][0].query():
            self._kept.popleft()

    def clear(self) -> None:
        """Let go everything, once the GPU has read it."""
        while self._kept:
            self._kept[0][0].synchronize()
            self._kept.popleft()


def sizes_up_to(largest: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes of a backend whose largest is `largest`: those of `sizes` below it, and itself."""
    return (*(size for size in sizes if size < largest), largest)


def names_no_stream(pixels: object) -> bool:
    """Whether an array is known by its `__cuda_array_interface__` alone, and that does not tell where it is ready."""
    if hasattr(pixels, "__dlpack__") or not hasattr(pixels, "__cuda_array_interface__"):
        return False
    return pixels.__cuda_array_interface__.get("stream") is None


def stream_handle(stream: object) -> int:
    """The handle of a CUDA stream; None is the default stream, 0.

    A stream is its handle, or an object with `__cuda_stream__` (cuda.core, CuPy, Numba), `cuda_stream` (PyTorch), `ptr`
    (older CuPy) or `handle` (PyCUDA, older Numba). Raises BackendError when it is none of these.
    """
    found: Any = stream
    protocol = getattr(stream, "__cuda_stream__", None)
    if protocol is not None:
        # A method; in the first version of the protocol a property.
        found = (protocol() if callable(protocol) else protocol)[1]
    else:
        for field in ("cuda_stream", "ptr", "handle"):
            found = getattr(found, field, found)
    # Handles of ctypes hold a value, which is None for the default stream.
    found = getattr(found, "value", found)
    if found is None:
        return 0
    try:
        return operator.index(found)
    except TypeError:
        if hasattr(found, "__int__") and not isinstance(found, float):
            return int(found)  # CUstream of cuda.bindings
        raise BackendError(f"stream is {stream!r}; expected a CUDA stream or its handle") from None


def check_named(handle: int) -> None:
    """Raises BackendError for CUDA's per-thread default stream, for which PyTorch has no name."""
    if handle == PER_THREAD_DEFAULT:
        raise BackendError(
            "the stream is CUDA's per-thread default stream, which PyTorch cannot name; give another stream (backend "
            "tensorrt takes this one, too, in an environment without PyTorch)"
        )
