"""Where the detector's file comes from: named, downloaded once at one commit, or refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from emonet_fast.errors import CheckpointError
from emonet_fast.faces.finder import FILE, REPOSITORY, REVISION, SHA256, find_model

from ..checkpoint.hub import Hub

_FIND = """
import sys
from pathlib import Path
from emonet_fast.errors import CheckpointError
from emonet_fast.faces import finder
if len(sys.argv) > 2: finder.SHA256 = sys.argv[2]
try: print(finder.find_model(None, Path(sys.argv[1])))
except CheckpointError as error: print("refused:", error)
"""


def find(folder: Path, *more: str, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env |= {"HF_HUB_CACHE": str(folder / "hub"), "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*"} | environment
    command = [sys.executable, "-c", _FIND, str(folder / "cache"), *more]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.strip()


def test_named_file(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"")
    assert find_model(path, tmp_path) == path
    with pytest.raises(CheckpointError, match="does not exist"):
        find_model(tmp_path / "none.onnx", tmp_path)


def test_download_is_held_to_commit_and_hash(tmp_path):
    import hashlib

    repository = tmp_path / "repository"
    repository.mkdir()
    (repository / FILE).write_bytes(b"the detector")
    (repository / "other.onnx").write_bytes(b"not wanted")
    digest = hashlib.sha256(b"the detector").hexdigest()
    with Hub() as hub:
        hub.publish(REPOSITORY.name, repository, REVISION)
        assert Path(find(tmp_path, digest, HF_ENDPOINT=hub.address)).read_bytes() == b"the detector"
        assert hub.requested == [FILE]
    refused = find(tmp_path, HF_HUB_OFFLINE="1")  # the true hash, from the cache
    assert refused.startswith("refused:")
    assert SHA256 in refused
    assert digest in refused
    assert "--detector-model" in refused


def test_without_a_connection_the_other_way_is_named(tmp_path):
    said = find(tmp_path, HF_HUB_OFFLINE="1")
    assert REPOSITORY.name in said
    assert "--detector-model PATH" in said
