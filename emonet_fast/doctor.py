"""What this computer can do and why not: the text of `emonet-fast doctor`."""

import os
import platform
import shutil
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from ._version import __version__
from .backends.tensorrt import libraries as tensorrt_libraries
from .decode import FORMATS
from .errors import OptionError
from .gpu import NEEDS, NoGpu, driver_present, free_memory, look
from .optional import EXTRAS, available, import_openvino, openvino_core
from .options import default_cache_dir
from .process import available_cores, instructions

_PACKAGES = ("numpy", "openvino", "onnx", "safetensors", "pillow", "pyarrow", "huggingface_hub")
_DALI = ("nvidia-dali-cuda130", "nvidia-dali-cuda120", "nvidia-dali-cuda110")


def report() -> dict[str, Any]:
    """Facts in groups, ready for JSON: package, machine, packages, engines, decoders, optional packages, folders."""
    from huggingface_hub import constants

    return {
        "emonet_fast": __version__,
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": available_cores(),
            "memory_gb": _total_memory_gb(),
        },
        "packages": {name: _version(name) for name in _PACKAGES},
        "cpu_engine": _cpu_engine(),
        "gpu_engine": _gpu_engine(),
        "tensorrt_engine": _tensorrt_engine(),
        "decoders": _decoders(),
        "video": _video(),
        "optional": {name: _optional(name, extra) for name, extra in EXTRAS.items()},
        "folders": {
            "cache": _cache(),
            "hub_cache": str(constants.HF_HUB_CACHE),
            "hub_offline": os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"},
        },
    }


def _cache() -> str:
    try:
        return str(default_cache_dir())
    except OptionError as error:
        return f"none: {error}"


def text(facts: dict[str, Any]) -> str:
    """The report for people."""
    lines = []
    for group, content in facts.items():
        if not isinstance(content, dict):
            lines.append(f"{group} {content}")
            continue
        lines.append(f"\n{group.replace('_', ' ')}")
        lines += [f"  {key:<16} {_plain(value)}" for key, value in content.items()]
    return "\n".join(lines)


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _optional(package: str, extra: str) -> str:
    if not available(package):
        return f"not installed: pip install 'emonet-fast[{extra}]'"
    if package == "nvidia.dali":  # a package for each major version of CUDA, all imported by this name
        versions = {name: _version(name) for name in _DALI}
        found = [f"{version} ({name})" for name, version in versions.items() if version != "not installed"]
        return ", ".join(found) or "installed, of an unknown version"
    return _version("scikit-image" if package == "skimage" else package)


def _cpu_engine() -> dict[str, Any]:
    try:
        from .backends.choose import precisions_of
        from .backends.openvino.engine import capabilities, choose_precision
        from .backends.openvino.streams import auto_streams

        return {
            "available": True,
            "name": openvino_core().get_property("CPU", "FULL_DEVICE_NAME"),
            "capabilities": capabilities(),
            "instructions": instructions() or "unknown on this system",
            "precisions": list(precisions_of("openvino")),
            "precision_auto": choose_precision("auto"),
            "int8_reports": _reports() or "none: `emonet-fast calibrate -c C` makes one",
            "streams_auto": auto_streams(None, None),
        }
    except (ImportError, RuntimeError) as error:
        return {"available": False, "reason": str(error)}


def _reports() -> list[str]:
    """The last fidelity report of int8 for each checkpoint on this processor, and whether "auto" takes int8 by it."""
    from .backends.openvino.settle import processor, serves_auto
    from .engines.reports import ReportStore

    device, version = processor(), import_openvino().get_version()
    try:
        reports = ReportStore(default_cache_dir()).everything()
    except OptionError:
        return []
    last: dict[str, Any] = {}
    for report in reports:  # the newest first
        if (report.place.device, report.place.compiler) == (device, version):
            last.setdefault(report.place.weights_hash, report)
    return [
        f"{report.facts['checkpoint']} ({report.created}): {report.verdict()}, {report.speedup:.2f} times as fast as "
        f"{report.facts['engines'][0]['precision']}" + ("" if serves_auto(report) else "; auto does not take it")
        for report in last.values()
    ]


def _gpu_engine() -> dict[str, Any]:
    gpu = look()
    if isinstance(gpu, NoGpu):
        return {"available": False, "reason": gpu.reason, "needs": NEEDS}
    return {
        "available": True,
        "name": gpu.name,
        "device": f"cuda:{gpu.index}",
        "compute_capability": f"{gpu.capability[0]}.{gpu.capability[1]}",
        "memory_gb": round(gpu.memory / 1e9, 1),
        "memory_free_gb": round(free_memory(gpu.index) / 1e9, 1),
        "precisions": ["fp32", "bf16", "fp8"] if gpu.fp8 else ["fp32", "bf16"],
        "torch": _version("torch"),
        "triton": _version("triton"),
        "triton_compiler": _triton_compiler(),
    }


def _triton_compiler() -> str:
    """What Triton compiles the launcher of each kernel with when it runs, as it looks for it, or what is missing."""
    compiler = os.environ.get("CC") or shutil.which("gcc") or shutil.which("clang")
    header = Path(sysconfig.get_paths()["include"]) / "Python.h"
    missing = [] if compiler else ["a C compiler (gcc or clang, or name one by CC)"]
    if not header.is_file():
        missing.append(f"Python's header files ({header}: install python3-dev or python3-devel)")
    return f"missing: {' and '.join(missing)}" if missing else f"{compiler}, {header}"


def _decoders() -> dict[str, Any]:
    """Versions of the decoders, and what `--decoder auto` takes."""
    on_gpu = not all(isinstance(gpu, NoGpu) for gpu in (look(), tensorrt_libraries.look()))
    return {
        "pillow": _version("pillow"),
        "dali": _optional("nvidia.dali", EXTRAS["nvidia.dali"]),
        "formats": [one.name if one.readable else f"{one.name} (not read here: {one.install})" for one in FORMATS],
        "auto": "dali" if on_gpu and available("nvidia.dali") else "pillow",
    }


def _video() -> dict[str, Any]:
    """What reads video, whether it can use NVDEC and cameras, and what decodes."""
    if not available("av"):
        return {"pyav": _optional("av", EXTRAS["av"])}
    import av

    from .sources.video.opening import who_decodes

    kinds: list[str] = getattr(getattr(av.codec, "hwaccel", None), "hwdevices_available", list)()
    return {
        "pyav": _version("av"),
        "cameras": any("v4l2" in name for name in av.formats_available),
        "nvdec_built_in": "cuda" in kinds,
        "decoding": who_decodes(driver_present(), "cuda" in kinds),
    }


def _tensorrt_engine() -> dict[str, Any]:
    libraries = tensorrt_libraries.look()
    if isinstance(libraries, NoGpu):
        return {"available": False, "reason": libraries.reason, "needs": tensorrt_libraries.NEEDS}
    return {
        "available": True,
        "name": libraries.gpu.name,
        "device": f"cuda:{libraries.gpu.index}",
        "tensorrt": libraries.version,
        "library": str(libraries.tensorrt.path),
        "can_build": libraries.tensorrt.build_fault or True,
        "precisions": ["bf16", "fp8"] if libraries.gpu.fp8 else ["bf16"],
    }


def _total_memory_gb() -> float | None:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1)
    return None
