"""Builds the C++ extensions: the JPEG cutter anywhere on Linux, TensorRT's where its headers are.

Says in one line of each whether it did and why not, and never fails the installation: the package works without them.
EMONET_FAST_EXTENSIONS names those to try (`jpeg,tensorrt`, the default; empty for none, which makes a wheel for any
machine). Everything else is in pyproject.toml.

TENSORRT_INCLUDE_DIR and CUDA_INCLUDE_DIR name the headers' folders; without them the usual places are searched.
"""

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
FLAGS = ["-std=c++17", "-fvisibility=hidden", "-g0", "-Wall", "-Wextra"]


def files(folder: str, ending: str) -> list[str]:
    """The files of csrc/`folder`, as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc" / folder).glob(f"*.{ending}"))


def made(folder: str, headers: list[Path]) -> Extension:
    """emonet_fast._`folder` from csrc/`folder`. headers: folders of other people's."""
    import pybind11

    # As system headers: their own deprecation warnings are not ours.
    system = [flag for headers_folder in headers for flag in ("-isystem", str(headers_folder))]
    return Extension(
        f"emonet_fast._{folder}",
        files(folder, "cpp"),
        include_dirs=[pybind11.get_include()],
        depends=files(folder, "h"),
        extra_compile_args=[*FLAGS, *system],
        extra_link_args=["-ldl"],
        language="c++",
        optional=True,
    )


def places(variable: str, usual: list[Path]) -> list[Path]:
    """The folder that an environment variable names, alone; else the usual ones that exist."""
    asked = os.environ.get(variable)
    return [Path(asked).expanduser()] if asked else [folder for folder in usual if folder.is_dir()]


def tensorrt_places() -> list[Path]:
    """Where the SDK's packages and archives put NvInfer.h."""
    machine = sysconfig.get_config_var("MULTIARCH") or "x86_64-linux-gnu"
    usual = [Path("/usr/include") / machine, Path("/usr/include"), Path("/usr/local/tensorrt/include")]
    for parent in (Path("/usr/local"), Path("/opt"), Path.home()):
        usual += sorted(parent.glob("TensorRT-*/include"), reverse=True)
    return places("TENSORRT_INCLUDE_DIR", usual)


def cuda_places() -> list[Path]:
    """Where CUDA's toolkit and its wheels put cuda_runtime_api.h, which TensorRT's headers include."""
    site = Path(sysconfig.get_path("purelib"))
    home = os.environ.get("CUDA_HOME", "/usr/local/cuda")
    usual = [Path(home) / "include", *sorted(site.glob("nvidia/cu1*/include"), reverse=True)]
    return places("CUDA_INCLUDE_DIR", [*usual, site / "nvidia" / "cuda_runtime" / "include", Path("/usr/include")])


def find(folders: list[Path], header: str) -> Path | None:
    """The first folder that holds the header."""
    return next((folder for folder in folders if (folder / header).is_file()), None)


def missing() -> str | None:
    """What all extensions need and is not there."""
    if not sys.platform.startswith("linux"):
        return f"only on Linux, this is {sys.platform}"
    try:
        import pybind11  # noqa: F401
    except ImportError:
        return "pybind11 is not installed"
    return None


def tensorrt() -> tuple[Extension | None, str]:
    """The extension to build, or None; and the reason in a few words."""
    reason = missing()
    if reason is not None:
        return None, reason
    headers = find(tensorrt_places(), "NvInfer.h")
    if headers is None or not (headers / "NvOnnxParser.h").is_file():
        name = "NvInfer.h" if headers is None else "NvOnnxParser.h"
        return None, f"no TensorRT headers ({name}) found; set TENSORRT_INCLUDE_DIR (docs/tensorrt.md)"
    cuda = find([headers, *cuda_places()], "cuda_runtime_api.h")
    if cuda is None:
        return None, "TensorRT headers found, but not CUDA's cuda_runtime_api.h; set CUDA_INCLUDE_DIR"
    return made("tensorrt", [headers, cuda]), f"with the headers of {headers}"


def jpeg() -> tuple[Extension | None, str]:
    """As tensorrt()."""
    reason = missing()
    return (made("jpeg", []), "faster boxes of large JPEGs") if reason is None else (None, reason)


class Build(build_ext):
    """Says what became of the extensions."""

    def build_extension(self, ext: Extension) -> None:
        name = ext.name.rpartition("_")[2]
        try:
            super().build_extension(ext)
        except Exception as error:  # a compiler that is missing or fails in any way must not end the installation
            say(name, False, f"the compiler failed: {error}")
            return
        say(name, True, FOUND[name][1])


def say(name: str, built: bool, reason: str) -> None:
    print(f"emonet-fast: {NAMES[name]} {'built' if built else 'not built'}: {reason}", file=sys.stderr)


NAMES = {"tensorrt": "TensorRT extension", "jpeg": "JPEG cutter"}
WANTED = os.environ.get("EMONET_FAST_EXTENSIONS", ",".join(NAMES)).split(",")
MAKERS = {"tensorrt": tensorrt, "jpeg": jpeg}
FOUND = {name: make() if name in WANTED else (None, "not in EMONET_FAST_EXTENSIONS") for name, make in MAKERS.items()}
for name, (extension, reason) in FOUND.items():
    if extension is None:
        say(name, False, reason)
setup(
    packages=[*find_packages(include=["emonet_fast", "emonet_fast.*"]), "emonet_fast.kernels"],
    ext_modules=[found for found, _ in FOUND.values() if found is not None],
    cmdclass={"build_ext": Build},
)
