"""The tests of the extension again, compiled with AddressSanitizer, in a process that has its library loaded first."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .building import PLAIN, SOURCES, compiler
from .conftest import BUILT


@pytest.mark.skipif(compiler() is None, reason="g++ is not installed")
def test_shapes_from_outside_under_undefined_behaviour_sanitizer(tmp_path):
    source, program = Path(__file__).with_name("shapes.cpp"), tmp_path / "shapes"
    flags = [*PLAIN, "-fsanitize=undefined", "-fno-sanitize-recover=all", f"-I{SOURCES}"]
    built = subprocess.run(
        ["g++", *flags, str(source), "-o", str(program)], capture_output=True, text=True, check=False
    )
    if "cannot find" in built.stderr and "ubsan" in built.stderr:
        pytest.skip("g++ has no libubsan")
    assert built.returncode == 0, built.stderr
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_whole_body_under_address_sanitizer(sanitized_folder):
    # libstdc++ too: the sanitizer must find its exceptions when it starts, and Python itself is C.
    libraries = [_library("libasan.so"), _library("libstdc++.so.6")]
    if not all(Path(library).is_absolute() for library in libraries):
        pytest.skip("g++ has no libasan")
    environment = os.environ | {
        BUILT: str(sanitized_folder),
        "LD_PRELOAD": " ".join(libraries),
        # Python itself frees little at its end; what our objects leave is counted by the fake.
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=1",
        "PYTHONMALLOC": "malloc",
    }
    body = [str(Path(__file__).with_name(f"test_{name}.py")) for name in ("extension", "arrays", "in_place", "buffers")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *body]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (done.stdout + done.stderr)[-6000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def _library(name: str) -> str:
    command = ["g++", f"-print-file-name={name}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
