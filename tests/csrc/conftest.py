"""The extension and its fakes, compiled once a run: plain, and with AddressSanitizer beside it."""

import os
from pathlib import Path

import pytest

from .building import compiler, make_extension, make_fakes, make_sanitized, open_fakes

# Set by test_sanitized.py for the run inside its own: where the sanitized build lies.
BUILT = "EMONET_FAST_TEST_FAKES"


@pytest.fixture(scope="session")
def fakes_folder(tmp_path_factory) -> Path:
    if BUILT in os.environ:
        return Path(os.environ[BUILT])
    if compiler() is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("fakes")
    make_fakes(folder)
    said = make_extension(folder)
    assert "TensorRT extension built: with the headers of" in said
    return folder


@pytest.fixture(scope="session")
def sanitized_folder(fakes_folder, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sanitized")
    make_sanitized(folder, fakes_folder)
    return folder


@pytest.fixture(scope="session")
def opened(fakes_folder):
    return open_fakes(fakes_folder)


@pytest.fixture
def fakes(opened):
    """The fakes, with nothing counted and nothing about to fail."""
    opened.control.fake_reset()
    yield opened
    opened.control.fake_reset()


@pytest.fixture(scope="session")
def fakes10(fakes_folder) -> str:
    """A fake libnvinfer of TensorRT 10."""
    return str(fakes_folder / "libfake_nvinfer10.so")
