"""Which GPU there is and what it can do, or why none can be used. PyTorch is not imported where there is no driver."""

import importlib.util
import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from .driver import open_driver
from .errors import BackendError
from .optional import need

# bf16 matrix units: Ampere and newer. FP8 (e4m3) ones: Ada (8.9), Hopper (9.0) and newer.
CAPABILITY_BF16 = (8, 0)
CAPABILITY_FP8 = (8, 9)
# Handles that CUDA itself gives to the default streams.
LEGACY_DEFAULT, PER_THREAD_DEFAULT = 1, 2
# What to do about an engine that does not fit.
SMALLER = "use a smaller batch size (--batch-size)"
MIN_TORCH, MIN_TRITON = (2, 11), (3, 6)
_INSTALL = "pip install 'emonet-fast[gpu]'"
NEEDS = (
    f"an NVIDIA GPU of compute capability {CAPABILITY_BF16[0]}.{CAPABILITY_BF16[1]} or newer "
    f"({CAPABILITY_FP8[0]}.{CAPABILITY_FP8[1]} for FP8), PyTorch {MIN_TORCH[0]}.{MIN_TORCH[1]} with CUDA and "
    f"Triton {MIN_TRITON[0]}.{MIN_TRITON[1]} or newer: {_INSTALL}; and for Triton a C compiler and Python's headers"
)


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that can be used.

    Args:
        index: N of cuda:N.
        name: as the driver gives it.
        capability: (major, minor) compute capability.
        memory: bytes, all of it.
    """

    index: int
    name: str
    capability: tuple[int, int]
    memory: int

    @property
    def fp8(self) -> bool:
        return self.capability >= CAPABILITY_FP8


@dataclass(frozen=True, slots=True)
class NoGpu:
    """Why no GPU can be used.

    Args:
        reason: for people.
        hardware: True where a driver is there, so that a person may expect the GPU to work.
    """

    reason: str
    hardware: bool


def look(device: str = "cuda") -> Gpu | NoGpu:
    """Find the GPU that "cuda", "cuda:N" or "auto" means.

    PyTorch is imported only where there is an NVIDIA driver and PyTorch is new enough: on a machine without a GPU this
    must cost nothing. It makes no CUDA context: a process that only starts others must not take a part of the GPU, nor
    all of it in exclusive mode.
    """
    if not driver_present():
        return NoGpu("no NVIDIA driver was found on this machine", hardware=False)
    for package, lowest in (("torch", MIN_TORCH), ("triton", MIN_TRITON)):
        fault = _too_old(package, lowest)
        if fault:
            return NoGpu(fault, hardware=True)
    torch = need("torch", "the GPU engine")
    if torch.version.cuda is None:
        return NoGpu(f"PyTorch {torch.__version__} is built without CUDA; expected a CUDA build", hardware=True)
    if not torch.cuda.is_available():
        return NoGpu("PyTorch finds no GPU that it can use (driver too old, or none visible)", hardware=True)
    index = int(device.partition(":")[2] or torch.cuda.current_device())
    count = torch.cuda.device_count()
    if index >= count:
        return NoGpu(f"device cuda:{index} does not exist; this machine has cuda:0 to cuda:{count - 1}", hardware=True)
    capability = torch.cuda.get_device_capability(index)
    name = torch.cuda.get_device_name(index)
    if capability < CAPABILITY_BF16:
        return NoGpu(
            f"cuda:{index} ({name}) has compute capability {capability[0]}.{capability[1]}; "
            f"expected {CAPABILITY_BF16[0]}.{CAPABILITY_BF16[1]} or newer",
            hardware=True,
        )
    return Gpu(index, name, capability, int(torch.cuda.get_device_properties(index).total_memory))


def torch_uses(index: int) -> bool:
    """Whether PyTorch is installed and can use the GPU cuda:`index`. Triton is not needed for that."""
    if not driver_present() or _too_old("torch", MIN_TORCH):
        return False
    cuda = need("torch", "the GPU engine").cuda
    return bool(cuda.is_available()) and index < cuda.device_count()


def free_memory(index: int) -> int:
    """Bytes that are free on the GPU now. This makes a CUDA context on it."""
    return int(need("torch", "the GPU engine").cuda.mem_get_info(index)[0])


def driver_present() -> bool:
    """Whether NVIDIA's driver library can be opened."""
    try:
        open_driver()
    except OSError:
        return False
    return True


def check_memory(gpu: Gpu, needed: int, what: str, advice: str) -> None:
    """Check that the GPU has `needed` bytes free for `what`, else raise BackendError.

    `advice` tells what to do beside freeing memory.
    """
    free = free_memory(gpu.index)
    if free < needed:
        raise BackendError(
            f"cuda:{gpu.index} ({gpu.name}) has {free / 1e9:.1f} GB of {gpu.memory / 1e9:.1f} GB free; {what} "
            f"needs {needed / 1e9:.1f} GB: {advice}, or free memory on the GPU"
        )


def _too_old(package: str, lowest: tuple[int, int]) -> str:
    """What is wrong with an installed package's version; "" where it is new enough."""
    if importlib.util.find_spec(package) is None:
        return f"the package '{package}' is not installed: {_INSTALL}"
    try:
        installed = version(package)
    except PackageNotFoundError:
        return f"the package '{package}' has no version: {_INSTALL}"
    if numbers_of(installed) < lowest:
        return f"{package} {installed} is installed; expected {lowest[0]}.{lowest[1]} or newer: {_INSTALL}"
    return ""


def numbers_of(version: str) -> tuple[int, ...]:
    """(major, minor) of a version's text."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


def choose_precision(gpu: Gpu, precision: str) -> str:
    """Choose the precision: "auto" takes bf16. Raises BackendError when fp8 is asked of a GPU without it."""
    if precision == "fp8" and not gpu.fp8:
        raise BackendError(
            f"precision fp8 was asked for, but {gpu.name} (compute capability {gpu.capability[0]}."
            f"{gpu.capability[1]}) has no FP8 matrix units (8.9 or newer); use 'bf16' or 'auto'"
        )
    return "bf16" if precision == "auto" else precision


def named_stream(handle: int, device: Any) -> Any:
    """The torch stream of a CUDA stream's handle; 0 and 1 both mean the default stream."""
    cuda = need("torch", "the GPU engine").cuda
    return cuda.default_stream(device) if handle in (0, LEGACY_DEFAULT) else cuda.ExternalStream(handle, device)
