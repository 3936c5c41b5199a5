"""What a cache may hold for us, what is not followed, and what is swept away."""

import json
import mmap
import os
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from emonet_fast import cache
from emonet_fast.bulk.lock import Lock
from emonet_fast.checkpoint.fetch import _read_pins, _refuse_foreign, _write_pin
from emonet_fast.commands.main import cli
from emonet_fast.errors import CheckpointError, OptionError
from emonet_fast.files import write_whole
from emonet_fast.scores import Scores
from emonet_fast.sinks import open_sink
from emonet_fast.trust import foreign, make_own_folder, write_own

as_root = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give files away")
pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid"), reason="the system has no owners of files")
NOBODY = 65534


@pytest.fixture
def kept(tmp_path):
    write_own(tmp_path / "cache" / "engines" / "a", b"a")
    return tmp_path / "cache" / "engines" / "a"


def test_what_only_we_can_write_is_ours(kept):
    assert foreign(kept) is None
    with pytest.raises(FileNotFoundError):
        foreign(kept.with_name("b"))


@pytest.mark.parametrize("up", [0, 1, 2])
def test_the_file_and_each_folder_above_it_count(kept, up):
    place = [kept, *kept.parents][up]
    place.chmod(0o777)
    assert foreign(kept) == f"everybody may write {place}"
    if up:
        place.chmod(0o1777)  # as /tmp: others cannot replace what is ours
        assert foreign(kept) is None


@as_root
@pytest.mark.parametrize("up", [0, 1, 2])
def test_what_another_user_owns_or_shares_by_a_group_is_foreign(kept, up):
    place = [kept, *kept.parents][up]
    place.chmod(place.stat().st_mode | 0o020)
    assert foreign(kept) is None  # root's own group has no other member
    os.chown(place, -1, NOBODY)
    assert foreign(kept) == f"its group (number {NOBODY}) may write {place}"
    os.chown(place, NOBODY, -1)
    assert foreign(kept) == f"{place} belongs to another user (number {NOBODY})"


@as_root
def test_links_lead_only_where_their_owner_may_lead_us(kept, tmp_path):
    link, hop = tmp_path / "link", tmp_path / "hop"
    hop.symlink_to(kept.parent)
    link.symlink_to("hop")
    assert foreign(link / kept.name) is None
    os.chown(hop, NOBODY, -1, follow_symlinks=False)
    assert foreign(link / kept.name) == f"{hop} belongs to another user (number {NOBODY})"
    os.chown(hop, 0, -1, follow_symlinks=False)
    kept.parent.chmod(0o777)
    assert foreign(link / kept.name) == f"everybody may write {kept.parent}"


def test_an_open_umask_opens_nothing_of_the_cache(tmp_path):
    before = os.umask(0)
    try:
        write_own(tmp_path / "x" / "y", b"")
        make_own_folder(tmp_path / "p" / "q")
    finally:
        os.umask(before)
    assert [foreign(tmp_path / name) for name in ("x/y", "p/q")] == [None, None]


def test_pins_and_weights_of_others_are_refused(tmp_path):
    _write_pin(tmp_path, "a/b", "0" * 40)
    (tmp_path / "hub-pins.json").chmod(0o666)
    with pytest.raises(CheckpointError, match=r"hub-pins\.json is not used: everybody may write"):
        _read_pins(tmp_path)
    with pytest.raises(CheckpointError, match="the hub's cache is not used: everybody may write"):
        _refuse_foreign(tmp_path)


def planted(place: Path, victim: Path) -> Path:
    victim.write_text("mine")
    place.symlink_to(victim)
    return victim


def test_links_planted_beside_an_output_are_not_followed(tmp_path):
    victim = planted(tmp_path / "x.csv.meta.json", tmp_path / "victim")
    sink = open_sink(tmp_path / "x.csv", metadata={})
    sink.write(Scores.from_raw([[1.0]], ["awe"]))
    sink.close()
    assert victim.read_text() == "mine"
    assert json.loads((tmp_path / "x.csv.meta.json").read_text())["emonet_fast.rows"] == "1"
    with pytest.raises(OptionError, match="lock"):
        Lock(planted(tmp_path / "lock", tmp_path / "other").parent)
    assert (tmp_path / "other").read_text() == "mine"


def test_a_link_that_a_user_named_is_followed(tmp_path):
    victim = planted(tmp_path / "link", tmp_path / "victim")
    write_whole(tmp_path / "link", b"new")
    assert (victim.read_text(), (tmp_path / "link").is_symlink()) == ("new", True)


