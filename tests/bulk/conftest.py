"""A tiny checkpoint and one finished run that tests compare with."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..tiny import write_tiny
from .made import data_set, run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny(tmp_path_factory.mktemp("bulk-tiny") / "published")


@pytest.fixture(scope="session")
def faces_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """240 rows in 3 files, row groups of 10."""
    return data_set(tmp_path_factory.mktemp("bulk-data") / "data", 3, 80)


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, tiny: Path, faces_set: Path) -> Path:
    """The folder of an uninterrupted run over faces_set, 12 shards of 20 rows."""
    folder = tmp_path_factory.mktemp("bulk-whole") / "out"
    summary, _ = run(faces_set, tiny, folder, shard_size=20, keep=("emotion", "score"))
    assert summary.done == summary.shards
    return folder


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
