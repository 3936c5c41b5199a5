"""The `tensorrt` backend: a stored or newly built engine behind the Backend contract; works without PyTorch."""

import logging
from collections.abc import Callable
from pathlib import Path

from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache
from ...errors import BackendError
from ...gpu import Gpu, choose_precision
from ...records import UInt8Array
from ..base import Outputs
from .build import Progress, Report, build, plan_for
from .heads import FusedHeads, choose_heads
from .libraries import Libraries, Native, find, open_native
from .runner import DeviceOutputs, Runner

_log = logging.getLogger("emonet_fast")

DEFAULT_BATCH = 64
# One engine holds a profile for each; a size more costs a build of its own, and padding costs at most this step.
SIZES = (1, 8)


class TensorRtBackend:
    """One engine on one GPU. Thread-safe.

    trust_engine: an engine's file that is loaded as it is, wherever it comes from: engines are programs, and this one
    then runs with the rights of this process. progress: told what a build does.
    libraries: what to open, None for what this machine has. heads: "triton" (our kernel behind the engine, on its
    stream), "graph" (the engine's own), "auto": Triton's where PyTorch with CUDA and Triton are installed.

    Raises:
        BackendError: no extension, TensorRT or GPU; a precision that this GPU lacks; an engine that cannot be built or
            misses its bars.
    """

    name = "tensorrt"
    # Batches worth having under way: the copy of one overlaps with the work of the one before.
    depth = 1

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str,
        precision: str,
        batch_size: int | None,
        cache_dir: Path,
        *,
        trust_engine: Path | None = None,
        progress: Progress | None = None,
        libraries: Libraries | None = None,
        heads: str = "auto",
    ) -> None:
        native = open_native(libraries or find(), device)
        self.precision = precision_for(native.gpu, precision)
        self.batch_size = batch_size or DEFAULT_BATCH
        self.report: Report | None = None
        sizes = sizes_up_to(self.batch_size)
        self.heads = choose_heads(heads, native.gpu.index)
        fused = None
        if self.heads == "triton":
            fused = FusedHeads(checkpoint, native.gpu.index, self.batch_size, sizes)
        blob = (
            _trusted(trust_engine)
            if trust_engine is not None
            else self._engine(native, checkpoint, cache_dir, progress, fused)
        )
        self._runner: Runner | None = Runner(native, blob, checkpoint, self.batch_size, self.depth + 1, fused)

    def _engine(
        self,
        native: Native,
        checkpoint: Checkpoint,
        cache_dir: Path,
        progress: Progress | None,
        fused: FusedHeads | None,
    ) -> bytes:
        """The stored engine, or a new one."""
        plan = plan_for(native, checkpoint, self.precision, sizes_up_to(self.batch_size), self.heads)
        blob = EngineCache(cache_dir / "engines").load(plan)
        if blob is None:
            _log.info("building an engine by TensorRT, which takes minutes (once): %s", plan)
            blob, self.report = build(native, checkpoint, plan, cache_dir, progress, fused)
        return blob

    @property
    def runner(self) -> Runner:
        if self._runner is None:
            raise BackendError("this engine was closed; open the scorer again")
        return self._runner

    def run(self, pixels: UInt8Array) -> Outputs:
        """See Backend.run."""
        return self.submit(pixels)()

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        """See Backend.submit."""
        return self.runner.submit(pixels)

    def run_device(self, pixels: object, stream: object = None) -> DeviceOutputs:
        """Score a batch [n, 3, S, S] uint8 that lies on the GPU (C order, n free), and return as soon as it is queued.

        pixels: anything with __dlpack__ or __cuda_array_interface__ (CuPy, PyCUDA, DALI, PyTorch). stream: a CUDA
        stream, or its handle, None for the default one. The outputs are ready on that stream, as arrays with
        __dlpack__ and __cuda_array_interface__.

        Raises:
            InputError: not such a batch. BackendError: the stream is capturing a graph, or memory ran out.
        """
        return self.runner.run_device(pixels, stream_handle(stream))

    def run_to_host(self, pixels: object, stream: object = None) -> Outputs:
        """As run_device, waits, and gives the outputs on the host."""
        return self.runner.run_to_host(pixels, stream_handle(stream))

    def place(self) -> tuple[int, int]:
        """See DeviceBackend.place."""
        return self.runner.native.gpu.index, self.runner.stream

    def submit_device(self, pixels: object) -> Callable[[], Outputs]:
        """See DeviceBackend.submit_device."""
        return self.runner.submit_device(pixels)

    def close(self) -> None:
        """See Backend.close. Gives all GPU memory back."""
        self._runner = None


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """The batch sizes of an engine whose largest is `largest`."""
    return (*(size for size in SIZES if size < largest), largest)


def precision_for(gpu: Gpu, asked: str) -> str:
    """The precision to use: "auto" takes bf16.

    Raises:
        BackendError: fp8 on a GPU without it, or fp32, which this backend does not have.
    """
    if asked == "fp32":
        raise BackendError("backend tensorrt has precision 'bf16' and 'fp8'; for fp32 use backend 'cuda' or 'openvino'")
    return choose_precision(gpu, asked)


def stream_handle(stream: object) -> int:
    """The handle of a CUDA stream: of an object with cuda_stream (PyTorch), ptr (CuPy), handle (PyCUDA) or
    __cuda_stream__ (cuda-python), or a number; None is the default stream, 0.

    Raises:
        BackendError: it is none of these.
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


def _trusted(path: Path) -> bytes:
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise BackendError(f"the engine {path} cannot be read: {error.strerror or error}") from None
    _log.warning("the engine %s is loaded on trust: it is a program, and its fidelity is not checked", path)
    return blob
