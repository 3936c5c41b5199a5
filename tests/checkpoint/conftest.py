"""A tiny published checkpoint, made once; tests that change it take a copy."""

import shutil
from pathlib import Path

import pytest

from .layouts import write_published


@pytest.fixture(scope="session")
def tiny_original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 heads of 48-6-5-1 and neutral means. Not to be changed."""
    pytest.importorskip("torch")
    return write_published(tmp_path_factory.mktemp("published") / "tiny")


@pytest.fixture
def tiny(tiny_original: Path, tmp_path: Path) -> Path:
    """A copy of its own for a test that changes it."""
    return Path(shutil.copytree(tiny_original, tmp_path / "tiny"))
