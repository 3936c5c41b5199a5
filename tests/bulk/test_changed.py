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
from emonet_fast.bulk.plan import Source, Span
from emonet_fast.bulk.report import write_report
from emonet_fast.bulk.rows import read_files, read_planned
from emonet_fast.bulk.settings import Settings
from emonet_fast.bulk.state import change, state_of
from emonet_fast.evaluate.predictions import read_predictions
from emonet_fast.options import Options
from emonet_fast.records import Status
from emonet_fast.scorer import UNTRAINED

from ..sources.made import write_tar
from .made import contents, jpeg, rows, run, shards, table

BEFORE = 10**18  # a time of modification, in nanoseconds since 1970


def command(data, checkpoint, output, part):
    options = ["--shard-size", "50", "--batch-size", "4", "--threads", "1", "--devices", "cpu", "--shard", part]
    return [sys.executable, "-m", "emonet_fast", "bulk", str(data), "-c", str(checkpoint), "-o", str(output), *options]


@pytest.fixture(scope="module")
def untrained(tmp_path_factory, tiny):
    """The tiny checkpoint with the mark of untrained weights."""
    folder = tmp_path_factory.mktemp("untrained") / "published"
    subprocess.run(["cp", "-r", tiny, folder], check=True)
    (folder / "heads" / "emonet_fast.json").write_text('{"untrained": true}')
    return folder


@pytest.fixture(scope="module")
def grown(tmp_path_factory, untrained):
    """(inputs, output, what was said) of a run over 300 pictures in two parts, planned while the folder grows.

    Ours is the second part. When it has made its plan, and before that is written, one more picture comes, and the
    first part runs to its end in a process of its own. Then 15 pictures change, before ours goes on.
    """
    data = tmp_path_factory.mktemp("changed") / "data"
    data.mkdir()
    output, said = data.parent / "out", []
    pictures = [jpeg(i, 8) for i in range(20)]

    def put(number, content, time=BEFORE):
        path = data / f"{number:03}.jpg"
        path.write_bytes(content)
        os.utime(path, ns=(time, time))

    def say(line):
        said.append(line)
        if line.startswith("plan: "):
            assert len(list(output.glob("_files-*.list"))) == 1
            put(0, pictures[0])
            subprocess.run(command(data, untrained, output, "0/2"), check=True, capture_output=True)
            for i in range(0, 300, 20):
                if i % 60:  # the same size at another time, or another size at the same time
                    put(i, pictures[0], BEFORE + 1)
                else:
                    put(i, pictures[1] + b"\0")

    for i in range(1, 300):
        put(i, pictures[i % 20])
    options = Options(batch_size=4, threads=1)
    settings = Settings((str(data),), str(untrained), output, options, devices="cpu", shard_size=50, part=(1, 2))
    said.append(job.run(settings, say).text())
    return data, output, said


def test_two_runs_that_plan_while_the_folder_grows(grown):
    """The other part listed one file more, and was first: its plan counts, and no row is lost or doubled."""
    data, output, said = grown
    assert "another part has made the plan meanwhile, of other input files: that plan is used" in said
    assert "3 of 3 shards done: 150 pictures as wholes" in said[-1]
    assert rows(output).column("key").to_pylist() == [str(data / f"{i:03}.jpg") for i in range(300)]
    assert [p.name for p in output.glob("_files-*")] == [Folder(output).plan().files_name]


def test_changed_files_are_not_scored(grown):
    """5% of 300 pictures: those of the part that was done before stay, the others say so."""
    data, output, _ = grown
    found = rows(output).to_pylist()
    status = {int(row["key"][-7:-4]): row["status"] for row in found}
    changed = [i for i in range(0, 300, 20) if i // 50 % 2]
    assert [i for i in status if status[i] == "changed"] == changed
    assert all(status[i] == "ok" for i in status if i not in changed)
    reasons = {row["reason"] for row in found if row["status"] == "changed"}
    assert {reason.partition(": ")[0] for reason in reasons} == {"the file has changed since the plan was made"}
    assert any("bytes, not" in reason for reason in reasons)
    assert any("modified 2001-09-09T01:46:40.000" in reason for reason in reasons)
    # With the old content and time it is the planned file again, and --retry-errors looks at its shard.
    plan = Folder(output).plan()
    (file,) = (
        one for one in read_files(Folder(output).files(plan), Span(0, 50, 100), 50) if one.key.endswith("060.jpg")
    )
    assert read_planned(file, 10**6).status == Status.CHANGED
    now = (data / "060.jpg").read_bytes()
    (data / "060.jpg").write_bytes(jpeg(0, 8))
    os.utime(data / "060.jpg", ns=(BEFORE, BEFORE))
    assert read_planned(file, 10**6).data == jpeg(0, 8)
    (data / "060.jpg").write_bytes(now)
    assert Status.CHANGED in job.PASSING


def test_untrained_weights_are_named_in_every_place(grown, tmp_path):
    """In the shards' metadata, the summary, the report and what `evaluate` says, as by `score`."""
    _, output, said = grown
    assert UNTRAINED in said[-1]
    assert pq.read_schema(shards(output)[0]).metadata[b"untrained"].decode() == UNTRAINED
    assert write_report(output, tmp_path / "report.html").notes == [UNTRAINED]
    assert UNTRAINED in (tmp_path / "report.html").read_text("utf-8")
    assert UNTRAINED in read_predictions(shards(output)[0]).notes


def test_folder_is_read_as_documented(grown):
    """The commands of docs/bulk.md, and recursive readers: every row once, and no other row."""
    _, output, _ = grown
    assert pyarrow.dataset.dataset(f"{output}/", exclude_invalid_files=True).count_rows() == 300
    assert pa.dataset.dataset([str(p) for p in output.parent.rglob("*.parquet")]).count_rows() == 300


def test_duckdb_reads_it_as_documented(grown):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    assert duckdb.read_parquet(f"{grown[1]}/*.parquet").count("status").fetchall() == [(300,)]


def test_datasets_reads_it_as_documented(grown, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    found = datasets.load_dataset("parquet", data_files=f"{grown[1]}/*.parquet", cache_dir=str(tmp_path))
    assert found["train"].num_rows == 300


def test_first_layout_goes_on(grown, untrained, tmp_path):
    """A folder with files.parquet and a plan without times: what is done stays, and the list gets out of the way."""
    data, output, _ = grown
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
    summary, _ = run(data, untrained, old, shard_size=50)
    assert (summary.done, summary.scored_now) == (6, 50)
    assert sorted(p.name for p in old.glob("*files*")) == [first.files_name]
    assert {name: contents(old)[name] for name in list(contents(old))[:5]} == dict(list(contents(output).items())[:5])


def _first_form(plan):
    """What version 1 hashed."""
    facts = {name: getattr(plan, name) for name in ("inputs", "shard_size", "image_column", "keep_names", "keep")}
    facts |= {"sources": [["files", "", "", 300, 0, ""]], "files_hash": plan.files_hash}
    shards = [[[0, start, start + 50]] for start in range(0, 300, 50)]
    return facts | {"format": "emonet_fast.bulk.plan", "version": 1, "shards": shards}


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
