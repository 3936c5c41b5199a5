"""The one door for packages that may be missing, or that would send something home when they are imported."""

import importlib
import importlib.util
import os
import sys
from functools import cache
from types import ModuleType
from typing import Any

from .errors import MissingPackageError

EXTRAS = {
    "torch": "reference",
    "transformers": "reference",
    "pandas": "pandas",
    "skimage": "demo",
    "scipy": "eval",
    "matplotlib": "eval",
    "triton": "gpu",
    "nvidia.dali": "dali",
    "pyinstrument": "profile",
    "ray": "ray",
    "av": "video",
    "PyNvVideoCodec": "nvdec",
    "pillow_heif": "heif",
    "xlsxwriter": "excel",
    "openpyxl": "excel",
    "fsspec": "remote",
    "aiohttp": "remote",
    "starlette": "serve",
    "uvicorn": "serve",
    "websockets": "serve",
    "python_multipart": "serve",
    "prometheus_client": "serve",
    "httpx": "client",
    "onnxruntime": "bench",
}


def available(package: str) -> bool:
    """Whether `package` could be imported, without importing it (of "a.b", only "a" is imported)."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of "a.b", there is no "a"
        return False


def require(package: str, purpose: str) -> None:
    """Raise MissingPackageError where `package` cannot be imported, without importing it. purpose: see `need`."""
    if not available(package):
        extra = EXTRAS[package if package in EXTRAS else package.split(".")[0]]
        raise MissingPackageError(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'emonet-fast[{extra}]'"
        )


def need(package: str, purpose: str) -> ModuleType:
    """Import an optional package. purpose: what needs it, for the text of the MissingPackageError."""
    require(package, purpose)
    return importlib.import_module(package)


def import_openvino() -> ModuleType:
    """Import OpenVINO without its telemetry, which at the import sends an event with a lasting id and fills ~/intel.

    OpenVINO takes a stub of its own where the package `openvino_telemetry` cannot be imported. That stays so for the
    rest of the process: parts of OpenVINO that are imported later must find the same stub.
    """
    if "openvino" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # makes its import fail
    return importlib.import_module("openvino")


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime with its telemetry off. Raises MissingPackageError where it is not installed."""
    ort = need("onnxruntime", "running an ONNX file in ONNX Runtime")
    ort.disable_telemetry_events()
    return ort


def openvino_core() -> Any:
    """OpenVINO's core: one for this process, kept until it ends.

    The CPU plugin gives the thread that loads it a stack of its own for signals, and frees that with the last core and
    engine. If another thread drops these, the first one keeps a stack that is gone, and the next signal, a Ctrl-C,
    crashes the program (OpenVINO 2026.4).
    """
    return _core_of(os.getpid())


@cache
def _core_of(process: int) -> Any:  # a fork has none of its parent's threads, and needs a core of its own
    return import_openvino().Core()
