"""Every program of examples/ runs and prints what it says, on a tiny checkpoint."""

import importlib.util
import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from emonet_fast import taxonomy
from emonet_fast.commands.main import cli
from tests.serve.conftest import running

EXAMPLES = Path(__file__).parents[1] / "examples"
NAMES = {dimension.slug for dimension in taxonomy.EMOTIONS}


def run(name, *arguments, stdin=None, **environment):
    """Standard output of a program of examples/."""
    program = ["bash"] if name.endswith(".sh") else [sys.executable]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        [*program, str(EXAMPLES / name), *map(str, arguments)],
        input=stdin, capture_output=True, check=False, env=os.environ | {"PATH": path} | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    return folder


def test_every_example_is_tested():
    tested = {
        "score_folder.py",
        "video_timeline.py",
        "bulk_slurm.sh",
        "from_raw.py",
        "onnx_scores.cpp",  # these three in tests/recipes
        "onnx_scores.html",
        "kserve_model.py",
        "onnx_scores.mjs",
        "opencv_loop.py",
        "pipeline.py",
        "pycuda_batches.py",
        "send_frames.py",
        "train_stages.sh",
    }
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == tested


def test_send_frames(tiny_folder):
    """Three frames and a cut one; those that the server has no time for are dropped, the newest never is."""
    frames = np.random.default_rng(0).integers(0, 256, (3, 40, 50, 3), np.uint8).tobytes()
    with running(tiny_folder) as server:
        url = f"{server.url.replace('http', 'ws', 1)}/v1/stream?fields=softmax&top=3"
        lines = run("send_frames.py", 50, 40, url, stdin=frames + b"cut").splitlines()
    assert 1 <= len(lines) <= 3
    for line in lines:
        found = re.fullmatch(r"([0-9.]+) s, track (?:None|-?[0-9]+): (.+)", line)
        assert found, line
        seconds, strongest = found.groups()
        assert float(seconds) >= 0
        assert {one.rsplit(" ", 1)[0] for one in strongest.split(", ")} <= NAMES


def test_score_folder(pictures, tiny_folder, tmp_path):
    out = run("score_folder.py", pictures, "--checkpoint", tiny_folder, "--output", tmp_path / "s.parquet")
    lines = out.splitlines()
    assert len(lines) == 5
    assert lines[0].split()[1] in NAMES
    assert "broken.jpg" in lines[4]
    assert pq.read_table(tmp_path / "s.parquet").num_rows == 5


def test_video_timeline(tiny_folder, tmp_path):
    pytest.importorskip("av", reason="PyAV (extra video) is not installed")
    from .video.making import write_clip

    clip = write_clip(tmp_path / "clip.mp4", range(0, 90 * 100, 100))
    out = run("video_timeline.py", clip, "--checkpoint", tiny_folder, "--faces", "none")
    lines = out.splitlines()
    assert lines
    assert all(line.split()[1] == "s" and line.split()[4] in NAMES for line in lines)


def test_bulk_slurm(pictures, tiny_folder, tmp_path):
    """Two jobs of an array write the shards of one plan, each its own; a job without SLURM then finds all done."""
    shards = []
    for part in (0, 1):
        job = {"SLURM_ARRAY_TASK_ID": str(part), "SLURM_ARRAY_TASK_COUNT": "2"}
        run("bulk_slurm.sh", tiny_folder, tmp_path / "out", pictures, "--shard-size", 2, **job)
        shards.append(len(list((tmp_path / "out").glob("[0-9]*.parquet"))))
    rows = [pq.read_table(path).num_rows for path in sorted((tmp_path / "out").glob("[0-9]*.parquet"))]
    assert 0 < shards[0] < shards[1]
    assert sum(rows) == 5
    out = run("bulk_slurm.sh", tiny_folder, tmp_path / "out", pictures, "--shard-size", 2)
    assert out.startswith("3 of 3 shards done")


def test_from_raw(tmp_path):
    names = sorted(NAMES)
    values = np.arange(40.0)
    (tmp_path / "raw.csv").write_text(f"image,{','.join(names)}\na.png,{','.join(map(str, values))}\n")
    (tmp_path / "means.json").write_text(json.dumps(dict.fromkeys(names, 0.5)))
    out = run("from_raw.py", tmp_path / "raw.csv", tmp_path / "means.json")
    share = np.exp(values - values.max())
    assert out.split()[:3] == ["a.png", names[-1], f"{share[-1] / share.sum():.3f}"]


def test_pipeline(tiny_folder):
    pytest.importorskip("scipy", reason="scipy (extra video) is not installed")
    frames = np.random.default_rng(0).integers(0, 256, (10, 40, 60, 3), np.uint8).tobytes()
    out = run("pipeline.py", 60, 40, 5, "--checkpoint", tiny_folder, "--faces", "none", stdin=frames)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["seconds"] for row in rows] == [0.0, 0.6, 1.0, 1.6]  # the first frame at or after each half second
    assert all(isinstance(row["score_awe"], float) for row in rows)


