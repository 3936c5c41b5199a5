"""Checkpoints and pictures that many tests share, made once a run."""

import os
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.backends.cuda.device import driver_present
from emonet_fast.checkpoint.spec import Checkpoint

if not driver_present():
    # Kernels run in Triton's interpreter. Must be set before the first import of Triton, wherever that is.
    os.environ["TRITON_INTERPRET"] = "1"

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's cache for this run: a user's own cache is neither read nor filled."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["EMONET_FAST_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session")
def published_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder of 2 layers and the Small heads."""
    from emonet_fast.checkpoint.synthetic import write_synthetic

    folder = tmp_path_factory.mktemp("synthetic") / "small"
    write_synthetic(folder, heads="small", layers=2, seed=0)
    return folder


@pytest.fixture(scope="session")
def published_large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder of 3 layers and the Large heads."""
    from emonet_fast.checkpoint.synthetic import write_synthetic

    folder = tmp_path_factory.mktemp("synthetic") / "large"
    write_synthetic(folder, heads="large", layers=3, seed=1)
    return folder


@pytest.fixture(scope="session")
def small(published_small: Path, cache_dir: Path) -> Checkpoint:
    from emonet_fast.checkpoint import open_checkpoint

    return open_checkpoint(published_small, cache_dir)


@pytest.fixture(scope="session")
def large(published_large: Path, cache_dir: Path) -> Checkpoint:
    from emonet_fast.checkpoint import open_checkpoint

    return open_checkpoint(published_large, cache_dir)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder of tests.tiny, shared by tests that need any scores, not certain ones."""
    from .tiny import write_tiny

    return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def photos() -> list[np.ndarray]:
    """scikit-image's photographs as [H, W, 3] uint8 RGB, and the two faces of ../shared/data where it exists."""
    from PIL import Image

    from .pictures import photographs

    pictures = photographs()
    pictures += [np.asarray(Image.open(p).convert("RGB")) for p in sorted(SHARED_DATA.glob("emonet-hq/*.jpg"))]
    return pictures


@pytest.fixture(scope="session")
def faces() -> list[Path]:
    """The two real faces of ../shared/data."""
    found = sorted(SHARED_DATA.glob("emonet-hq/*.jpg"))
    if len(found) != 2:
        pytest.skip("../shared/data is not beside this checkout")
    return found
