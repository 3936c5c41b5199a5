"""A tiny checkpoint and one finished run that tests compare with."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..conftest import once
from .made import data_set, run


@pytest.fixture(scope="session")
def tiny(tiny_folder: Path) -> Path:
    """The tiny checkpoint of all tests."""
    return tiny_folder


@pytest.fixture(scope="session")
def faces_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 rows in 3 files, row groups of 10."""
    return once(tmp_path_factory, "bulk-data", lambda to: data_set(to, 3, 80))


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny: Path, faces_set: Path) -> Path:
    """The folder of an uninterrupted run over faces_set, 12 shards of 20 rows. Tests of several processes read it."""

    def make(folder: Path) -> None:
        summary, _ = run(faces_set, tiny, folder, shard_size=20, keep=("emotion", "score"))
        assert summary.done == summary.shards

    return once(tmp_path_factory, "bulk-whole", make)


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system in memory where there is one: small shards cost a busy disk more than the test."""
    memory = Path("/dev/shm")  # noqa: S108 - a name of our own in it
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="emonet-fast-", dir=memory))
    yield folder
    shutil.rmtree(folder)
