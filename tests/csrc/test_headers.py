"""What setup.py does and says: with headers, without, with a compiler that fails; and the sources for TensorRT 10."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .building import FAKE, PLAIN, ROOT, SOURCES, compiler

pytestmark = pytest.mark.skipif(compiler() is None, reason="g++ is not installed")

NAMES = ("TENSORRT_INCLUDE_DIR", "CUDA_INCLUDE_DIR", "CUDA_HOME")


def build(folder: Path, **changes: str) -> tuple[str, list[Path]]:
    """What setup.py said of TensorRT's extension, and what it made."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES} | changes
    command = [sys.executable, "setup.py", "-q", "build_ext", "--build-lib", str(folder)]
    command += ["--build-temp", str(folder / "temp")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("emonet-fast: TensorRT extension")]
    return line, list(folder.glob("emonet_fast/*"))


def test_without_headers_it_says_why(tmp_path):
    line, made = build(tmp_path / "out", TENSORRT_INCLUDE_DIR=str(tmp_path))
    assert line == (
        "emonet-fast: TensorRT extension not built: no TensorRT headers (NvInfer.h) found; "
        "set TENSORRT_INCLUDE_DIR (docs/tensorrt.md)"
    )
    assert made == []


def test_a_header_that_is_missing_is_named(tmp_path):
    (tmp_path / "NvInfer.h").touch()
    assert "(NvOnnxParser.h)" in build(tmp_path / "out", TENSORRT_INCLUDE_DIR=str(tmp_path))[0]
    (tmp_path / "NvOnnxParser.h").touch()
    line, _ = build(tmp_path / "out", TENSORRT_INCLUDE_DIR=str(tmp_path), CUDA_INCLUDE_DIR=str(tmp_path / "none"))
    assert line.endswith("but not CUDA's cuda_runtime_api.h; set CUDA_INCLUDE_DIR")


def test_a_compiler_that_fails_does_not_end_the_installation(tmp_path):
    line, made = build(tmp_path, TENSORRT_INCLUDE_DIR=str(FAKE / "include"), CXX="false", CC="false")
    assert "not built: the compiler failed" in line
    assert made == []


@pytest.mark.parametrize("name", ["library", "builder"])
def test_one_source_serves_tensorrt_10_too(name):
    flags = [*PLAIN, "-fsyntax-only", "-DFAKE_TENSORRT_MAJOR=10", f"-I{FAKE / 'include'}"]
    done = subprocess.run(["g++", *flags, str(SOURCES / f"{name}.cpp")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_no_warning_with_the_real_headers(tmp_path):
    """Where TensorRT's and CUDA's headers are on this machine, whichever version."""
    given = {name: os.environ[name] for name in NAMES if name in os.environ}
    line, made = build(tmp_path, CXXFLAGS="-O0 -Werror", **given)
    if "no TensorRT headers" in line or "but not CUDA's" in line:
        pytest.skip(line)
    assert made, line
    includes = [flag for folder in given.values() for flag in ("-isystem", folder)]
    numbers = Path(__file__).with_name("driver_numbers.cpp")
    command = ["g++", *PLAIN, "-fsyntax-only", *includes, f"-iquote{SOURCES}", str(numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 or "No such file" in done.stderr, done.stderr
