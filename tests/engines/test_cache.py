"""Stored engines: found by their whole plan, refused when damaged, never half written."""

import json
import logging
import os
from dataclasses import fields, replace

import pytest

from emonet_fast.engines.cache import EngineCache, EnginePlan
from emonet_fast.errors import EmonetError

PLAN = EnginePlan("tower", "openvino", "2026.4", "a processor", "fp32", (1,), 1, "sha256:aa", "bb")


def test_returns_what_was_stored(tmp_path):
    cache = EngineCache(tmp_path / "engines")
    assert cache.load(PLAN) is None
    cache.store(PLAN, b"engine")
    assert cache.load(PLAN) == b"engine"
    cache.store(PLAN, b"newer")
    assert cache.load(PLAN) == b"newer"


@pytest.mark.parametrize("name", [f.name for f in fields(EnginePlan)])
def test_every_field_is_part_of_the_key(name, tmp_path):
    old = getattr(PLAN, name)
    other = replace(PLAN, **{name: old + {int: 1, str: "x", tuple: (2,)}[type(old)]})
    cache = EngineCache(tmp_path)
    cache.store(PLAN, b"engine")
    assert other.key() != PLAN.key()
    assert cache.load(other) is None


@pytest.mark.parametrize("damage", ["engine", "truncated", "record", "depth", "plan"])
def test_a_damaged_entry_is_refused_and_said(damage, tmp_path, caplog):
    cache = EngineCache(tmp_path)
    cache.store(PLAN, b"engine")
    blob, record = next(tmp_path.glob("*.engine")), next(tmp_path.glob("*.json"))
    if damage == "engine":
        blob.write_bytes(b"Engine")
    elif damage == "truncated":
        blob.write_bytes(b"eng")
    elif damage == "record":
        record.write_text("{")
    elif damage == "depth":
        record.write_text("[" * 100_000)
    else:
        meta = json.loads(record.read_text())
        meta["plan"]["precision"] = "bf16"
        record.write_text(json.dumps(meta))
    with caplog.at_level(logging.WARNING, "emonet_fast"):
        assert cache.load(PLAN) is None
    assert "built again" in caplog.text
    assert str(blob) in caplog.text


def test_nothing_is_left_when_writing_fails(tmp_path):
    cache = EngineCache(tmp_path)
    cache.store(PLAN, b"engine")
    with pytest.raises(TypeError):
        cache.store(PLAN, object())  # type: ignore[arg-type]
    assert cache.load(PLAN) == b"engine"
    assert sorted(p.suffix for p in tmp_path.iterdir()) == [".engine", ".json"]


def test_an_engine_whose_record_cannot_be_written_does_not_stay(tmp_path):
    cache = EngineCache(tmp_path)
    (tmp_path / f"{PLAN.key()}.json").mkdir()
    with pytest.raises(EmonetError):
        cache.store(PLAN, b"engine")
    assert list(tmp_path.glob("*.engine")) == []


def test_a_plan_can_be_printed_and_hashed():
    assert str(PLAN) == ("openvino 2026.4, fp32, batch sizes 1, a processor, graph 1 (tower), weights sha256:aa")
    assert {PLAN: 1}[replace(PLAN)] == 1


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no owners of files")
@pytest.mark.parametrize("which", ["folder", ".engine", ".json"])
def test_what_everybody_may_write_is_not_loaded(which, tmp_path, caplog):
    cache = EngineCache(tmp_path / "engines")
    cache.store(PLAN, b"engine")
    changed = cache.folder if which == "folder" else next(cache.folder.glob(f"*{which}"))
    changed.chmod(0o777)
    assert cache.load(PLAN) is None
    assert f"everybody may write {changed}; it is built again" in caplog.text


def test_nothing_is_stored_where_everybody_may_write(tmp_path):
    tmp_path.chmod(0o777)
    with pytest.raises(EmonetError, match="everybody may write"):
        EngineCache(tmp_path / "engines").store(PLAN, b"engine")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
def test_what_belongs_to_another_user_is_not_loaded(tmp_path, caplog):
    cache = EngineCache(tmp_path)
    cache.store(PLAN, b"engine")
    os.chown(next(tmp_path.glob("*.engine")), 65534, -1)
    assert cache.load(PLAN) is None
    assert "belongs to another user" in caplog.text
