"""Picks the backend for the options of a user, and says why."""

import logging
from dataclasses import dataclass, replace

from ..checkpoint.spec import Checkpoint
from ..errors import BackendError
from ..gpu import NoGpu, look
from ..options import Options
from .base import Backend

_log = logging.getLogger("emonet_fast")


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """Which backend is used.

    Args:
        backend: "openvino", "cuda" or "tensorrt".
        reason: one sentence for people.
        notable: True where a person may have expected another choice.
    """

    backend: str
    reason: str
    notable: bool = False


def choose(options: Options) -> BackendChoice:
    """Choose the backend for these options.

    Raises BackendError when a device or backend that is named cannot be used, when the two contradict each other, or
    when the device lacks the precision.
    """
    options = _by_name(options)
    gpu = options.backend in ("cuda", "tensorrt")
    if options.backend != "auto" and gpu != (options.device != "cpu") and options.device != "auto":
        raise BackendError(
            f"backend {options.backend!r} does not run on device {options.device!r}; "
            f"expected device {'cuda or auto' if gpu else 'cpu or auto'}"
        )
    if options.backend == "tensorrt":
        return _gpu(options, BackendChoice("tensorrt", "TensorRT: asked for"))
    if options.backend == "openvino":
        return _cpu(options, "backend openvino was asked for")
    if options.device == "cpu":
        return _cpu(options, "asked for")
    there = look(options.device)
    if not isinstance(there, NoGpu):
        why = "asked for" if options.device != "auto" else "there is one"
        return _gpu(options, BackendChoice("cuda", f"GPU cuda:{there.index} ({there.name}): {why}"))
    if options.device != "auto":
        raise BackendError(
            f"device {options.device!r} was asked for, but {there.reason}; use device 'cpu' or 'auto' "
            "(`emonet-fast doctor` says what this machine has)"
        )
    return _cpu(options, there.reason, notable=there.hardware)


def _by_name(options: Options) -> Options:
    """Make device "auto" a GPU where backend cuda is named: it must never fall back to the CPU."""
    return replace(options, device="cuda") if options.backend == "cuda" and options.device == "auto" else options


def _gpu(options: Options, choice: BackendChoice) -> BackendChoice:
    if options.precision == "int8":
        raise BackendError(
            f"precision int8 is for the CPU, and the engine would run on a GPU ({choice.reason}); "
            "use 'fp8', 'bf16' or 'auto', or device 'cpu'"
        )
    return choice


def _cpu(options: Options, why: str, *, notable: bool = False) -> BackendChoice:
    if options.precision == "fp8":
        raise BackendError(
            f"precision fp8 needs an NVIDIA GPU, and the engine would run on the CPU ({why}); "
            "use 'fp32', 'bf16', 'int8' or 'auto'"
        )
    return BackendChoice("openvino", f"CPU by OpenVINO: {why}", notable)


def precisions_of(backend: str, device: str = "auto") -> tuple[str, ...]:
    """The precisions that this machine computes in by a backend, the slowest first; none where it cannot be used."""
    if backend == "openvino":
        from .openvino.engine import capabilities

        able = capabilities()
        return ("fp32", *(name for name in ("bf16", "int8") if name.upper() in able))
    if backend == "tensorrt":
        from .tensorrt.libraries import look as look_for_libraries

        libraries = look_for_libraries()
        return () if isinstance(libraries, NoGpu) else ("bf16", "fp8") if libraries.gpu.fp8 else ("bf16",)
    gpu = look(device)
    return () if isinstance(gpu, NoGpu) else ("fp32", "bf16", "fp8") if gpu.fp8 else ("fp32", "bf16")


def open_backend(checkpoint: Checkpoint, options: Options, pictures: int | None = 1) -> Backend:
    """Open the chosen backend. It compiles an engine where none is stored.

    pictures: see Scorer.open.

    With device "auto" the CPU is used where the GPU has too little memory, and the log says so once. Raises
    BackendError: see `choose` and the backend itself.
    """
    options = _by_name(options)
    choice = choose(options)
    if choice.backend != "openvino" and options.streams != "auto":
        raise BackendError(f"streams {options.streams} was asked for, and the engine runs on a GPU, which has none")
    if choice.backend == "tensorrt":
        from .tensorrt.backend import TensorRtBackend

        return TensorRtBackend(
            checkpoint,
            options.device,
            options.precision,
            options.batch_size,
            options.cache_dir,
            trust_engine=options.trust_engine,
        )
    if choice.backend == "cuda":
        from .cuda.backend import CudaBackend

        try:
            return CudaBackend(checkpoint, options.device, options.precision, options.batch_size, options.cache_dir)
        except BackendError as error:
            if options.device != "auto":
                raise
            choice = _cpu(options, str(error), notable=True)
    if options.device == "auto" and options.backend == "auto":
        # Once for each scorer; a warning only where a GPU is there that a person may have counted on.
        level = logging.WARNING if choice.notable else logging.INFO
        _log.log(level, "device 'auto' takes the CPU: %s", choice.reason.removeprefix("CPU by OpenVINO: "))
    from .openvino.backend import OpenVinoBackend
    from .openvino.settle import settle
    from .openvino.streams import auto_streams

    settled = settle(checkpoint, options)
    streams = options.streams if isinstance(options.streams, int) else auto_streams(options.threads, pictures)
    return OpenVinoBackend(
        checkpoint,
        settled.precision,
        options.batch_size,
        options.threads,
        streams,
        cache_dir=options.cache_dir,
        recipe=settled.recipe,
        proof=settled.proof,
    )


def open_heads(checkpoint: Checkpoint, options: Options) -> Backend:
    """Open the heads alone, for stored embeddings: in float32 on the CPU, whatever the encoder computed in.

    Raises BackendError when another device or precision is asked for by name.
    """
    asked = {"device": ("auto", "cpu"), "backend": ("auto", "openvino"), "precision": ("auto", "fp32")}
    for name, known in asked.items():
        if getattr(options, name) not in known:
            raise BackendError(
                f"{name} {getattr(options, name)!r} was asked for, and stored embeddings are scored by the heads "
                f"alone, in float32 on the CPU; expected {' or '.join(known)}"
            )
    from .openvino.heads import HeadsBackend

    return HeadsBackend(checkpoint, options.batch_size, options.threads, cache_dir=options.cache_dir)
