"""Whole runs: rows, resuming, refusals, damage, processes that die, full disks."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emonet_fast import Scorer
from emonet_fast.bulk.folder import Folder
from emonet_fast.bulk.job import _check_boxes_again, _plan, _summary, _Work
from emonet_fast.bulk.local import run_local
from emonet_fast.bulk.lock import Lock, LockedError
from emonet_fast.bulk.marker import FoundShard, ShardState
from emonet_fast.bulk.progress import BulkProgress
from emonet_fast.bulk.report import write_report
from emonet_fast.bulk.settings import Settings
from emonet_fast.errors import DataError, EmonetError, InputError, OptionError
from emonet_fast.evaluate.predictions import NAMES
from emonet_fast.options import FaceOptions, Options

from ..tiny import write_tiny
from .made import contents, jpeg, rows, run, shards, table


def test_rows_are_those_of_a_scorer(whole, tiny, faces_set):
    found = rows(whole)
    assert found.num_rows == 240
    images = [r["image"]["bytes"] for f in sorted(faces_set.iterdir()) for r in pq.read_table(f).to_pylist()]
    with Scorer(tiny, batch_size=4, threads=1, device="cpu") as scorer:
        scores = scorer(images)
        hash_ = scorer.checkpoint.weights_hash
    assert found.column("status").to_pylist() == list(map(str, scores.status))
    assert 0 < scores.ok.sum() < 240
    ours = np.stack([found.column(f"raw_{n}").to_numpy() for n in scores.names], axis=1)
    np.testing.assert_array_equal(ours, scores.raw)
    assert found.column("source").to_pylist()[79:81] == [str(f) for f in sorted(faces_set.iterdir())[:2]]
    assert found.column("row").to_pylist() == [i % 80 for i in range(240)]
    assert found.column("key")[100].as_py() == f"{found.column('source')[100]}::20"
    assert found.column("keep_emotion").to_pylist() == [None if i % 41 == 0 else NAMES[i % 41 - 1] for i in range(240)]
    assert found.column("keep_score")[3].as_py() == pytest.approx(3 / 7)
    metadata = pq.read_schema(shards(whole)[0]).metadata
    assert metadata[b"checkpoint_hash"].decode() == hash_
    marker = json.loads((whole / "00003.json").read_text())
    assert marker["fingerprint"]["checkpoint_hash"] == hash_
    assert (marker["rows"], sum(marker["counts"].values()), marker["shard"]) == (20, 20, 3)


def test_resume_mends_and_leaves_the_rest(whole, tiny, faces_set, tmp_path):
    """The newest file cut short, one with other bytes, one without its marker: these are scored again, no others."""
    output = tmp_path / "out"
    subprocess.run(["cp", "-rp", whole, output], check=True)
    before = contents(output)
    cut = shards(output)[11]
    cut.write_bytes(cut.read_bytes()[:-100])
    other = bytearray(before["00005.parquet"])
    other[200] ^= 1
    (output / "00005.parquet").write_bytes(other)
    (output / "00007.json").unlink()
    (output / ".00007.parquet.0123abcd.tmp").write_bytes(b"left by a killed run")
    summary, said = run(faces_set, tiny, output, shard_size=20, keep=("emotion", "score"))
    assert summary.done == summary.shards
    assert summary.scored_now == 60
    assert contents(output) == before
    assert not list(output.glob(".*"))
    assert sum("scored again" in line for line in said) == 2
    assert any(re.search(r"rows/s on cpu; 20 of 60 rows, ETA \d", line) for line in said)
    assert any("00011.parquet has" in line for line in said)
    assert any("00005.parquet is damaged" in line for line in said)
    untouched = [p for p in shards(output) if p.stat().st_mtime_ns == (whole / p.name).stat().st_mtime_ns]
    assert len(untouched) == 9


@pytest.fixture
def copied(whole, tmp_path):
    """A copy of `whole` for a test that locks it."""
    subprocess.run(["cp", "-rp", whole, tmp_path / "copied"], check=True)
    return tmp_path / "copied"


def test_another_run_is_refused_with_the_difference(copied, tiny, faces_set, tmp_path):
    def refused(words, inputs=faces_set, output=copied, **settings):
        defaults = {"shard_size": 20, "keep": ("emotion", "score")}
        with pytest.raises((DataError, OptionError), match=words):
            run(inputs, tiny, output, **defaults | settings)

    refused("batch size: the folder has 4, this run has 8", options=Options(batch_size=8))
    refused("embeddings: the folder has none, this run has fp16", embeddings="fp16")
    refused("shard size: the folder has 20, this run has 10", shard_size=10)
    refused(r"kept columns: the folder has emotion, score, this run has \(none\)", keep=())
    refused("inputs: the folder has", inputs=next(faces_set.iterdir()))
    refused(
        "exif: the folder has yes, this run has no.*another output folder", options=Options(batch_size=4, exif=False)
    )
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "x.txt").touch()
    refused("has no plan.json but holds x.txt", output=tmp_path / "foreign")
    other = write_tiny(tmp_path / "tiny", seed=1)
    with pytest.raises(DataError, match="checkpoint hash: the folder has sha256:"):
        run(faces_set, other, copied, shard_size=20, keep=("emotion", "score"))


def test_every_kind_of_input_and_damage(tiny, tmp_path):
    """Folders, a tar with a corrupt member, a table with a corrupt footer or page, files that vanish or change."""
    data = tmp_path / "data"
    table(data / "a.parquet", [jpeg(1), b"", None, b"text"])
    table(data / "b.parquet", [jpeg(i) for i in range(30)])
    (data / "c.parquet").write_bytes((data / "a.parquet").read_bytes()[:-20])
    with tarfile.open(data / "d.tar", "w") as tar:
        for name in ("1.jpg", "2.jpg", "3.jpg", "3.json"):
            info = tarfile.TarInfo(name)
            info.size = len(jpeg(3))
            tar.addfile(info, io.BytesIO(jpeg(3)))
    broken = bytearray((data / "d.tar").read_bytes())
    second = 512 + -(-len(jpeg(3)) // 512) * 512
    broken[second : second + 300] = b"\x07" * 300
    (data / "d.tar").write_bytes(broken)
    (data / "e.png").write_bytes(jpeg(4))
    (data / "f.jpg").write_bytes(b"no picture")
    (data / "g.mp4").touch()
    pq.write_table(pa.table({"url": ["u"]}), data / "meta.parquet")
    page = bytearray((data / "b.parquet").read_bytes())
    header = pq.read_metadata(data / "b.parquet").row_group(1).column(0).data_page_offset
    page[header : header + 16] = b"\xff" * 16
    (data / "b.parquet").write_bytes(page)
    summary, said = run(data, tiny, tmp_path / "out", shard_size=10, embeddings="fp32")
    assert summary.done == summary.shards
    found = rows(tmp_path / "out").to_pylist()
    status = {os.path.relpath(r["key"], data): r["status"] for r in found}
    assert len(status) == len(found) == 4 + 30 + 1 + 3 + 2
    assert [status[f"a.parquet::{i}"] for i in range(4)] == ["ok", "empty", "unreadable", "not_an_image"]
    assert [status[n] for n in ("c.parquet", "e.png", "f.jpg", "d.tar::1.jpg")] == [
        "unreadable",
        "ok",
        "not_an_image",
        "ok",
    ]
    assert [status[f"d.tar::{n}"] for n in ("<damaged after 1 images>", "3.jpg")] == ["unreadable", "ok"]
    planned = "1 .mp4, 1 table without a picture column"
    assert [line for line in said if line.endswith(f"; skipped: {planned}")], said
    assert summary.text().endswith("; skipped: 1 .json, " + planned)
    write_report(tmp_path / "out", tmp_path / "page.html", pictures=False)
    assert f"skipped: 1 .json, {planned}" in (tmp_path / "page.html").read_text("utf-8")
    lost = [i for i in range(30) if status[f"b.parquet::{i}"] == "unreadable"]
    assert lost == list(range(10, 20)), "a damaged page costs its row group"
    assert any("c.parquet: parquet file:" in line for line in said)
    assert all((r["embedding"] is not None) == (r["status"] == "ok") for r in found)
    # Mended files are scored again with retry_errors, and nothing else is.
    (data / "f.jpg").unlink()
    table(data / "b.parquet", [jpeg(2)] * 31)
    summary, _ = run(data, tiny, tmp_path / "out", shard_size=10, embeddings="fp32", retry_errors=True)
    reasons = {r["reason"] for r in rows(tmp_path / "out").to_pylist() if "b.parquet" in r["key"]}
    assert any("changed since the plan was made" in r for r in reasons)
    assert summary.done == summary.shards


def test_parts_make_the_whole(whole, tiny, faces_set, tmp_path):
    """Three parts of one plan begun at the same moment, one of them by two processes: the same bytes."""

    def part(i: int) -> tuple[int, int]:
        settings = {"part": (i, 3), "devices": "cpu,cpu" if i == 0 else "cpu", "keep": ("emotion", "score")}
        summary, _ = run(faces_set, tiny, tmp_path / "out", shard_size=20, **settings)
        return summary.done, summary.shards

    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(part, range(3))) == [(4, 4)] * 3
    assert contents(tmp_path / "out") == contents(whole)


class _Killer(BulkProgress):
    """Kills the process that scores shard `victim`, as often as it begins."""

    victim = 1

    def advance(self, shard, rows, bad):
        super().advance(shard, rows, bad)
        if shard == self.victim:
            for child in active_children():
                os.kill(child.pid, signal.SIGKILL)


def test_a_process_that_dies_costs_its_shard_alone(tiny, tmp_path):
    """Tried once more, then marked as failed; the rest goes on; exit status 3; --retry-errors mends it."""
    slow = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)).save(slow, "JPEG")
    table(tmp_path / "data" / "a.parquet", [jpeg(0)] * 20 + [slow.getvalue()] * 20 + [jpeg(1)] * 40, group=20)
    said: list[str] = []
    killer = _Killer(said.append)
    output = tmp_path / "out"
    names = {"inputs": (str(tmp_path / "data"),), "checkpoint": str(tiny), "output": output}
    settings = Settings(**names, shard_size=20, options=Options(batch_size=4, threads=1), devices="cpu")
    folder = Folder(output)
    plan, *_ = _plan(settings, folder, said.append)
    killer.begin(plan, range(4))

    def settle(fingerprint):
        folder.keep_plan(replace(plan, fingerprint=fingerprint))
        return list(range(4))

    run_local(settings, folder, 4, settle, killer)
    assert "signal 9" in killer.failed_shards[1]
    assert killer.shards == 3
    states = folder.look(folder.read_plan(), range(4))
    assert [states[i].state for i in range(4)] == [ShardState.DONE, ShardState.FAILED, ShardState.DONE, ShardState.DONE]
    command = ["emonet_fast", "bulk", str(tmp_path / "data"), "-c", str(tiny), "-o", str(output)]
    options = ["--shard-size", "20", "--batch-size", "4", "--devices", "cpu"]
    left = subprocess.run([sys.executable, "-m", *command, *options], capture_output=True, text=True, check=False)
    assert left.returncode == 3, left.stderr
    assert "shard 1 failed: its process ended with signal 9" in left.stdout
    summary, _ = run(tmp_path / "data", tiny, output, shard_size=20, retry_errors=True)
    assert summary.done == summary.shards
    assert summary.scored_now == 20
    assert not summary.failed


def test_full_disk(tiny, faces_set, whole, tmp_path):
    """What is done stays whole; after making room the same command goes on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", str(disk)], capture_output=True)
    if done.returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        settings = {"shard_size": 20, "keep": ("emotion", "score")}
        with pytest.raises(EmonetError, match=r"no space is left.*the same command again"):
            run(faces_set, tiny, disk / "out", **settings)
        folder = Folder(disk / "out")
        plan = folder.read_plan()
        finished = [s for s, f in folder.look(plan, range(12)).items() if f.state == ShardState.DONE]
        assert 0 < len(finished) < 12
        assert not list((disk / "out").glob(".*.tmp"))
        subprocess.run(["mount", "-o", "remount,size=8m", str(disk)], check=True)
        summary, _ = run(faces_set, tiny, disk / "out", **settings)
        assert summary.done == summary.shards
        assert summary.scored_now == 240 - 20 * len(finished)
        assert contents(disk / "out") == contents(whole)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_two_runs_at_once(tiny, faces_set, copied):
    with Lock(copied), pytest.raises(LockedError, match=f"process {os.getpid()} on "):
        run(faces_set, tiny, copied, shard_size=20)


