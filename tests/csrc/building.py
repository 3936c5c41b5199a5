"""Compiles the fakes of this folder, and the extension against them through the package's own setup.py."""

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pybind11

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).parent / "fake"
# The compiler's time is most of these tests'. Speed is measured by benchmarks/trt/overhead.py.
PLAIN = ["-std=c++17", "-O0", "-fPIC", "-fvisibility=hidden", "-Wall", "-Wextra", "-Werror"]
SANITIZED = [*PLAIN, "-g1", "-fsanitize=address", "-fno-omit-frame-pointer"]
SOURCES = ROOT / "csrc" / "tensorrt"


def compiler() -> str | None:
    """g++ where it is installed."""
    return shutil.which("g++")


def make_fakes(folder: Path) -> None:
    """The fake driver, TensorRT and ONNX parser as shared libraries in `folder`."""
    shared = [flag for flag in PLAIN if flag != "-fvisibility=hidden"] + [
        "-shared",
        f"-I{FAKE}",
        f"-I{FAKE / 'include'}",
    ]
    linked = [f"-L{folder}", "-lfake_cuda", "-Wl,-rpath,$ORIGIN"]
    _run(["g++", *shared, str(FAKE / "cuda.cpp"), "-o", str(folder / "libfake_cuda.so")])
    for name in ("nvinfer", "nvonnxparser"):
        _run(["g++", *shared, str(FAKE / f"{name}.cpp"), "-o", str(folder / f"libfake_{name}.so"), *linked])
    old = ["-DFAKE_TENSORRT_MAJOR=10", str(FAKE / "old.cpp"), "-o", str(folder / "libfake_nvinfer10.so")]
    _run(["g++", *shared, *old])


def make_extension(folder: Path, optimise: str = "-O0") -> str:
    """The extension in `folder`/emonet_fast, by setup.py; returns what that said."""
    headers = str(FAKE / "include")
    environment = os.environ | {
        "TENSORRT_INCLUDE_DIR": headers,
        "CUDA_INCLUDE_DIR": headers,
        "CXXFLAGS": f"{optimise} -Werror",
    }
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(folder)]
    return _run([*command, "--build-temp", str(folder / "temp")], environment)


def make_sanitized(folder: Path, plain: Path) -> None:
    """The extension of `plain` again in `folder`, with AddressSanitizer in all but its table of contents."""
    include = sysconfig.get_path("include")
    headers = [f"-I{include}", f"-I{FAKE / 'include'}", f"-I{pybind11.get_include()}"]
    names = sorted(path.stem for path in SOURCES.glob("*.cpp") if path.stem != "bindings")
    # the slow one first
    names.sort(key=lambda name: name != "arrays")

    def compile_one(name: str) -> str:
        target = str(folder / f"{name}.o")
        _run(["g++", *SANITIZED, *headers, "-c", str(SOURCES / f"{name}.cpp"), "-o", target])
        return target

    with ThreadPoolExecutor(2) as pool:
        objects = list(pool.map(compile_one, names))
    (folder / "emonet_fast").mkdir()
    built = next((plain / "emonet_fast").glob("_tensorrt.*.so"))
    objects.append(str(plain / "temp" / "csrc" / "tensorrt" / "bindings.o"))
    _run(["g++", "-shared", "-fsanitize=address", *objects, "-o", str(folder / "emonet_fast" / built.name), "-ldl"])
    for library in plain.glob("libfake_*.so"):
        shutil.copy(library, folder)


def _run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@dataclass(frozen=True, slots=True)
class Fakes:
    """The libraries' paths, the extension, and the functions of fake/control.h."""

    driver: str
    nvinfer: str
    parser: str
    extension: ModuleType
    control: ctypes.CDLL

    def fail(self, what: str, times: int = 1) -> None:
        self.control.fake_fail(what.encode(), times)

    def count(self, what: str) -> int:
        return int(self.control.fake_count(what.encode()))

    def story(self) -> list[str]:
        return self.control.fake_story().decode().split("\n")[:-1]

    def answer(self, pixels, *outputs) -> None:
        """From now on these pixels [3, S, S] give these float32 outputs."""
        pointers = (ctypes.c_void_p * len(outputs))(*(o.ctypes.data for o in outputs))
        sizes = (ctypes.c_size_t * len(outputs))(*(o.size for o in outputs))
        self.control.fake_answer(
            ctypes.c_void_p(pixels.ctypes.data), ctypes.c_size_t(pixels.nbytes), pointers, sizes, len(outputs)
        )


def open_fakes(folder: Path) -> Fakes:
    """What make_fakes and make_extension have left in `folder`."""
    path = next((folder / "emonet_fast").glob("_tensorrt.*.so"))
    spec = importlib.util.spec_from_file_location("emonet_fast._tensorrt", path)
    extension = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(extension)
    control = ctypes.CDLL(str(folder / "libfake_cuda.so"))
    control.fake_count.restype = ctypes.c_int64
    control.fake_story.restype = ctypes.c_char_p
    names = [str(folder / f"libfake_{name}.so") for name in ("cuda", "nvinfer", "nvonnxparser")]
    return Fakes(*names, extension, control)
