"""Picks the backend for the asked device and says why."""

from dataclasses import dataclass

from ..checkpoint.spec import Checkpoint
from ..errors import BackendError
from ..options import Options
from .base import Backend


@dataclass(frozen=True, slots=True)
class Choice:
    """backend: its name. reason: one sentence for people."""

    backend: str
    reason: str


def choose(options: Options) -> Choice:
    """Which backend serves these options.

    Raises:
        BackendError: the device was asked for by name and no backend of this version can use it.
    """
    if options.device.startswith("cuda"):
        raise BackendError(
            f"device {options.device!r} was asked for, but this version has no GPU backend yet; "
            "use device 'cpu' or 'auto'"
        )
    why = "asked for" if options.device == "cpu" else "the only backend of this version"
    return Choice("openvino", f"CPU by OpenVINO: {why}")


def open_backend(checkpoint: Checkpoint, options: Options) -> Backend:
    """Open the chosen backend; compiles an engine where none is stored.

    Raises:
        BackendError: see `choose` and the backend itself.
    """
    choose(options)
    from .openvino_cpu import OpenVinoBackend

    return OpenVinoBackend(
        checkpoint, options.precision, options.batch_size, options.threads, cache_dir=options.cache_dir
    )