@pytest.fixture
def filled(tmp_path):
    """A cache with weights and an engine of long ago, a fresh engine, and what two runs left and one still writes."""
    now = time.time()
    for name, days, record in [
        ("packed/a.safetensors", 40, {"source": "large"}),
        ("packed/.b.safetensors.0123abcd.tmp", 1, None),
        ("packed/.c.safetensors.0123abcd.tmp", 0, None),
        (".hub-pins.json.0123abcd.tmp", 1, None),
        ("engines/d.engine", 40, {"plan": {"backend": "x", "version": "1", "part": "top", "precision": "fp32"}}),
        ("engines/e.engine", 0, None),
        ("hub-pins.json", 90, None),
    ]:
        write_own(tmp_path / name, b"1234")
        if record is not None:
            write_own((tmp_path / name).with_suffix(".json"), json.dumps(record).encode())
        os.utime(tmp_path / name, (now - days * 86400, now - days * 86400))
    return tmp_path


def names(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_killed_runs_left_is_swept_at_the_next_start(filled, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(filled))
    (filled / "emonet-fast-0123abcd").mkdir(0o700)
    (filled / "emonet-fast-myfaces1").mkdir()
    for name in ("emonet-fast-0123abcd/network.onnx", "emonet-fast-myfaces1/a.jpg"):
        (filled / name).write_text("")
    for place in filled.glob("emonet-fast-*/*"):
        os.utime(place, (0, 0))
        os.utime(place.parent, (0, 0))
    before = names(filled)
    cache.sweep(filled)
    gone = {"packed/.b.safetensors.0123abcd.tmp", ".hub-pins.json.0123abcd.tmp", "emonet-fast-0123abcd/network.onnx"}
    assert before - names(filled) == gone
    cache.sweep(filled / "nowhere")


def test_the_cache_is_listed_and_pruned_by_hand(filled):
    run = CliRunner().invoke
    listed = run(cli, ["cache", "list", "--cache-dir", str(filled)]).output
    assert "weights          0.0 MB   40.0 days  a.safetensors  large\n" in listed
    assert "engine           0.0 MB   40.0 days  d.engine  x 1, top, fp32\n" in listed
    assert "6 files" in listed
    done = run(cli, ["cache", "prune", "--cache-dir", str(filled)]).output
    assert "\nremoved 4 files, " in done
    assert "a.safetensors, weights: not used for 40 days\n" in done
    assert ".b.safetensors.0123abcd.tmp, unfinished: left by a killed run\n" in done
    assert names(filled) == {"hub-pins.json", "engines/e.engine", "packed/.c.safetensors.0123abcd.tmp"}
    assert "nan came; expected a number" in run(cli, ["cache", "prune", "--days", "nan"]).output
    assert "removed 1 file" in run(cli, ["cache", "prune", "--days", "0", "--cache-dir", str(filled)]).output


def test_what_nothing_can_use_and_what_is_beyond_a_size_goes_but_never_what_is_mapped(tmp_path):
    def keep(name, size, days, record):
        write_own(tmp_path / name, bytes(size))
        write_own((tmp_path / name).with_suffix(".json"), json.dumps(record).encode())
        used = time.time() - days * 86400
        os.utime(tmp_path / name, (used, used))

    plan = {"backend": "x", "version": "2", "part": "top", "precision": "fp32", "graph_version": 3}
    keep("packed/gone.safetensors", 100, 0, {"source": str(tmp_path / "nowhere")})
    keep("packed/there.safetensors", 100, 1, {"source": str(tmp_path)})
    keep("packed/hub.safetensors", 100, 4, {"source": "google/siglip2@a + laion/x@b"})
    keep("engines/old.engine", 100, 0, {"plan": plan | {"version": "1"}})
    keep("engines/graph.engine", 100, 0, {"plan": plan | {"graph_version": 2}})
    keep("engines/new.engine", 100, 2, {"plan": plan})
    keep("engines/other.engine", 100, 3, {"plan": plan | {"backend": "y", "version": "1"}})
    versions = {"x": "2", "graph": 3}
    used = tmp_path / "packed" / "hub.safetensors"
    with used.open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ):
        os.utime(used, (time.time() - 4 * 86400,) * 2)  # where the file system notes no reading
        found = {entry.path.name: reason for entry, reason in cache.prune(tmp_path, 30, 250, versions)}
    assert found == {
        "gone.safetensors": f"{tmp_path / 'nowhere'} is not there any more",
        "old.engine": "x 2 is installed",
        "graph.engine": "this version of the package computes another graph",
        "other.engine": "the others take the room",
        "hub.safetensors": "",  # mapped
    }
    left = {"packed/there", "packed/hub", "engines/new"}
    assert {name.rpartition(".")[0] for name in names(tmp_path)} == left
    assert [entry.path for entry, reason in cache.prune(tmp_path, 30, 250) if reason] == [used]