def test_opencv_loop(tiny_folder, tmp_path, monkeypatch, capsys):
    """In this process. Times are the file's, whose first frame OpenCV puts at 0; frames come as RGB."""
    for package in ("av", "cv2", "scipy"):
        pytest.importorskip(package, reason=f"{package} (extra test) is not installed")
    from .video.making import write_clip

    red = np.full((48, 64, 3), (200, 30, 30), np.uint8)
    clip = write_clip(tmp_path / "clip.mp4", range(0, 2000, 250), rate=4, picture=lambda _: red)
    program = runpy.run_path(str(EXAMPLES / "opencv_loop.py"))
    read = list(program["frames"](str(clip), False))
    assert [seconds for seconds, _ in read] == [i / 4 for i in range(8)]
    assert np.abs(read[0][1].mean((0, 1)) - (200, 30, 30)).max() < 10
    monkeypatch.setattr("sys.argv", ["opencv_loop.py", str(clip), "--checkpoint", str(tiny_folder), "--faces", "none"])
    program["main"]()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["0.00", "0.50", "1.00", "1.50"]
    assert all({one.rsplit(" ", 1)[0] for one in line.split(": ")[1].split(", ")} <= NAMES for line in lines)


def test_pycuda_batches(pictures):
    """PyCUDA needs a GPU. Without it the program says what is missing."""
    if importlib.util.find_spec("pycuda") is not None:
        pytest.skip("PyCUDA is installed")
    program = [sys.executable, str(EXAMPLES / "pycuda_batches.py"), str(pictures)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "No module named 'pycuda': pip install pycuda\n"


@pytest.mark.usefixtures("one_thread")
def test_train_stages(tiny_folder, tmp_path, monkeypatch):
    """Heads of 40 emotions that a machine and then people taught stand beside experts, on made data of the layouts."""
    from emonet_fast.checkpoint import encoder_hash, open_checkpoint

    from .evaluate.made import dataset, hq_label

    width = 48
    encoder = {"encoder_hash": encoder_hash(open_checkpoint(tiny_folder, tmp_path / "cache"))}
    rng = np.random.default_rng(0)
    turn = rng.normal(size=(width, 40)) / width**0.5

    def stored(name, rows, keys):
        """Embeddings of rows, and what is true of them, on 0..7."""
        values = rng.normal(size=(rows, width)).astype(np.float32)
        column = pa.array(list(values), pa.list_(pa.float32(), width))
        table = pa.table({"key": keys, "embedding": column}).replace_schema_metadata(encoder)
        pq.write_table(table, tmp_path / f"{name}-embeddings.parquet")
        return 7 / (1 + np.exp(-2 * values @ turn))

    keys = [f"{i}.jpg" for i in range(400)]
    truth = np.clip(stored("big", 400, keys) + rng.normal(size=(400, 40)), 0, 7)
    columns = {d.name: truth[:, e] for e, d in enumerate(taxonomy.EMOTIONS)}
    pq.write_table(pa.table({"key": keys, **columns}), tmp_path / "big.parquet")

    truth = stored("binary", 400, [f"train.parquet::{i}" for i in range(400)])
    told = [truth + 2 * rng.normal(size=truth.shape) > 3.5 for _ in range(3)]
    emotions = [d.name for d in taxonomy.EMOTIONS]
    answers = [
        repr([{f"human-{a}": dict(zip(emotions, one[i].tolist(), strict=True))} for a, one in enumerate(told)])
        for i in range(400)
    ]
    truth = stored("hq", 40, [f"train.parquet::{i}" for i in range(40)])
    experts = [np.clip(np.rint(truth + rng.normal(size=truth.shape)), 0, 7) for _ in range(3)]
    ratings = [hq_label({f"human-{a}": one[i] for a, one in enumerate(experts)}) for i in range(40)]
    for name, labels in (("binary", answers), ("hq", ratings)):
        (tmp_path / name).mkdir()
        dataset(tmp_path / name / "train.parquet", labels, [f"{i}.png" for i in range(len(labels))])

    given = [
        tmp_path / name for name in ("big.parquet", "big-embeddings.parquet", "binary", "binary-embeddings.parquet")
    ]
    out = tmp_path / "out"
    # The script's commands run in this process, in its order: four that load PyTorch anew take half a minute.
    recorder, said = tmp_path / "bin" / "emonet-fast", tmp_path / "said"
    recorder.parent.mkdir()
    recorder.write_text(f"#!/bin/bash\nprintf '%s\\0' \"$@\" >>'{said}'; echo >>'{said}'\n")
    recorder.chmod(0o755)
    run(
        "train_stages.sh", tiny_folder, out, "linear", *given, tmp_path / "hq", tmp_path / "hq-embeddings.parquet",
        PATH=f"{recorder.parent}{os.pathsep}{os.environ['PATH']}",
    )  # fmt: skip
    monkeypatch.setenv("EMONET_FAST_CACHE", str(tmp_path / "cache"))
    commands = [line.split("\0")[:-1] for line in said.read_text().splitlines()]
    assert [command[0] for command in commands] == ["train", "train", "score", "evaluate"]
    for command in commands:
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, (command, done.output, done.exception)
    figures = json.loads((out / "hq.json").read_text())["figures"]
    assert figures["spearman"]["value"] > 0.7  # the heads before they learn anything have 0
    card = (out / "refined" / "README.md").read_text()
    assert "| heads before | big |" in card
    scores = pq.read_table(out / "hq.parquet", columns=["raw_awe", "raw_fear"])
    assert all(2 < np.mean(column) < 5 for column in scores.columns)  # still on 0..7
