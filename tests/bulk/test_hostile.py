"""Folders from strangers: plans, markers and locks of the wrong form, too deep, or pipes. One short line each."""

import json
import os

import pytest

from emonet_fast.bulk.folder import Folder
from emonet_fast.bulk.lock import Lock, LockedError
from emonet_fast.bulk.marker import ShardState
from emonet_fast.bulk.plan import PLAN
from emonet_fast.bulk.plan_file import plan_of
from emonet_fast.bulk.report import write_report
from emonet_fast.errors import DataError, OptionError

DEEP = "[" * 100_000
PLAN_TEXT = {
    "format": "emonet_fast.bulk.plan",
    "version": 2,
    "inputs": ["/in"],
    "shard_size": 2,
    "image_column": None,
    "keep_names": [],
    "keep": "",
    "files_hash": "",
    "sources": [["tar", "/in/a.tar", "a.tar", None, 10, "", 1, "abc"]],
    "shards": [[[0, 0, None]]],
    "fingerprint": {"precision": "fp32"},
    "skipped": {".txt": 3},
}


def test_a_right_plan_is_read(tmp_path):
    assert json.loads(plan_of(json.dumps(PLAN_TEXT), tmp_path).text()) == PLAN_TEXT


def test_lists_of_no_plan_are_removed_with_the_next_one(tmp_path):
    """Of a run that was killed before it had a plan, in the first layout too."""
    lists = ("files.parquet", f"_files-{'0' * 16}.list")
    for name in lists:
        (tmp_path / name).touch()
    Folder(tmp_path).keep_plan(plan_of(json.dumps(PLAN_TEXT), tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [PLAN]


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "x" * 100_000},
        {"version": 3},
        {"version": [1]},
        {"inputs": [5]},
        {"inputs": 5},
        {"shard_size": "2"},
        {"shard_size": 0},
        {"image_column": 7},
        {"keep_names": {"a": [1]}, "keep": 3},
        {"files_hash": None},
        {"sources": [["tar", 5, "a.tar", None, 10]]},
        {"sources": [["tar", "/in/a.tar"]]},
        {"sources": [["tar", "/in/a.tar", "a.tar", None, 1e9]]},
        {"shards": []},
        {"shards": [[[1, 0, None]]]},
        {"shards": [[[0, -1, 5]]]},
        {"shards": [["text"]]},
        {"fingerprint": ["a"]},
        {"skipped": {".txt": "3"}},
        {"fingerprint": {"precision": ["fp32"]}},
    ],
)
def test_wrong_plans(tmp_path, wrong):
    with pytest.raises(DataError) as error:
        plan_of(json.dumps(PLAN_TEXT | wrong), tmp_path / PLAN)
    assert len(str(error.value)) < 400
    assert str(error.value).isprintable()


@pytest.mark.parametrize("text", [DEEP, "[]", "5", '"\x1b[31m"', "", '{"format": "\\u001b[31m", "version": 2}'])
def test_what_is_no_plan(tmp_path, text):
    (tmp_path / PLAN).write_text(text)
    for call in (Folder(tmp_path).read_plan, lambda: write_report(tmp_path, tmp_path / "a.html")):
        with pytest.raises(DataError) as error:
            call()
        assert len(str(error.value)) < 400
        assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "wrong",
    [
        DEEP,
        "5",
        {"counts": 5},
        {"counts": {"ok": "5"}},
        {"counts": {"ok": 5}, "notes": [5]},
        {"failed": ["reason"]},
        {"counts": {}, "notes": [], "fingerprint": 5},
        {"counts": {}, "notes": [], "skipped": [1]},
    ],
)
def test_wrong_markers_count_for_nothing(tmp_path, wrong):
    plan = plan_of(json.dumps(PLAN_TEXT), tmp_path)
    right = {"format": "emonet_fast.bulk.shard", "plan": plan.id, "shard": 0, "fingerprint": plan.fingerprint}
    text = wrong if isinstance(wrong, str) else json.dumps(right | wrong)
    folder = Folder(tmp_path)
    for name in ("00000.json", "00000.failed.json"):
        (tmp_path / name).write_text(text)
    (found,) = folder.look(plan, [0]).values()
    assert found.state == ShardState.TODO
    assert 0 < len(found.reason) < 200


def test_pipes_are_not_waited_for(tmp_path):
    for name in ("lock", PLAN, "00000.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(OptionError, match="lock is a pipe, socket or device"):
        Lock(tmp_path)
    folder = Folder(tmp_path)
    with pytest.raises(DataError, match=r"plan\.json cannot be read \(a pipe, socket or device, not a file\)"):
        folder.read_plan()
    with pytest.raises(DataError, match=r"no plan\.json"):
        write_report(tmp_path, tmp_path / "a.html")
    plan = plan_of(json.dumps(PLAN_TEXT), tmp_path)
    (found,) = folder.look(plan, [0]).values()
    assert found.reason == "00000.json cannot be read (OSError)"


@pytest.mark.parametrize("text", [DEEP, "5", '{"host": "%s"}' % ("x" * 9000)])
def test_a_lock_of_another_form_is_free(tmp_path, text):
    (tmp_path / "lock").write_text(text)
    with Lock(tmp_path):
        pass


def test_the_holder_of_a_lock_is_named_in_short(tmp_path):
    (tmp_path / "lock").write_text(json.dumps({"host": "x" * 3000, "pid": ["y" * 300]}))
    with pytest.raises(LockedError) as error:
        Lock(tmp_path)
    assert len(str(error.value)) < 500
