"""The one door for packages that may be missing, or that would send something home when they are imported."""

import importlib
import importlib.util
import sys
from types import ModuleType

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
