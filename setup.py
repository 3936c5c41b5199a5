"""Builds the C++ extension for TensorRT where TensorRT's headers are; without them the wheel is pure Python.

Says in one line whether it did and why not, and never fails the installation: the package works without the extension.
TENSORRT_INCLUDE_DIR and CUDA_INCLUDE_DIR name the headers' folders; without them the usual places are searched.
Everything else is in pyproject.toml.
"""

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
FLAGS = ["-std=c++17", "-fvisibility=hidden", "-g0", "-Wall", "-Wextra"]


def extension(headers: list[Path]) -> Extension:
    """emonet_fast._tensorrt from csrc/tensorrt. headers: the folders of TensorRT's and CUDA's headers."""
    import pybind11

    # As system headers: their own deprecation warnings are not ours.
    system = [flag for folder in headers for flag in ("-isystem", str(folder))]
    return Extension(
        "emonet_fast._tensorrt",
        sources("cpp"),
        include_dirs=[pybind11.get_include()],
        depends=sources("h"),
        extra_compile_args=[*FLAGS, *system],
        extra_link_args=["-ldl"],
        language="c++",
        optional=True,
    )


def sources(ending: str) -> list[str]:
    """The files of csrc/tensorrt with that ending, relative to this folder as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc" / "tensorrt").glob(f"*.{ending}"))


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


def tensorrt() -> tuple[Extension | None, str]:
    """The extension to build, or None; and the reason in a few words."""
    if not sys.platform.startswith("linux"):
        return None, f"only on Linux, this is {sys.platform}"
    try:
        import pybind11  # noqa: F401
    except ImportError:
        return None, "pybind11 is not installed"
    headers = find(tensorrt_places(), "NvInfer.h")
    if headers is None or not (headers / "NvOnnxParser.h").is_file():
        name = "NvInfer.h" if headers is None else "NvOnnxParser.h"
        return None, f"no TensorRT headers ({name}) found; set TENSORRT_INCLUDE_DIR (docs/tensorrt.md)"
    cuda = find([headers, *cuda_places()], "cuda_runtime_api.h")
    if cuda is None:
        return None, "TensorRT headers found, but not CUDA's cuda_runtime_api.h; set CUDA_INCLUDE_DIR"
    return extension([headers, cuda]), f"with the headers of {headers}"


def say(built: bool, reason: str) -> None:
    print(f"emonet-fast: TensorRT extension {'built' if built else 'not built'}: {reason}", file=sys.stderr)


EXTENSION, REASON = tensorrt()


class Build(build_ext):
    """Says what became of the extension."""

    def build_extension(self, ext: Extension) -> None:
        try:
            super().build_extension(ext)
        except Exception as error:  # a compiler that is missing or fails in any way must not end the installation
            say(False, f"the compiler failed: {error}")
            return
        say(True, REASON)


if EXTENSION is None:
    say(False, REASON)
setup(
    packages=[*find_packages(include=["emonet_fast", "emonet_fast.*"]), "emonet_fast.kernels"],
    ext_modules=[] if EXTENSION is None else [EXTENSION],
    cmdclass={"build_ext": Build},
)
