"""One engine with its host and device memory: batches from the host or from the GPU, results on either."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...checkpoint.spec import Checkpoint
from ...errors import BackendError, InputError
from ...records import Float32Array, UInt8Array
from ..base import Outputs
from ..staging import UNNAMED_STREAM, DeviceOutputs, KeptBatches, Slot, Slots, check_named, names_no_stream
from .heads import FusedHeads
from .libraries import Native, to_logging

_log = logging.getLogger("emonet_fast")


@dataclass(frozen=True, slots=True)
class HostOutputs:
    """Pinned memory for the outputs of one batch.

    Args:
        embedding: [batch size or more, D] float32.
        raw: [batch size or more, H] float32.
        ready: the event after which they are there.
    """

    embedding: Float32Array
    raw: Float32Array
    ready: Any


class EngineRunner:
    """Runs batches of up to `batch_size` images through one serialised engine. Thread-safe.

    `slots` is how many batches may be under way from the host. `fused` are the heads, for an engine that ends with the
    embedding. Raises BackendError when the engine is not of this network (names, shapes), or TensorRT refuses it.
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
        extension, device = native.extension, native.device
        with native.translated():
            self.engine = extension.Engine(native.tensorrt, device, blob, to_logging)
            self._check()
            self.engine.prepare(batch_size)
            self._compute, self._copies = extension.Stream(device), extension.Stream(device)
            self._copied = extension.Event(device)
            # One pair for all slots: the batches of the host follow each other on one stream.
            self._embedding = device.array((batch_size, self._hidden), "float32")
            self._raw = device.array((batch_size, self._heads), "float32")
            self._slots = Slots(self._slot() for _ in range(slots))
            self._buffers = extension.Buffers(device)
        self._kept = KeptBatches()
        self._free: list[HostOutputs] = []
        self._lock = threading.Lock()

    def _check(self) -> None:
        side = self._size
        expected = {"pixels": ("uint8", (3, side, side)), "embedding": ("float32", (self._hidden,))}
        if self.fused is None:
            expected["raw"] = ("float32", (self._heads,))
        tensors = {t.name: (t.dtype, tuple(t.row)) for t in self.engine.tensors}
        if tensors != expected or self.engine.batch_sizes[-1] < self.batch_size:
            raise BackendError(
                f"the engine takes and gives {tensors} in batches of up to {self.engine.batch_sizes[-1]}; expected "
                f"{expected} and {self.batch_size}: it was built for other weights, another batch size, or with other "
                "heads (an engine built beside PyTorch and Triton has none of its own)"
            )
        self._outputs = [t.name for t in self.engine.tensors if not t.input]

    def _slot(self) -> Slot:
        device, shape = self.native.device, (self.batch_size, 3, self._size, self._size)
        return Slot(
            pinned=device.pinned(shape, np.dtype(np.uint8)),
            pixels=device.array(shape, "uint8"),
            done=self.native.extension.Event(device),
        )

    @property
    def stream(self) -> int:
        """The handle of the stream on which host batches work, and those of `submit_device`."""
        handle: int = self._compute.handle
        return handle

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """See Backend.submit. Raises InputError when the pixels are not uint8 [n, 3, S, S]."""
        self._need_pixels(str(pixels.dtype), pixels.shape, "on the host")
        n, copies = len(pixels), self._copies.handle
        with self.native.translated():
            self.engine.size_for(n)  # refuses a batch that is empty or too large
            with self._lock:
                slot = self._slots.take()
                slot.pinned[:n] = pixels
                self.native.device.upload(slot.pixels.rows(0, n), slot.pinned[:n], copies)
                self._copied.record(copies)
                self._copied.hold(self.stream)
                embedding, raw = self._embedding.rows(0, n), self._raw.rows(0, n)
                try:
                    self.launch(slot.pixels.address, embedding, raw, self.stream)
                finally:
                    slot.done.record(self.stream)
                return self._download(DeviceOutputs(embedding, raw), self._host_outputs(n), self.stream)

    def queue(self, pixels: Any, stream: int | None) -> Callable[[], Outputs]:
        """See DeviceBackend.queue. Raises InputError as run_device does."""
        outputs = self.run_device(pixels, stream)
        with self.native.translated():
            with self._lock:
                host = self._host_outputs(len(outputs.raw))
            return self._download(outputs, host, stream or 0, pixels)

    def _host_outputs(self, n: int) -> HostOutputs:
        """Memory for n rows: some that was used before, unless n is above the batch size. Call it under the lock."""
        if n <= self.batch_size and self._free:
            return self._free.pop()
        device, rows, float32 = self.native.device, max(n, self.batch_size), np.dtype(np.float32)
        return HostOutputs(
            device.pinned((rows, self._hidden), float32),
            device.pinned((rows, self._heads), float32),
            self.native.extension.Event(device),
        )

    def _download(self, outputs: DeviceOutputs, host: HostOutputs, stream: int, *kept: object) -> Callable[[], Outputs]:
        """Queue the copies to the host. What is kept lives until the outputs are taken."""
        n, device = len(outputs.raw), self.native.device
        device.download(host.embedding[:n], outputs.embedding, stream)
        device.download(host.raw[:n], outputs.raw, stream)
        host.ready.record(stream)
        alive: list[object] = [outputs, *kept]

        def take() -> Outputs:
            with self.native.translated():
                host.ready.synchronize()
            alive.clear()
            # Copies: pinned memory is scarce, and a caller may keep outputs for long.
            taken = Outputs(host.embedding[:n].copy(), host.raw[:n].copy())
            with self._lock:
                self._kept.let_go()
                if len(host.raw) == self.batch_size:
                    self._free.append(host)
            return taken

        return take

    def run_device(self, pixels: Any, stream: int | None) -> DeviceOutputs:
        """Queue a batch of any length that lies on the GPU on `stream` (a handle), in parts of at most batch_size.

        None is the default stream, and that the caller does not know where the batch becomes ready. Raises InputError
        when it is no uint8 [n, 3, S, S] there, in C order, and BackendError when TensorRT or CUDA fail.
        """
        device, extension = self.native.device, self.native.extension
        if stream is None and names_no_stream(pixels):
            _log.warning(UNNAMED_STREAM)
            with self.native.translated():
                device.synchronize()
        stream = stream or 0
        if self.fused is not None:
            check_named(stream)
        try:
            view = device.take(pixels, stream)
        except extension.TensorRtError as error:
            raise InputError(f"pixels cannot be taken: {error}") from None
        self._need_pixels(view.dtype, view.shape, "on the GPU")
        n = len(view)
        with self.native.translated():
            embedding = self._buffers.array(device, (n, self._hidden), "float32", stream)
            raw = self._buffers.array(device, (n, self._heads), "float32", stream)
            ready = extension.Event(device)
            try:
                for first in range(0, n, self.batch_size):
                    part = (first, min(first + self.batch_size, n))
                    self.launch(view.rows(*part).address, embedding.rows(*part), raw.rows(*part), stream)
            finally:
                # Also after an error: what was queued until then reads the batch and writes the outputs.
                ready.record(stream)
                for array in (embedding, raw):
                    array.mark_ready(ready, stream)
                with self._lock:
                    self._kept.keep(ready, view)
        return DeviceOutputs(embedding, raw)

    def close(self) -> None:
        """Wait for what is queued, and let go the batches that it reads."""
        with self.native.translated(), self._lock:
            self._kept.clear()

    def _need_pixels(self, dtype: str, shape: Sequence[int], where: str) -> None:
        side = self._size
        if dtype != "uint8" or len(shape) != 4 or tuple(shape[1:]) != (3, side, side):
            raise InputError(
                f"pixels are {dtype} {list(shape)}; expected uint8 [n, 3, {side}, {side}] {where} "
                "(the engine normalises by itself)"
            )

    def run_all(self, pixels: UInt8Array, size: int) -> tuple[Float32Array, Float32Array]:
        """(embedding, raw) of any number of host pixels, in batches of `size`."""
        parts = [self.submit(pixels[i : i + size])() for i in range(0, len(pixels), size)]
        return np.concatenate([p.embedding for p in parts]), np.concatenate([p.raw for p in parts])

    def launch(self, pixels: int, embedding: Any, raw: Any, stream: int) -> None:
        """Queue one batch of at most batch_size rows, which lie at the address `pixels` on the GPU. Allocates nothing.

        embedding [n, D] and raw [n, H] are float32 arrays of the extension and are written.
        """
        places = {"embedding": embedding.address, "raw": raw.address}
        self.engine.run(pixels, len(raw), [places[name] for name in self._outputs], stream)
        if self.fused is not None:
            self.fused.score(embedding, raw, stream)
