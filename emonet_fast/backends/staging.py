"""What the two backends on a GPU share: batch sizes, slots for host batches, device outputs, handles of streams."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import BackendError
from ..gpu import PER_THREAD_DEFAULT

# 64 images fill the GPU to within a few percent of 256, with a quarter of the buffers.
DEFAULT_BATCH = 64


@dataclass(frozen=True, slots=True)
class DeviceOutputs:
    """The outputs of one batch on the GPU, ready on the stream on which the work was queued.

    Args:
        embedding: [n, D] float32, not normalised. Of CudaBackend a torch tensor; of TensorRtBackend an array with
            `__dlpack__` and `__cuda_array_interface__`, which makes a consumer on another stream wait.
        raw: [n, H] float32, likewise.
        source: the batch, which must live until the outputs are ready; None where the backend sees to that itself.
    """

    embedding: Any
    raw: Any
    source: Any = None


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


def sizes_up_to(largest: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes of a backend whose largest is `largest`: those of `sizes` below it, and itself."""
    return (*(size for size in sizes if size < largest), largest)


def stream_handle(stream: object) -> int:
    """The handle of a CUDA stream; None is the default stream, 0.

    A stream is its handle, or an object with `cuda_stream` (PyTorch), `ptr` (CuPy), `handle` (PyCUDA) or
    `__cuda_stream__` (cuda-python). Raises BackendError when it is none of these.
    """
    if stream is None:
        return 0
    if hasattr(stream, "__cuda_stream__"):
        return int(stream.__cuda_stream__()[1])
    for field in ("cuda_stream", "ptr", "handle"):
        stream = getattr(stream, field, stream)
    if not isinstance(stream, int):
        raise BackendError(f"stream is {stream!r}; expected a CUDA stream or its handle")
    return stream


def check_named(handle: int) -> None:
    """Raises BackendError for CUDA's per-thread default stream, for which PyTorch has no name."""
    if handle == PER_THREAD_DEFAULT:
        raise BackendError(
            "the stream is CUDA's per-thread default stream, which PyTorch cannot name; give another stream (backend "
            "tensorrt takes this one, too, in an environment without PyTorch)"
        )
