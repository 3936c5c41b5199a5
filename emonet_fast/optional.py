"""The one door for packages that may be missing: names the extra that installs them."""

import importlib
import importlib.util
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
}


def available(package: str) -> bool:
    """Whether `package` could be imported, without importing it (of "a.b", only "a" is imported)."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of "a.b", there is no "a"
        return False


def need(package: str, purpose: str) -> ModuleType:
    """Import an optional package. purpose: what needs it, for the text of the MissingPackageError."""
    if not available(package):
        extra = EXTRAS[package if package in EXTRAS else package.split(".")[0]]
        raise MissingPackageError(
            f"{purpose} needs the package '{package}', which is not installed. "
            f"Install it with: pip install 'emonet-fast[{extra}]'"
        )
    return importlib.import_module(package)
