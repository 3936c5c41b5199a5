"""Checkpoints and pictures that many tests share, made once a run."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Beside each other pytest-xdist's processes share the cores: threads for all of them in each would wait for another.
# Read by PyTorch and by numpy's BLAS when they are imported, and handed on to every program that a test starts.
if int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) > 1:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.gpu import driver_present

if not driver_present():
    # Kernels run in Triton's interpreter. Must be set before the first import of Triton, wherever that is.
    os.environ["TRITON_INTERPRET"] = "1"

with suppress(ImportError):  # a GPU machine may have none
    from hypothesis import settings

    # No test may fail since a machine is slow: a first example imports what the others find.
    settings.register_profile("any_speed", settings(deadline=None))
    settings.load_profile("any_speed")

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


def of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all of pytest-xdist's processes share."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@contextmanager
def one_at_a_time(tmp_path_factory: pytest.TempPathFactory, name: str) -> Iterator[None]:
    """A `with` block of this name that one of pytest-xdist's processes enters while the others wait."""
    with (of_the_run(tmp_path_factory) / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(scope="session", autouse=True)
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package's cache for this run: a user's own cache is neither read nor filled."""
    folder = of_the_run(tmp_path_factory) / "cache"
    folder.mkdir(exist_ok=True)
    os.environ["EMONET_FAST_CACHE"] = str(folder)
    return folder


def once(tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """A folder that the first of pytest-xdist's processes makes, whole or not at all, and the others wait for."""
    folder = of_the_run(tmp_path_factory) / name
    with one_at_a_time(tmp_path_factory, name):
        if not folder.exists():
            make(folder)
    return folder


@pytest.fixture(scope="session")
def published_small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder of 2 layers and the Small heads."""
    from emonet_fast.testing.synthetic import write_synthetic

    return once(tmp_path_factory, "small", lambda to: write_synthetic(to, heads="small", layers=2, seed=0))


@pytest.fixture(scope="session")
def published_large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder of 3 layers and the Large heads."""
    from emonet_fast.testing.synthetic import write_synthetic

    return once(tmp_path_factory, "large", lambda to: write_synthetic(to, heads="large", layers=3, seed=1))


@pytest.fixture(scope="session")
def small(published_small: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """`published_small`, packed."""
    with one_at_a_time(tmp_path_factory, "small"):
        return open_checkpoint(published_small, cache_dir)


@pytest.fixture(scope="session")
def large(published_large: Path, cache_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """`published_large`, packed."""
    with one_at_a_time(tmp_path_factory, "large"):
        return open_checkpoint(published_large, cache_dir)


@pytest.fixture
def one_thread():
    """Products as small as tests have wait for each other's threads; one is quicker, and the same on every machine."""
    torch = pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published folder of tests.tiny, shared by tests that need any scores, not certain ones."""
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason=f"{package} (extra reference) is not installed")
    from .tiny import write_tiny

    return once(tmp_path_factory, "tiny-folder", write_tiny)


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
