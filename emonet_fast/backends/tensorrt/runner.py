"""One engine with its host and device memory: batches from the host or from the GPU, results on either."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...checkpoint.spec import Checkpoint
from ...errors import BackendError, InputError
from ...records import Float32Array, UInt8Array
from ..base import Outputs
from .heads import FusedHeads
from .libraries import Native, to_logging


@dataclass(frozen=True, slots=True)
class DeviceOutputs:
    """embedding [n, D] and raw [n, H] float32 on the GPU, views by __dlpack__ and __cuda_array_interface__.

    Ready on the stream that was given; a consumer that takes them by either protocol on another stream is made to wait.
    source: the batch, which must live until then.
    """

    embedding: Any
    raw: Any
    source: Any


@dataclass(frozen=True, slots=True)
class _Slot:
    """Staging of one batch in flight: pinned host pixels, device pixels and results, and when they are free again."""

    pinned: UInt8Array
    pixels: Any
    embedding: Any
    raw: Any
    copied: Any
    done: Any


@dataclass(frozen=True, slots=True)
class _Result:
    """Pinned memory of one batch's results, and when they are there."""

    embedding: Float32Array
    raw: Float32Array
    ready: Any


class Runner:
    """Thread-safe. slots: batches that may be under way from the host. fused: the heads, for an engine without them.

    Raises:
        BackendError: the engine is not of this network (names, shapes) or TensorRT refuses it.
    """

    def __init__(
        self,
        native: Native,
        blob: bytes,
        checkpoint: Checkpoint,
        batch_size: int,
        slots: int = 1,
        fused: FusedHeads | None = None,
    ) -> None:
        self.native, self.batch_size, self.fused = native, batch_size, fused
        self._size, self._heads = checkpoint.vision.image_size, len(checkpoint.names)
        self._hidden = checkpoint.vision.hidden_size
        with native.translated():
            self.engine = native.extension.Engine(native.tensorrt, native.device, blob, to_logging)
            self._check()
            self.engine.prepare(batch_size)
            extension, device = native.extension, native.device
            self._compute, self._copies = extension.Stream(device), extension.Stream(device)
            self._slots = deque(self._slot() for _ in range(slots))
        self._free: list[_Result] = []
        self._lock = threading.Lock()

    def _check(self) -> None:
        side = self._size
        expected = {
            "pixels": ("uint8", (3, side, side)),
            "embedding": ("float32", (self._hidden,)),
        }
        if self.fused is None:
            expected["raw"] = ("float32", (self._heads,))
        found = {t.name: (t.dtype, tuple(t.row)) for t in self.engine.tensors}
        if found != expected or self.engine.batch_sizes[-1] < self.batch_size:
            raise BackendError(
                f"the engine takes and gives {found} in batches of up to {self.engine.batch_sizes[-1]}; expected "
                f"{expected} and {self.batch_size}: it was built for other weights, another batch size, or with other "
                "heads (an engine built beside PyTorch and Triton has none of its own)"
            )
        self._outputs = [t.name for t in self.engine.tensors if not t.input]

    def _slot(self) -> _Slot:
        extension, device, n = self.native.extension, self.native.device, self.batch_size
        shape = (n, 3, self._size, self._size)
        return _Slot(
            pinned=device.pinned(shape, np.dtype(np.uint8)),
            pixels=device.array(shape, "uint8"),
            embedding=device.array((n, self._hidden), "float32"),
            raw=device.array((n, self._heads), "float32"),
            copied=extension.Event(device),
            done=extension.Event(device),
        )

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """See Backend.submit. Raises InputError: no uint8 [n, 3, S, S]."""
        self._need_pixels(str(pixels.dtype), pixels.shape, "on the host")
        n = len(pixels)
        with self.native.translated():
            self.engine.size_for(n)  # refuses a batch that is empty or too large
            with self._lock:
                result = self._result(n)
                slot = self._slots[0]
                self._slots.rotate(-1)
                slot.done.synchronize()
                self._queue(slot, pixels, n, result)

        return lambda: self._take(result, n)

    def submit_device(self, pixels: Any) -> Callable[[], Outputs]:
        """See DeviceBackend.submit_device.

        Raises:
            InputError: see run_device.
        """
        stream, device = self.stream, self.native.device
        found = self.run_device(pixels, stream)
        n = len(found.raw)
        with self.native.translated():
            with self._lock:
                result = self._result(n)
            device.download(result.embedding[:n], found.embedding, stream)
            device.download(result.raw[:n], found.raw, stream)
            result.ready.record(stream)
        kept: list[object] = [pixels, found]

        def take() -> Outputs:
            outputs = self._take(result, n)
            kept.clear()
            return outputs

        return take

    @property
    def stream(self) -> int:
        """The handle of the stream on which host batches and `submit_device` work."""
        handle: int = self._compute.handle
        return handle

    def _take(self, result: _Result, n: int) -> Outputs:
        with self.native.translated():
            result.ready.synchronize()
        # Copies: pinned memory is scarce, and a caller may keep outputs for long.
        outputs = Outputs(result.embedding[:n].copy(), result.raw[:n].copy())
        if len(result.raw) == self.batch_size:
            with self._lock:
                self._free.append(result)
        return outputs

    def _result(self, n: int) -> _Result:
        """Memory for n rows: one that was used before, unless n is above the batch size. Under the lock."""
        if n <= self.batch_size and self._free:
            return self._free.pop()
        device, n = self.native.device, max(n, self.batch_size)
        float32 = np.dtype(np.float32)
        return _Result(
            device.pinned((n, self._hidden), float32),
            device.pinned((n, self._heads), float32),
            self.native.extension.Event(device),
        )

    def _queue(self, slot: _Slot, pixels: UInt8Array, n: int, result: _Result) -> None:
        device, copies, compute = self.native.device, self._copies.handle, self._compute.handle
        slot.pinned[:n] = pixels
        device.upload(slot.pixels.rows(0, n), slot.pinned[:n], copies)
        slot.copied.record(copies)
        slot.copied.hold(compute)
        self.launch(slot.pixels.address, slot.embedding.rows(0, n), slot.raw.rows(0, n), compute)
        device.download(result.embedding[:n], slot.embedding.rows(0, n), compute)
        device.download(result.raw[:n], slot.raw.rows(0, n), compute)
        slot.done.record(compute)
        result.ready.record(compute)

    def run_device(self, pixels: Any, stream: int) -> DeviceOutputs:
        """Queue a batch of any length that lies on the GPU on `stream` (a handle), in parts of at most batch_size.

        Raises:
            InputError: it is no uint8 [n, 3, S, S] there, in C order. BackendError: TensorRT or CUDA fail.
        """
        device, extension = self.native.device, self.native.extension
        if self.fused is not None:
            self.fused.check_stream(stream)
        try:
            view = device.take(pixels, stream)
        except extension.TensorRtError as error:
            raise InputError(f"pixels cannot be taken: {error}") from None
        self._need_pixels(view.dtype, view.shape, "on the GPU")
        n = len(view)
        with self.native.translated():
            embedding = device.array((n, self._hidden), "float32")
            raw = device.array((n, self._heads), "float32")
            for first in range(0, n, self.batch_size):
                part = (first, min(first + self.batch_size, n))
                self.launch(view.rows(*part).address, embedding.rows(*part), raw.rows(*part), stream)
            ready = extension.Event(device)
            ready.record(stream)
            for made in (embedding, raw):
                made.mark_ready(ready, stream)
        return DeviceOutputs(embedding, raw, view)

    def _need_pixels(self, dtype: str, shape: Sequence[int], where: str) -> None:
        side = self._size
        if dtype != "uint8" or len(shape) != 4 or tuple(shape[1:]) != (3, side, side):
            raise InputError(
                f"pixels are {dtype} {list(shape)}; expected uint8 [n, 3, {side}, {side}] {where} "
                "(the engine normalises by itself)"
            )

    def run_to_host(self, pixels: Any, stream: int) -> Outputs:
        """As run_device, waits, and gives the outputs on the host."""
        found = self.run_device(pixels, stream)
        n, device = len(found.raw), self.native.device
        embedding, raw = np.empty((n, self._hidden), np.float32), np.empty((n, self._heads), np.float32)
        with self.native.translated():
            device.download(embedding, found.embedding, stream)
            device.download(raw, found.raw, stream)
            done = self.native.extension.Event(device)
            done.record(stream)
            done.synchronize()
        return Outputs(embedding, raw)

    def run_all(self, pixels: UInt8Array, size: int) -> tuple[Float32Array, Float32Array]:
        """(embedding, raw) of host pixels of any number, in batches of `size`."""
        parts = [self.submit(pixels[i : i + size])() for i in range(0, len(pixels), size)]
        return np.concatenate([p.embedding for p in parts]), np.concatenate([p.raw for p in parts])

    def launch(self, pixels: int, embedding: Any, raw: Any, stream: int) -> None:
        """Queue one batch and allocate nothing.

        pixels: address on the GPU of n rows, n at most batch_size. embedding [n, hidden], raw [n, H] float32: the
        extension's arrays.
        """
        places = {"embedding": embedding.address, "raw": raw.address}
        self.engine.run(pixels, len(raw), [places[name] for name in self._outputs], stream)
        if self.fused is not None:
            self.fused.score(embedding, raw, stream)
