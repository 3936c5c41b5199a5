"""Where TensorRT, the driver and our extension are, or what is missing."""

import importlib
import importlib.util
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import BackendError
from ...gpu import CAPABILITY_BF16, Gpu, NoGpu

_log = logging.getLogger("emonet_fast.tensorrt")

NEEDS = (
    "an NVIDIA GPU of compute capability 8.0 or newer (8.9 for FP8), TensorRT 10.13 or newer, or 11 "
    "(pip install 'emonet-fast[tensorrt]'), and the extension built with TensorRT's headers: docs/tensorrt.md"
)
_EXTENSION = "emonet_fast._tensorrt"
# The folders of libraries of TensorRT's wheels. The lean one can run engines, but not build them.
_PACKAGES = ("tensorrt_libs", "tensorrt_lean_libs")


@dataclass(frozen=True, slots=True)
class Libraries:
    """The extension module, and the files to open. The first of each that can be opened is used.

    Args:
        extension: the module emonet_fast._tensorrt.
        driver: NVIDIA's driver.
        nvinfer: TensorRT's runtime.
        parser: TensorRT's ONNX parser.
    """

    extension: Any
    driver: tuple[str, ...]
    nvinfer: tuple[str, ...]
    parser: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Native:
    """What was opened.

    Args:
        extension: the module emonet_fast._tensorrt.
        tensorrt: an extension.TensorRt.
        device: an extension.Device, one GPU.
    """

    extension: Any
    tensorrt: Any
    device: Any

    @property
    def version(self) -> str:
        return ".".join(map(str, self.tensorrt.version))

    @property
    def gpu(self) -> Gpu:
        """The GPU as the rest of the package knows it."""
        _, total = self.device.memory()
        return Gpu(self.device.index, self.device.name, tuple(self.device.capability), total)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn the extension's errors into BackendError."""
        try:
            yield
        except self.extension.TensorRtError as error:
            raise BackendError(str(error)) from None


def find() -> Libraries:
    """Find the extension and TensorRT's libraries: those of its wheels, then those of the system.

    Raises BackendError when the extension was not built.
    """
    if importlib.util.find_spec(_EXTENSION) is None:
        raise BackendError(
            "the TensorRT extension is not part of this installation: it is built where TensorRT's headers are found "
            "(docs/tensorrt.md says how)"
        )
    extension = importlib.import_module(_EXTENSION)
    major = extension.header_version[0]
    nvinfer, parser = [], []
    for package in _PACKAGES:
        for folder in _folders(package):
            nvinfer += sorted(map(str, folder.glob("libnvinfer.so.*"))) + sorted(
                map(str, folder.glob("libnvinfer_lean.so.*"))
            )
            parser += sorted(map(str, folder.glob("libnvonnxparser.so.*")))
    return Libraries(
        extension,
        ("libcuda.so.1",),
        (*nvinfer, f"libnvinfer.so.{major}", f"libnvinfer_lean.so.{major}"),
        (*parser, f"libnvonnxparser.so.{major}"),
    )


def open_native(libraries: Libraries, device: str) -> Native:
    """Open the driver, the GPU ("auto", "cuda" or "cuda:N") and TensorRT.

    The driver comes first: on a machine without a GPU, TensorRT would crash. Raises BackendError when there is no
    driver, no such GPU or no TensorRT, or one that does not fit; the text names it.
    """
    extension = libraries.extension
    try:
        gpu = extension.Device(extension.Cuda(list(libraries.driver)), int(device.partition(":")[2] or 0))
        tensorrt = extension.TensorRt(list(libraries.nvinfer), list(libraries.parser))
    except extension.TensorRtError as error:
        raise BackendError(f"TensorRT cannot be used: {error}") from None
    native = Native(extension, tensorrt, gpu)
    capability = native.gpu.capability
    if capability < CAPABILITY_BF16:
        raise BackendError(
            f"cuda:{gpu.index} ({gpu.name}) has compute capability {capability[0]}.{capability[1]}; expected "
            f"{CAPABILITY_BF16[0]}.{CAPABILITY_BF16[1]} or newer"
        )
    return native


def look(device: str = "cuda") -> Native | NoGpu:
    """Open everything, or say why it cannot be opened; for `doctor`."""
    try:
        return open_native(find(), device)
    except BackendError as error:
        return NoGpu(re.sub(r"\s+", " ", str(error)), hardware=False)


def to_logging(level: int, message: str) -> None:
    """Put TensorRT's messages into Python's logging. What TensorRT calls information is detail here."""
    _log.log(min(level, logging.DEBUG) if level <= logging.INFO else level, "%s", message)


def _folders(package: str) -> list[Path]:
    """The folder of an installed package, which is not imported: its __init__ would load every library."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return []
    return [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
