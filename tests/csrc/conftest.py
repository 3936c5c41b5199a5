"""The extension and its fakes, compiled once a run: plain, and with AddressSanitizer beside it."""

import os
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.backends.openvino import observe as openvino_observe
from emonet_fast.backends.openvino.observe import observe
from emonet_fast.backends.tensorrt import build
from emonet_fast.checkpoint import open_checkpoint

from ..tiny import write_tiny
from .bench import Bench
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


@pytest.fixture
def bench(fakes) -> Bench:
    return Bench(fakes)


@pytest.fixture(scope="session")
def fakes10(fakes_folder) -> str:
    """A fake libnvinfer of TensorRT 10."""
    return str(fakes_folder / "libfake_nvinfer10.so")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    pytest.importorskip("torch", reason="the tiny checkpoint is written by torch (extra reference)")
    folder = tmp_path_factory.mktemp("tiny")
    return open_checkpoint(write_tiny(folder / "published"), folder / "cache")


@pytest.fixture(scope="module")
def remembered():
    """Noise in place of the generated pictures, which take seconds to draw; its float32 outputs are computed once."""

    def made(checkpoint, count, seed):
        side = checkpoint.vision.image_size
        return np.random.default_rng(seed).integers(0, 256, (count, 3, side, side), dtype=np.uint8)

    seen: dict[bytes, object] = {}

    def observed(checkpoint, pixels, progress=None, *, layers=False):
        key = pixels.tobytes() + bytes([layers])
        if key not in seen:
            seen[key] = observe(checkpoint, pixels, progress, layers=layers)
        return seen[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build, "generated_pixels", made)
        patch.setattr(openvino_observe, "observe", observed)
        yield made, observed


@pytest.fixture(scope="module")
def known(checkpoint, remembered):
    """The 64 pictures of the gate and what the float32 network gives for them."""
    pictures, observed = remembered
    pixels = pictures(checkpoint, 64, 0)
    return pixels, observed(checkpoint, pixels)