def test_nothing_scored(tmp_path, tiny):
    """A table whose rows all fail is done, too: nothing scored is exit status 2 of the command, not an error."""
    table(tmp_path / "data" / "a.parquet", [b"", b"x"])
    summary, _ = run(tmp_path / "data", tiny, tmp_path / "out")
    assert summary.done == summary.shards
    assert dict(summary.counts) == {"empty": 1, "not_an_image": 1}
    assert "1 of 1 shard done: 2 pictures as wholes" in summary.text()


def test_a_part_without_a_shard_is_done(tiny, tmp_path):
    """As of more jobs in a cluster than the plan has shards: exit status 0, and why nothing was done."""
    data = table(tmp_path / "data" / "a.parquet", [jpeg(0)])
    command = ["emonet_fast", "bulk", str(data), "-c", str(tiny), "-o", str(tmp_path / "out"), "--shard", "5/8"]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, check=True)
    assert "part 5/8 has nothing to do: the plan has 1 shards" in done.stderr
    assert not (tmp_path / "out" / "plan.json").exists()


def test_boxes_that_could_be_two_pictures_are_refused(tiny, tmp_path):
    """A file name in two folders, before anything is scored; in two tars, at the end. What is not named is counted."""
    for name in ("anna", "bert"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "1.jpg").write_bytes(jpeg(0))
        with tarfile.open(tmp_path / f"{name}.tar", "w") as tar:
            tar.add(tmp_path / "in" / name / "1.jpg", "1.jpg")
    boxes = tmp_path / "b.csv"
    faces = FaceOptions(f"boxes:{boxes}")
    settings = Settings((str(tmp_path / "in"),), str(tiny), tmp_path / "out", faces=faces)
    said: list[str] = []
    for content, words in (
        ("key,x,y,width,height\n1.jpg,0,0,30,30\n", r"'1.jpg' of .*b.csv could be '.*anna/1.jpg' or '.*bert/1.jpg'"),
        ("frame,x,y,width,height\n1,0,0,30,30\n", "names frames or times of a video, and no picture"),
    ):
        boxes.write_text(content)
        with pytest.raises(InputError, match=words):
            _plan(settings, Folder(tmp_path / "out"), said.append)
    boxes.write_text("key,x,y,width,height\ncleo/1.jpg,0,0,30,30\n")
    plan, *_ = _plan(settings, Folder(tmp_path / "out"), said.append)
    assert any(line.startswith("2 of 2 pictures have no row in") for line in said)
    marker = {"counts": {"no_face": 2}, "notes": [], "inputs": 2}
    done = {0: FoundShard(ShardState.DONE, marker)}
    work = _Work(settings, Folder(tmp_path / "out"), said.append, BulkProgress(said.append), plan, True, done)
    assert "no picture that could be read has a face in" in _summary(work).text()
    boxes.write_text("key,x,y,width,height\n1.jpg,0,0,30,30\n")
    settings = replace(settings, inputs=(str(tmp_path / "*.tar"),), output=tmp_path / "tars")
    work.folder = Folder(settings.output)
    work.plan, *_ = _plan(settings, work.folder, said.append)
    _check_boxes_again(work)
    for shard, name in enumerate(("anna", "bert")):
        keys = pa.table({"key": [f"{name}.tar::1.jpg::box0"]})
        pq.write_table(keys, work.folder.stem(work.plan, shard).with_suffix(".parquet"))
    with pytest.raises(InputError, match=r"could be 'anna.tar::1.jpg' or 'bert.tar::1.jpg'"):
        _check_boxes_again(work)


