"""Inputs that change, folders of the first layout, and two runs that plan at once."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest

from emonet_fast.bulk import job
from emonet_fast.bulk.folder import Folder
from emonet_fast.bulk.plan import Source
from emonet_fast.bulk.settings import Settings
from emonet_fast.bulk.state import change, state_of
from emonet_fast.options import Options

from ..sources.made import write_tar
from .made import contents, jpeg, rows, run, table

BEFORE = 10**18  # a time of modification, in nanoseconds since 1970


@pytest.fixture(scope="module")
def grown(tmp_path_factory, tiny):
    """(inputs, output) of a whole run over 300 pictures, of which 15 changed before their part was begun."""
    data = tmp_path_factory.mktemp("changed") / "data"
    data.mkdir()
    pictures = [jpeg(i, 8) for i in range(20)]
    for i in range(300):
        (data / f"{i:03}.jpg").write_bytes(pictures[i % 20])
        os.utime(data / f"{i:03}.jpg", ns=(BEFORE, BEFORE))
    output = data.parent / "out"
    summary, _ = run(data, tiny, output, shard_size=50, part=(0, 2))
    assert summary.counts == {"ok": 150}
    for i in range(0, 300, 20):
        path = data / f"{i:03}.jpg"
        if i % 60:  # the same size at another time, or another size at the same time
            os.utime(path, ns=(BEFORE, BEFORE + 1))
        else:
            path.write_bytes(pictures[1] + b"\0")
            os.utime(path, ns=(BEFORE, BEFORE))
    run(data, tiny, output, shard_size=50, part=(1, 2))
    return data, output


def test_changed_files_are_not_scored(grown, tiny, tmp_path):
    """5% of 300 pictures: those of the part that was done before stay, the others say so."""
    data, output = grown
    found = rows(output).to_pylist()
    status = {int(row["key"][-7:-4]): row["status"] for row in found}
    later = [i for i in range(300) if i // 50 % 2]
    changed = [i for i in later if i % 20 == 0]
    assert len(found) == len(status) == 300
    assert [i for i in status if status[i] == "changed"] == changed
    assert all(status[i] == "ok" for i in status if i not in changed)
    reasons = {row["reason"] for row in found if row["status"] == "changed"}
    assert {reason.partition(": ")[0] for reason in reasons} == {"the file has changed since the plan was made"}
    assert any("bytes, not" in reason for reason in reasons)
    assert any("modified 2001-09-09T01:46:40.000" in reason for reason in reasons)
    # With the old times and contents they are the planned files again.
    old = tmp_path / "old"
    subprocess.run(["cp", "-rp", output, old], check=True)
    for i in changed:
        (data / f"{i:03}.jpg").write_bytes(jpeg(i % 20, 8))
        os.utime(data / f"{i:03}.jpg", ns=(BEFORE, BEFORE))
    summary, _ = run(data, tiny, old, shard_size=50, retry_errors=True)
    assert summary.counts == {"ok": 300}
    assert summary.scored_now == 150


def test_folder_is_read_as_documented(grown):
    """The commands of docs/bulk.md, and recursive readers: every row once, and no other row."""
    _, output = grown
    assert pyarrow.dataset.dataset(f"{output}/", exclude_invalid_files=True).count_rows() == 300
    assert pa.dataset.dataset([str(p) for p in output.parent.rglob("*.parquet")]).count_rows() == 300


def test_duckdb_reads_it_as_documented(grown):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    assert duckdb.read_parquet(f"{grown[1]}/*.parquet").count("status").fetchall() == [(300,)]


def test_datasets_reads_it_as_documented(grown, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    found = datasets.load_dataset("parquet", data_files=f"{grown[1]}/*.parquet", cache_dir=str(tmp_path))
    assert found["train"].num_rows == 300


def test_first_layout_goes_on(grown, tiny, tmp_path):
    """A folder with files.parquet and a plan without times: what is done stays, and the list gets out of the way."""
    data, output = grown
    plan = Folder(output).plan()
    listed = pq.read_table(output / plan.files_name)
    old = tmp_path / "old"
    old.mkdir()
    pq.write_table(listed.select(["path", "key", "fault"]), old / "files.parquet", row_group_size=50)
    digest = sha256((old / "files.parquet").read_bytes()).hexdigest()
    first = replace(plan, version=1, files_hash=digest, sources=(Source("files", "", "", 300, 0),))
    assert first.as_dict()["sources"] == [["files", "", "", 300, 0, ""]]
    assert list(first.as_dict())[:2] == ["format", "version"]
    assert first.id == sha256(json.dumps(_first_form(first), sort_keys=True).encode()).hexdigest()
    (old / "plan.json").write_text(first.text())
    for shard in range(5):  # the last one is still to be done
        name = f"{shard:05}"
        (old / f"{name}.parquet").write_bytes((output / f"{name}.parquet").read_bytes())
        marker = json.loads((output / f"{name}.json").read_text()) | {"plan": first.id}
        (old / f"{name}.json").write_text(json.dumps(marker))
    summary, _ = run(data, tiny, old, shard_size=50)
    assert (summary.done, summary.scored_now) == (6, 50)
    assert sorted(p.name for p in old.glob("*files*")) == [first.files_name]
    assert {name: contents(old)[name] for name in list(contents(old))[:5]} == dict(list(contents(output).items())[:5])


def _first_form(plan):
    """What version 1 hashed."""
    facts = {name: getattr(plan, name) for name in ("inputs", "shard_size", "image_column", "keep_names", "keep")}
    facts |= {"sources": [["files", "", "", 300, 0, ""]], "files_hash": plan.files_hash}
    shards = [[[0, start, start + 50]] for start in range(0, 300, 50)]
    return facts | {"format": "emonet_fast.bulk.plan", "version": 1, "shards": shards}


def test_two_runs_that_plan_while_the_folder_grows(tiny, tmp_path):
    """The other part lists one file more, and is first: its plan counts, and no row is lost, doubled or of another."""
    data, output = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for i in range(5):
        (data / f"p{i}.jpg").write_bytes(jpeg(i, 8))
    command = [sys.executable, "-m", "emonet_fast", "bulk", str(data), "-c", str(tiny), "-o", str(output)]
    command += ["--shard-size", "2", "--batch-size", "4", "--threads", "1", "--devices", "cpu", "--shard", "0/2"]
    said = []

    def say(line):
        """Once our run has made its plan, and before it is written, the folder grows and the other run comes."""
        said.append(line)
        if line.startswith("plan: "):
            (data / "a.jpg").write_bytes(jpeg(7, 8))
            assert len(list(output.glob("_files-*.list"))) == 1
            subprocess.run(command, check=True, capture_output=True)

    options = Options(batch_size=4, threads=1)
    settings = Settings((str(data),), str(tiny), output, options, devices="cpu", shard_size=2, part=(1, 2))
    summary = job.run(settings, say)
    assert "another part has made the plan meanwhile, of other input files: that plan is used" in said
    assert summary.done == summary.shards == 1
    keys = [key.rpartition("/")[2] for key in rows(output).column("key").to_pylist()]
    assert keys == ["a.jpg", *(f"p{i}.jpg" for i in range(5))]
    assert [p.name for p in output.glob("_files-*")] == [Folder(output).plan().files_name]


def test_tables_and_tars_that_change(tmp_path):
    """By size, by time, and at the same size and time by the footer or the beginning."""
    one, other = table(tmp_path / "a.parquet", [jpeg(0, 8)]), table(tmp_path / "b.parquet", [jpeg(0, 8)], first=1)
    tars = [write_tar(tmp_path / f"{name}.tar", [(f"{name}.jpg", b"x")]) for name in ("a", "b")]
    for kind, (path, changed) in {"table": (one, other), "shard": tuple(tars)}.items():
        os.utime(path, ns=(BEFORE, BEFORE))
        planned = state_of(str(path), kind)
        assert change(planned, str(path), kind) == ""
        path.write_bytes(changed.read_bytes())
        os.utime(path, ns=(BEFORE, BEFORE))
        assert "another beginning or footer" in change(planned, str(path), kind)
        os.utime(path, ns=(BEFORE, BEFORE + 1))
        assert "modified" in change(planned, str(path), kind)
        path.write_bytes(b"short")
        assert "5 bytes, not" in change(planned, str(path), kind)
        path.unlink()
        with pytest.raises(OSError, match="No such file"):
            change(planned, str(path), kind)
