"""The `tensorrt` backend: a stored or newly built engine behind the Backend contract. It works without PyTorch.

In the order of data: libraries (what this machine has), precisions (what TensorRT's inspector says), build (network to
engine), runner (batches through an engine), heads (by our kernel where PyTorch is there), and this file.
"""

import logging
from collections.abc import Callable
from pathlib import Path

from ...checkpoint.spec import Checkpoint
from ...engines.cache import EngineCache
from ...errors import BackendError
from ...gpu import Gpu, choose_precision
from ...records import UInt8Array
from ..base import DeviceBackend, Outputs
from ..staging import DEFAULT_BATCH, DeviceOutputs, sizes_up_to, stream_handle
from .build import BuildProgress, BuildReport, build, plan_for
from .heads import FusedHeads, choose_heads
from .libraries import Libraries, find, open_native
from .runner import EngineRunner

_log = logging.getLogger("emonet_fast")

# One engine holds a profile for each of these, and for the largest batch. Another size would cost a build of its own.
SIZES = (1, 8)


class TensorRtBackend(DeviceBackend):
    """One engine on one GPU. Thread-safe.

    Args:
        checkpoint: the packed checkpoint.
        device: "auto", "cuda" or "cuda:N".
        precision: "auto", "bf16" or "fp8".
        batch_size: the largest batch; None for DEFAULT_BATCH.
        cache_dir: where engines are kept.
        trust_engine: an engine's file that is loaded as it is, wherever it comes from. Engines are programs: this one
            then runs with the rights of this process.
        progress: is called while an engine is built.
        libraries: what to open; None for what this machine has.
        heads: "triton" (our kernel behind the engine, on its stream), "graph" (the engine's own), or "auto": Triton's
            where PyTorch with CUDA and Triton are installed.

    Raises:
        BackendError: when there is no extension, TensorRT or GPU, when the GPU lacks the precision, or when the engine
            cannot be built or misses its bars.
    """

    name = "tensorrt"

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str,
        precision: str,
        batch_size: int | None,
        cache_dir: Path,
        *,
        trust_engine: Path | None = None,
        progress: BuildProgress | None = None,
        libraries: Libraries | None = None,
        heads: str = "auto",
    ) -> None:
        native = open_native(libraries or find(), device)
        self.precision = precision_for(native.gpu, precision)
        self.batch_size = batch_size or DEFAULT_BATCH
        self.report: BuildReport | None = None
        self.sizes = sizes_up_to(self.batch_size, SIZES)
        self.heads = choose_heads(heads, native.gpu.index)
        fused = None
        if self.heads == "triton":
            fused = FusedHeads(checkpoint, native.gpu.index, self.batch_size, self.sizes)
        blob = None if trust_engine is None else _trusted(trust_engine)
        if blob is None:
            plan = plan_for(native, checkpoint, self.precision, self.sizes, self.heads)
            blob = EngineCache(cache_dir / "engines").load(plan)
            if blob is None:
                _log.info("building an engine by TensorRT, which takes minutes (once): %s", plan)
                blob, self.report = build(native, checkpoint, plan, cache_dir, progress, fused)
        self._runner: EngineRunner | None = EngineRunner(
            native, blob, checkpoint, self.batch_size, self.depth + 1, fused
        )

    @property
    def runner(self) -> EngineRunner:
        if self._runner is None:
            raise BackendError("this engine was closed; open the scorer again")
        return self._runner

    def submit(self, pixels: UInt8Array) -> Callable[[], Outputs]:
        return self.runner.submit(pixels)

    def run_device(self, pixels: object, stream: object = None) -> DeviceOutputs:
        """Score a batch that lies on the GPU, and return as soon as the work is queued.

        Args:
            pixels: [n, 3, S, S] uint8 in C order, n free: anything with `__dlpack__` or `__cuda_array_interface__`
                (CuPy, PyCUDA, DALI, PyTorch).
            stream: the CUDA stream on which the batch becomes ready and the work is queued, or its handle; None for the
                default one. See stream_handle. With None and an array whose `__cuda_array_interface__` names no stream,
                as PyCUDA's, the call waits for all work on the GPU, and a warning says so.

        Raises:
            InputError: when it is no such batch, or lies in another CUDA context.
            BackendError: when the stream is capturing a graph, or memory ran out.
        """
        return self.runner.run_device(pixels, None if stream is None else stream_handle(stream))

    def queue(self, pixels: object, stream: object) -> Callable[[], Outputs]:
        return self.runner.queue(pixels, None if stream is None else stream_handle(stream))

    def place(self) -> tuple[int, int]:
        return self.runner.native.gpu.index, self.runner.stream

    def close(self) -> None:
        """Gives all GPU memory back."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()


def precision_for(gpu: Gpu, precision: str) -> str:
    """Choose the precision: "auto" takes bf16.

    Raises BackendError when fp8 is asked of a GPU without it, or fp32, which this backend does not have.
    """
    if precision == "fp32":
        raise BackendError("backend tensorrt has precision 'bf16' and 'fp8'; for fp32 use backend 'cuda' or 'openvino'")
    return choose_precision(gpu, precision)


def _trusted(path: Path) -> bytes:
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise BackendError(f"the engine {path} cannot be read: {error.strerror or error}") from None
    _log.warning("the engine %s is loaded on trust: it is a program, and its fidelity is not checked", path)
    return blob
