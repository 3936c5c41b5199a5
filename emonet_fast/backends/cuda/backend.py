"""The `cuda` backend: batches from the host or the GPU in, scores out. Streams, staging and locks around one Engine."""

import gc
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...checkpoint.spec import Checkpoint
from ...errors import BackendError
from ...gpu import SMALLER, NoGpu, check_memory, choose_precision, look, named_stream
from ...optional import need
from ...records import UInt8Array
from ..base import DeviceBackend, Outputs
from ..staging import DEFAULT_BATCH, DeviceOutputs, KeptBatches, Slot, Slots, check_named, stream_handle
from .engine import Engine
from .fp8 import certified
from .graphs import CudaCapture
from .inputs import as_tensor
from .linear import check_fp8
from .memory import needed_bytes
from .streams import ALONE, OWN_STREAMS
from .weights import Weights, load, refined


class CudaBackend(DeviceBackend):
    """One engine on one GPU. Thread-safe: launches take turns, and results are waited for outside the lock.

    Device is "auto", "cuda" or "cuda:N"; batch_size None means DEFAULT_BATCH; certificates of FP8 are kept in
    cache_dir. Raises BackendError when there is no such GPU, when it lacks the precision, or when its memory is too
    small; the text says what there is.
    """

    name = "cuda"

    def __init__(
        self, checkpoint: Checkpoint, device: str, precision: str, batch_size: int | None, cache_dir: Path
    ) -> None:
        gpu = look(device)
        if isinstance(gpu, NoGpu):
            raise BackendError(f"device {device!r} was asked for, but {gpu.reason}; use device 'cpu' or 'auto'")
        self.gpu = gpu
        self.precision = choose_precision(gpu, precision)
        self.batch_size = batch_size or DEFAULT_BATCH
        self.checkpoint = checkpoint
        self._torch = torch = need("torch", "the GPU engine")
        self.device = torch.device("cuda", gpu.index)
        self.engine: Engine | None = None
        self._lock = threading.Lock()
        self._streams: list[Any] = []
        self._kept = KeptBatches()
        with ALONE, torch.cuda.device(self.device):
            check_memory(gpu, needed_bytes(checkpoint, self.precision, self.batch_size), "this engine", SMALLER)
            try:
                self._open(self._weights(cache_dir))
            except BaseException as error:
                _clear_frames(error)
                # A GPU that has failed altogether gives nothing back.
                with suppress(RuntimeError):
                    self._give_back()
                if isinstance(error, torch.OutOfMemoryError):
                    raise BackendError(f"the GPU's memory does not hold the engine: {error}") from None
                raise

    def _weights(self, cache_dir: Path) -> Weights:
        if self.precision != "fp8":
            return load(self.checkpoint, self.device, self.precision)
        check_fp8(self.device)
        certificate = certified(self.checkpoint, self.gpu, cache_dir)
        weights = load(self.checkpoint, self.device, "fp8", frozenset(certificate.keep))
        tensors = {name: self._torch.from_numpy(values) for name, values in certificate.tensors.items()}
        return refined(weights, tensors)

    def _open(self, weights: Weights) -> None:
        torch, checkpoint = self._torch, self.checkpoint
        self._streams = [OWN_STREAMS.take(self.device) for _ in range(3)]
        self._compute, self._copies, capturing = self._streams
        self._idle = torch.cuda.Event()
        capture = CudaCapture(self.device, capturing)
        self.engine = Engine(checkpoint, weights, self.precision, self.batch_size, self.device, capture)
        self._slots = Slots(self._slot() for _ in range(self.depth + 1))
        # Weights were converted on this stream, which orders nothing on the others.
        torch.cuda.current_stream(self.device).synchronize()
        with torch.cuda.stream(self._compute):
            self.engine.graphs.prepare(self.batch_size)

    def _slot(self) -> Slot:
        torch, size = self._torch, self.checkpoint.vision.image_size
        shape = (self.batch_size, 3, size, size)
        return Slot(
            pinned=torch.empty(shape, dtype=torch.uint8, pin_memory=True),
            pixels=torch.empty(shape, dtype=torch.uint8, device=self.device),
            done=torch.cuda.Event(),
        )

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        torch, engine, n = self._torch, self._opened(), len(pixels)
        engine.graphs.size_for(n)  # refuses a batch that is empty or too large
        with self._lock, torch.cuda.device(self.device):
            slot = self._slots.take()
            slot.pinned[:n].copy_(torch.from_numpy(pixels))
            try:
                with torch.cuda.stream(self._copies):
                    slot.pixels[:n].copy_(slot.pinned[:n], non_blocking=True)
            finally:
                self._compute.wait_stream(self._copies)
            with torch.cuda.stream(self._compute):
                try:
                    return _later(torch, *self._launch(slot.pixels[:n]))
                finally:
                    # Also after an error: what was queued until then uses the slot and the static buffers.
                    self._idle.record()
                    slot.done.record()

    def run_device(self, pixels: object, stream: object = None) -> DeviceOutputs:
        """Score a batch that lies on the GPU, and return as soon as the work is queued.

        Args:
            pixels: [n, 3, S, S], n free: uint8 RGB planes, or float32, float16 or bfloat16 that are normalised already.
                A torch tensor or anything with `__dlpack__` or `__cuda_array_interface__`, of any strides. It is read
                where it lies; a batch longer than batch_size is scored in parts.
            stream: the CUDA stream on which the batch becomes ready and the work is queued: None for PyTorch's current
                one, or see stream_handle. With None and an array whose `__cuda_array_interface__` names no stream, as
                PyCUDA's, the call waits for all work on the GPU, and a warning says so.

        Raises:
            InputError: when it is no such batch, or lies in another CUDA context.
            BackendError: when the stream is capturing a graph, or memory ran out.
        """
        torch, engine = self._torch, self._opened()
        vision = self.checkpoint.vision
        with self._lock, torch.cuda.device(self.device), torch.cuda.stream(self._stream(stream)):
            if torch.cuda.is_current_stream_capturing():
                raise BackendError(
                    "the stream is capturing a CUDA graph; expected one that is not: call the scorer outside of "
                    "the capture, its work is a graph of its own"
                )
            batch = as_tensor(pixels, self.device, vision.image_size, ready=stream is not None)
            embedding = torch.empty((len(batch), vision.hidden_size), dtype=torch.float32, device=self.device)
            raw = torch.empty((len(batch), len(self.checkpoint.names)), dtype=torch.float32, device=self.device)
            largest = engine.graphs.sizes[-1]
            try:
                for start in range(0, len(batch), largest):
                    part = slice(start, start + largest)
                    for target, values in zip((embedding, raw), self._launch(batch[part]), strict=True):
                        target[part].copy_(values)
            finally:
                # Also after an error: what was queued until then uses the batch and the static buffers.
                self._idle.record()
                read = torch.cuda.Event()
                read.record()
                self._kept.keep(read, batch)
            return DeviceOutputs(embedding, raw)

    def queue(self, pixels: object, stream: object) -> Callable[[], Outputs]:
        torch, outputs = self._torch, self.run_device(pixels, stream)
        with self._lock, torch.cuda.device(self.device), torch.cuda.stream(self._stream(stream)):
            result = _later(torch, outputs.embedding, outputs.raw, pixels)

        def taken() -> Outputs:
            found = result()
            with self._lock:
                self._kept.let_go()
            return found

        return taken

    def place(self) -> tuple[int, int]:
        return self.gpu.index, int(self._compute.cuda_stream)

    def close(self) -> None:
        """Gives all GPU memory back."""
        with self._lock, ALONE, self._torch.cuda.device(self.device):
            self._give_back()

    def _give_back(self) -> None:
        """Free what there is of the engine, once the GPU has done what was queued for it."""
        if self.engine is not None:
            self._kept.clear()
            for stream in self._streams:
                stream.synchronize()
            self._idle.synchronize()
            self.engine.graphs.clear()
        self.engine = None
        self._slots = Slots(())
        while self._streams:
            OWN_STREAMS.give_back(self._streams.pop())
        gc.collect()
        self._torch.cuda.empty_cache()

    def _launch(self, pixels: Any) -> tuple[Any, Any]:
        """Run the engine on the current stream, after whatever used the static buffers last."""
        engine = self._opened()
        self._torch.cuda.current_stream(self.device).wait_event(self._idle)
        return engine.run(pixels)

    def _opened(self) -> Engine:
        if self.engine is None:
            raise BackendError("this engine was closed; open the scorer again")
        return self.engine

    def _stream(self, stream: object) -> Any:
        cuda = self._torch.cuda
        if stream is None:
            return cuda.current_stream(self.device)
        if isinstance(stream, cuda.Stream):
            return stream
        handle = stream_handle(stream)
        check_named(handle)
        return named_stream(handle, self.device)


def _clear_frames(error: BaseException | None) -> None:
    """Forget the local variables of the frames that an error went through, and those of the errors that led to it.

    They hold tensors, and whoever catches the error holds the frames.
    """
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__


def _later(torch: Any, embedding: Any, raw: Any, *keep: object) -> Callable[[], Outputs]:
    """Queue the copies to pinned memory on the current stream. `keep` is held until the outputs are taken."""
    parts = [
        torch.empty(part.shape, dtype=part.dtype, pin_memory=True).copy_(part, non_blocking=True)
        for part in (embedding, raw)
    ]
    ready = torch.cuda.Event()
    ready.record()
    kept = list(keep)

    def result() -> Outputs:
        ready.synchronize()
        kept.clear()
        # Copies: pinned memory is scarce, and a caller may keep outputs for long.
        return Outputs(parts[0].numpy().copy(), parts[1].numpy().copy())

    return result
