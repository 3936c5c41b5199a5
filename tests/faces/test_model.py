"""Where the detector's file comes from: named, downloaded once at one commit, or refused."""

import os
import subprocess
import sys
from pathlib import Path

import huggingface_hub.constants
import pytest
from click.testing import CliRunner

from emonet_fast.checkpoint import pack_to
from emonet_fast.commands.main import cli
from emonet_fast.errors import CheckpointError
from emonet_fast.faces.finder import FILE, REPOSITORY, REVISION, SHA256, find_model, known_model

from ..checkpoint.hub import Hub
from ..pictures import encoded, photographs

_FIND = """
import sys
from pathlib import Path
from emonet_fast.errors import CheckpointError
from emonet_fast.faces import finder
if len(sys.argv) > 2: finder.SHA256 = sys.argv[2]
try: print(finder.find_model(None, Path(sys.argv[1])).decode())
except CheckpointError as error: print("refused:", error)
"""


@pytest.fixture(autouse=True)
def no_hub_cache(tmp_path, monkeypatch):
    """The hub's cache of this machine is not looked at."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def find(folder: Path, *more: str, **environment: str) -> str:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env |= {"HF_HUB_CACHE": str(folder / "hub"), "HF_HOME": str(folder / "home"), "HF_HUB_DISABLE_XET": "1"}
    env |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*"} | environment
    command = [sys.executable, "-c", _FIND, str(folder / "cache"), *more]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=True)
    assert "Retry" not in done.stderr  # the hub's client says that it asks again
    return done.stdout.strip()


def test_named_file(tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"mine")
    assert find_model(path, tmp_path, "large") == b"mine"
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
        assert find(tmp_path, digest, HF_ENDPOINT=hub.address) == "the detector"
        assert hub.requested == [FILE]
    # From then on the hub is not asked.
    assert find(tmp_path, digest, HF_ENDPOINT="http://127.0.0.1:9") == "the detector"
    refused = find(tmp_path, HF_HUB_OFFLINE="1")  # the true hash, from the cache
    assert refused.startswith("refused:")
    assert SHA256 in refused
    assert digest in refused
    assert "--detector-model" in refused


@pytest.mark.parametrize("hub", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_without_a_connection_the_other_way_is_named_at_once(tmp_path, hub):
    said = find(tmp_path, **hub)
    assert REPOSITORY.name in said
    assert "--detector-model PATH" in said


def test_the_packed_checkpoints_detector_needs_no_hub(tiny_folder, tmp_path, yunet):
    packed, bare = tmp_path / "packed.safetensors", tmp_path / "bare.safetensors"
    pack_to(tiny_folder, packed, tmp_path, detector=yunet.read_bytes())
    pack_to(tiny_folder, bare, tmp_path)
    assert known_model(packed) == find_model(None, tmp_path, packed) == yunet.read_bytes()
    assert known_model(bare) is known_model(tiny_folder) is known_model("large") is None
    (tmp_path / "a.png").write_bytes(encoded(photographs()[0], "PNG"))
    command = ["score", str(tmp_path / "a.png"), "-c", str(packed), "--faces", "detect", "-o", str(tmp_path / "a.csv")]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0, done.output
    assert "a.png::box0,ok" in (tmp_path / "a.csv").read_text()


def test_pack_takes_a_detector_that_is_one(tiny_folder, tmp_path, yunet):
    (tmp_path / "no.onnx").write_bytes(b"no model")
    command = ["pack", "-c", str(tiny_folder), "-o", str(tmp_path / "p.safetensors"), "--detector-model"]
    done = CliRunner().invoke(cli, [*command, str(tmp_path / "no.onnx")])
    assert "is no ONNX model" in str(done.exception)
    assert not (tmp_path / "p.safetensors").exists()
    assert CliRunner().invoke(cli, [*command, str(yunet)]).exit_code == 0
    assert known_model(tmp_path / "p.safetensors") == yunet.read_bytes()