def test_rows_of_boxes_from_a_file(tiny, tmp_path):
    """Keys and boxes as by `score`; another content of the file is another run, wherever the file lies."""
    data = table(tmp_path / "data" / "a.parquet", [jpeg(0), b"bad", jpeg(1), jpeg(2)], group=2)
    boxes, moved = tmp_path / "boxes.csv", tmp_path / "moved.csv"
    lines = ["key,x,y,width,height"]
    lines += [f"{data}::{i},{x},2,30,30" for i, x in ((0, 1), (0, 20), (1, 1), (2, -5))]
    boxes.write_text("\n".join(lines) + "\n")
    moved.write_bytes(boxes.read_bytes())
    summary, _ = run(data, tiny, tmp_path / "out", shard_size=2, faces=FaceOptions(f"boxes:{boxes}"))
    assert summary.done == summary.shards
    found = rows(tmp_path / "out").to_pylist()
    assert [r["key"].rpartition("parquet")[2] for r in found] == ["::0::box0", "::0::box1", "::1", "::2::box0", "::3"]
    assert [r["status"] for r in found] == ["ok", "ok", "not_an_image", "ok", "no_face"]
    assert [r["row"] for r in found] == [0, 0, 1, 2, 3]
    assert [r["face_x"] for r in found] == [1, 20, None, -5, None]
    collected = write_report(tmp_path / "out", tmp_path / "page.html")
    assert (collected.count.pictures, collected.count.faces, collected.scored) == (4, 3, 3)
    page = (tmp_path / "page.html").read_text("utf-8")
    counts = re.findall(r'<b>([\d,]+)</b> <span class="soft">(pictures|faces|scored)<', page)
    assert counts == [("4", "pictures"), ("3", "faces"), ("3", "scored")]
    run(data, tiny, tmp_path / "out", shard_size=2, faces=FaceOptions(f"boxes:{moved}"))
    boxes.write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(DataError, match="face boxes: the folder has sha256:"):
        run(data, tiny, tmp_path / "out", shard_size=2, faces=FaceOptions(f"boxes:{boxes}"))


