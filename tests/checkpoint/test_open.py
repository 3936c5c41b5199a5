"""open_checkpoint: every way to say where weights are, packed once and reused until something changes."""

import logging
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from emonet_fast.checkpoint import open_checkpoint, pack_to, resolve_published, verify_hash
from emonet_fast.checkpoint.pack import _check_space
from emonet_fast.checkpoint.published import Published
from emonet_fast.checkpoint.spec import VisionConfig
from emonet_fast.errors import CheckpointError

from .layouts import head_state, write_head, write_published


def _packed_files(cache: Path) -> list[Path]:
    return sorted((cache / "packed").glob("*.safetensors"))


def test_folder_is_packed_once(tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, seen = tmp_path / "cache", []
    with caplog.at_level(logging.INFO, "emonet_fast"):
        first = open_checkpoint(tiny, cache, progress=lambda *a: seen.append(a))
    assert [r.name for r in caplog.records] == ["emonet_fast"]
    size = sum(i.nbytes for i in first.tensors.values())
    assert caplog.messages == [f"packing {tiny} into {first.path} ({size} bytes)"]
    assert seen[-1] == (size, size)
    assert _packed_files(cache) == [first.path]
    before = first.path.stat().st_mtime_ns
    caplog.clear()
    assert open_checkpoint(str(tiny), cache) == first
    assert caplog.messages == []
    assert first.path.stat().st_mtime_ns == before


def test_packed_file_is_opened_where_it_is(tiny: Path, tmp_path: Path) -> None:
    packed = pack_to(tiny, tmp_path / "p.safetensors", tmp_path / "cache")
    assert open_checkpoint(tmp_path / "p.safetensors", tmp_path / "cache") == packed
    assert verify_hash(packed) == packed.weights_hash
    assert not (tmp_path / "cache").exists()
    assert resolve_published(tmp_path / "p.safetensors", tmp_path / "cache") is None
    with pytest.raises(CheckpointError, match="expected weights that are not packed yet"):
        pack_to(tmp_path / "p.safetensors", tmp_path / "q.safetensors", tmp_path / "cache")


def test_changed_files_are_packed_again(tiny: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = open_checkpoint(tiny, cache)
    path = write_head(tiny / "heads", "Awe", head_state(77))
    second = open_checkpoint(tiny, cache)
    assert second.weights_hash != first.weights_hash
    stat = path.stat()
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))  # same size, a moment later
    third = open_checkpoint(tiny, cache)
    assert third.weights_hash == second.weights_hash
    assert len({first.path, second.path, third.path}) == 3
    (tiny / "heads" / "model_awe_best.pth").unlink()
    assert len(open_checkpoint(tiny, cache).names) == 39


def test_published_layout_resolves_to_its_folders(tiny: Path, tmp_path: Path) -> None:
    found = resolve_published(tiny, tmp_path)
    assert found is not None
    assert (found.encoder, found.heads) == (tiny / "encoder", tiny / "heads")


def test_folder_named_like_a_variant(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.move(tiny, tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    for where in ("./small", Path("small")):
        assert len(open_checkpoint(where, tmp_path / "cache").names) == 40


def cut(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes()[:1000])


def flip(copy: Path) -> None:
    data = bytearray(copy.read_bytes())
    data[-2] ^= 1
    copy.write_bytes(data)


def open_to_all(copy: Path) -> None:
    flip(copy)
    copy.chmod(0o666)


def of_an_earlier_version(copy: Path) -> None:
    copy.write_bytes(copy.read_bytes().replace(b'"emonet_fast.encoder_hash"', b'"emonet_fast.encoder_hasx"'))


def replaced_by_another(copy: Path) -> None:
    other = pack_to(write_published(copy.parent / "other", seed=9), copy.parent / "other.safetensors", copy.parent)
    other.path.replace(copy)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (cut, "is not a complete safetensors file"),
        (flip, "The file was damaged or changed"),
        (open_to_all, "everybody may write"),
        (of_an_earlier_version, "it does not state its encoder's hash"),
        (replaced_by_another, "and its record says sha256:"),
    ],
)
def test_a_copy_that_may_not_be_used_is_made_again(change, why, tiny, tmp_path, caplog):
    first = open_checkpoint(tiny, tmp_path / "cache")
    change(first.path)
    assert open_checkpoint(tiny, tmp_path / "cache") == first
    assert why in caplog.text
    assert verify_hash(first) == first.weights_hash


def test_a_copy_without_a_record_is_read_once(tiny: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As earlier versions left them."""
    caplog.set_level("INFO", "emonet_fast")
    first = open_checkpoint(tiny, tmp_path / "cache")
    first.path.with_suffix(".json").unlink()
    caplog.clear()
    assert open_checkpoint(tiny, tmp_path / "cache") == open_checkpoint(tiny, tmp_path / "cache") == first
    assert caplog.text.count("checking all of") == 1


def test_a_cache_that_others_may_write_is_refused(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    with pytest.raises(
        CheckpointError, match=r"cache is not used: everybody may write .*cache\. Expected .* EMONET_FAST"
    ):
        open_checkpoint(tiny, tmp_path / "cache")


def test_places_that_are_none(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"lrage does not exist; expected 'large' or 'small', a packed file"):
        open_checkpoint("lrage", tmp_path)
    with pytest.raises(CheckpointError, match=r"holds config\.json, .*; expected the published layout"):
        open_checkpoint(tiny / "encoder", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="empty holds nothing; expected the published layout"):
        open_checkpoint(tmp_path / "empty", tmp_path)
    with pytest.raises(CheckpointError, match="revision 'main' was given with"):
        open_checkpoint(tiny, tmp_path, revision="main")


def test_cache_that_cannot_be_made(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="could not be made"):
        open_checkpoint(tiny, tmp_path / "file")


def test_full_disk_is_noticed_before_writing(tiny: Path, tmp_path: Path) -> None:
    """A checkpoint that needs more than any disk has."""

    contents = Published(tiny / "encoder", tiny / "heads", "").read()
    huge = replace(contents, vision=VisionConfig(2**20, 2**20, 1000, 16, 32, 16))
    with pytest.raises(CheckpointError, match=r"GB free; expected at least \d{8,}"):
        _check_space(huge, tmp_path)
    assert _check_space(contents, tmp_path) < 1_000_000


def test_import_is_cheap() -> None:
    code = (
        "import sys, emonet_fast.checkpoint as c; "
        "assert not {'torch', 'transformers', 'huggingface_hub', 'openvino', 'onnx'} & set(sys.modules); "
        "import types; assert isinstance(c.pack, types.ModuleType)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
