"""What lies at a path, and files that are needed for a while."""

import errno
import os
import re
import resource
import tempfile

import pytest

from emonet_fast.errors import EmonetError
from emonet_fast.files import ScratchFile, is_file, is_folder
from emonet_fast.records import Face


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A limit of a file's size, which is to a program as a full disk. Returns the folder of temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, limits[1]))
    yield tmp_path
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("in_memory", [0, 50])
@pytest.mark.parametrize("size", [100, 1 << 20])  # within a buffer, and beyond that of any version
def test_a_full_disk_under_a_scratch_file_is_told(small_disk, in_memory, size):
    """Whether the disk refuses at once, or what a buffer still had; and to close it is no second error."""
    file = ScratchFile(in_memory)

    def keep():
        file.write(b"x" * size)
        return file.from_start()

    with pytest.raises(EmonetError, match=re.escape(f"cannot write {small_disk}: File too large")):
        keep()
    file.close()
    assert not list(small_disk.iterdir())


@pytest.mark.parametrize("in_memory", [0, 50])
def test_a_scratch_file_gives_back_what_it_took(in_memory):
    file = ScratchFile(in_memory)
    for part in (b"one\n", b"t" * 100, b"\nthree"):
        file.write(part)
    assert list(file.from_start()) == [b"one\n", b"t" * 100 + b"\n", b"three"]
    file.close()


def test_a_face_is_its_box_whatever_was_measured_of_its_crop():
    assert Face(1, 2, 3, 4) == Face(1.0, 2.0, 3.0, 4.0, sharpness=float("nan"), brightness=80.0)
    assert Face(1, 2, 3, 4) != Face(1, 2, 3, 5)


def test_what_lies_at_a_path(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for path, kinds in ((file, (True, False)), (tmp_path, (False, True))):
        assert (is_file(path), is_folder(path)) == kinds
    for nothing in (tmp_path / "none", file / "below", tmp_path / "nul\0byte"):
        assert not is_file(nothing)
        assert not is_folder(nothing)


def test_a_closed_folder_is_not_said_to_be_empty(tmp_path, monkeypatch):
    """The superuser, as which tests may run, is refused nothing: so the system's call is, as it refuses others."""

    def refusing(path, **how):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "stat", refusing)
    for ask in (is_file, is_folder):
        with pytest.raises(PermissionError):
            ask(tmp_path / "model.safetensors")