def test_rows_of_faces(tiny, tmp_path):
    """A row for each face with its box, one row for a picture without any; the same bytes whatever the parts."""
    model = Path(__file__).parents[3] / "shared" / "models" / "yunet" / "yunet_s_dynamic.onnx"
    if not model.exists():
        pytest.skip("../shared/models is not beside this checkout")
    astronaut = pytest.importorskip("skimage.data", reason="scikit-image (extra demo) is not installed").astronaut()
    images = []
    for rgb in (np.concatenate([astronaut, astronaut], axis=1), np.full((90, 90, 3), 128, np.uint8), astronaut):
        out = io.BytesIO()
        Image.fromarray(rgb).save(out, "JPEG")
        images.append(out.getvalue())
    data = table(tmp_path / "data" / "a.parquet", [*images, b"bad", images[2]], group=2)
    faces = FaceOptions("detect", model)
    summary, _ = run(data, tiny, tmp_path / "out", shard_size=2, faces=faces)
    assert summary.done == summary.shards
    assert summary.text().endswith("done: 5 pictures, 4 faces: 1 no_face, 1 not_an_image, 4 ok")
    found = rows(tmp_path / "out").to_pylist()
    assert [r["key"].rpartition("parquet")[2] for r in found] == [
        "::0::box0",
        "::0::box1",
        "::1",
        "::2::box0",
        "::3",
        "::4::box0",
    ]
    assert [r["status"] for r in found] == ["ok", "ok", "no_face", "ok", "not_an_image", "ok"]
    assert [r["row"] for r in found] == [0, 0, 1, 2, 3, 4]
    assert [r["face_x"] is not None for r in found] == [s == "ok" for s in [r["status"] for r in found]]
    assert found[3]["face_x"] == pytest.approx(found[5]["face_x"])
    with pytest.raises(DataError, match="min face: the folder has 20, this run has 30"):
        run(data, tiny, tmp_path / "out", shard_size=2, faces=FaceOptions("detect", model, min_face=30.0))
    with pytest.raises(DataError, match="faces: the folder has detect, this run has none"):
        run(data, tiny, tmp_path / "out", shard_size=2)
    page = tmp_path / "report.html"
    write_report(tmp_path / "out", page)
    assert page.read_text().count("data:image/jpeg") == 40 * 4
