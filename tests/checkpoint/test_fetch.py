"""The hub: what is downloaded, which commit is used, and what a user without a connection is told.

huggingface_hub reads its environment when it is imported, so each case runs in a process of its own, against a
server on this machine or a cache folder as the hub's client leaves it.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from emonet_fast.checkpoint.fetch import _parse_revision, fetch_published
from emonet_fast.errors import CheckpointError

from .hub import ENCODER, HEADS, Hub, hub_cache
from .layouts import EMOTIONS, head_state, write_head

A, B, C, D = ("a" * 40, "b" * 40, "c" * 40, "d" * 40)

_OPEN = """
import json, sys, traceback
from pathlib import Path
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.errors import CheckpointError
where, cache, *revisions = sys.argv[1:]
found = []
for revision in revisions:
    try:
        c = open_checkpoint(where, Path(cache), revision=revision or None)
    except CheckpointError as error:
        shown = "".join(traceback.format_exception(error))
        found.append({"error": str(error), "tracebacks": shown.count("Traceback (most recent call last)")})
    else:
        facts = {"hash": c.weights_hash, "source": c.source, "path": str(c.path), "names": len(c.names)}
        found.append(facts)
print(json.dumps(found))
"""


class Client:
    """Opens checkpoints in processes with their own hub cache and package cache."""

    def __init__(self, folder: Path) -> None:
        self.hub_cache, self.cache = folder / "hub", folder / "cache"

    def open(self, where: str = "large", **environment: str) -> dict[str, str]:
        """What opening it gives, twice, which must be the same."""
        first, second = self.open_each([None, None], where, **environment)
        assert first == second
        return first

    def open_each(self, revisions: list[str | None], where: str = "large", **environment: str) -> list[dict[str, str]]:
        """Facts of the checkpoint, or its error, for each revision in turn."""
        env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        env |= {"HF_HUB_CACHE": str(self.hub_cache), "HF_HOME": str(self.hub_cache / "home")}
        env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*"} | environment
        command = [sys.executable, "-c", _OPEN, where, str(self.cache), *(r or "" for r in revisions)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        found: list[dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
        return found

    def pins(self) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.cache / "hub-pins.json").read_text())
        return found


@pytest.fixture
def client(tmp_path: Path) -> Client:
    return Client(tmp_path / "client")


@pytest.mark.parametrize("variant", ["large", "small"])
def test_cached_snapshots_are_used_offline(client: Client, tiny_original: Path, variant: str) -> None:
    hub_cache(client.hub_cache, tiny_original, variant, (A, B))
    found = client.open(variant, HF_HUB_OFFLINE="1")
    assert found["source"] == f"{ENCODER}@{A} + {HEADS[variant]}@{B}"
    assert found["names"] == 40
    assert client.pins() == {ENCODER: A, HEADS[variant]: B}
    assert sorted(p.name for p in client.cache.iterdir()) == ["hub-pins.json", "packed"]


def test_packed_copy_outlives_a_moved_hub_cache(client: Client, tiny_original: Path) -> None:
    hub_cache(client.hub_cache, tiny_original, "large", (A, B))
    found = client.open(HF_HUB_OFFLINE="1")
    client.hub_cache = Path(shutil.move(client.hub_cache, client.hub_cache.with_name("moved")))
    assert client.open(HF_HUB_OFFLINE="1")["path"] == found["path"]


def test_download_takes_only_what_is_needed(client: Client, tiny: Path) -> None:
    for name in ("pytorch_model.bin", "README.md", "tokenizer.json", "model.onnx", "flax.safetensors"):
        (tiny / "encoder" / name).write_bytes(b"x")
    for name in ("README.md", "demo.png", "model_awe_last.pth"):
        (tiny / "heads" / name).write_bytes(b"x")
    with Hub() as hub:
        hub.publish(ENCODER, tiny / "encoder", A)
        hub.publish(HEADS["large"], tiny / "heads", B)
        found = client.open(HF_ENDPOINT=hub.address)
    heads = [f"model_{n.lower().replace('/', '_').replace(' ', '_')}_best.pth" for n in EMOTIONS]
    needed = ["config.json", "preprocessor_config.json", "model.safetensors", "neutral_stats_cache_large", *heads]
    assert sorted(hub.requested) == sorted(needed)
    assert found["source"] == f"{ENCODER}@{A} + {HEADS['large']}@{B}"
    assert client.open(HF_HUB_OFFLINE="1") == found  # all of it is in the cache


def test_commit_stays_when_main_moves(client: Client, tiny: Path, tmp_path: Path) -> None:
    newer = Path(shutil.copytree(tiny, tmp_path / "newer"))
    write_head(newer / "heads", "Awe", head_state(99))
    with Hub() as hub:
        hub.publish(ENCODER, tiny / "encoder", A)
        hub.publish(HEADS["large"], tiny / "heads", B)
        first = client.open(HF_ENDPOINT=hub.address)
        hub.publish(HEADS["large"], newer / "heads", D)
        revisions = [None, "heads=main", f"encoder={A},heads={B}", "v9"]
        again, asked, by_commit, unknown = client.open_each(revisions, HF_ENDPOINT=hub.address)
        assert again == first
        assert asked["source"] == f"{ENCODER}@{A} + {HEADS['large']}@{D}"
        assert asked["hash"] != first["hash"]
        assert by_commit == first
        assert client.pins() == {ENCODER: A, HEADS["large"]: B}  # a revision of the user's moves no pin
    assert f"{ENCODER} (revision v9) is neither" in unknown["error"]


@pytest.mark.parametrize("environment", [{"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}])
def test_without_a_connection_one_message_names_three_ways(client: Client, environment: dict[str, str]) -> None:
    found = client.open(**environment)
    assert found["tracebacks"] == 1
    text = found["error"]
    assert "\n" not in text
    assert f"{ENCODER} (revision main)" in text
    for part in ("(1)", "HF_HUB_OFFLINE", "HF_ENDPOINT", "(2)", "encoder/ and heads/", "(3)", "emonet-fast pack"):
        assert part in text
    assert not (client.cache / "hub-pins.json").exists()


def test_download_cut_short_is_not_taken_for_fewer_heads(client: Client, tiny: Path) -> None:
    (tiny / "heads" / "model_awe_best.pth").unlink()
    hub_cache(client.hub_cache, tiny, "large", (A, B))
    text = client.open(HF_HUB_OFFLINE="1")["error"]
    assert "has no heads for 1 of the 40 emotions (awe)" in text
    assert "cut short" in text


@pytest.mark.parametrize("content", ["{", '{"google/siglip2-so400m-patch16-384": "main"}', '{"x": 1}'])
def test_broken_pins_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "hub-pins.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"hub-pins\.json"):
        fetch_published("large", tmp_path)


def test_pin_to_a_commit_that_is_not_there(client: Client, tiny_original: Path) -> None:
    hub_cache(client.hub_cache, tiny_original, "large", (A, B))
    client.cache.mkdir(parents=True)
    (client.cache / "hub-pins.json").write_text(json.dumps({ENCODER: C}))
    assert f"{ENCODER} (revision {C}) is neither" in client.open(HF_HUB_OFFLINE="1")["error"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, {}),
        ("main", {"encoder": "main", "heads": "main"}),
        ("refs/pr/1", {"encoder": "refs/pr/1", "heads": "refs/pr/1"}),
        ("heads=v1", {"heads": "v1"}),
        (f"encoder={A},heads=v1.0", {"encoder": A, "heads": "v1.0"}),
    ],
)
def test_revisions(text: str | None, expected: dict[str, str]) -> None:
    assert _parse_revision(text) == expected


@pytest.mark.parametrize(
    "text", ["", "a,b", "encoder=", "heads=a,heads=b", "body=a", "../x", "a/../b", "encoder=a,b", "a b", "-x"]
)
def test_revisions_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="revision is"):
        _parse_revision(text)
