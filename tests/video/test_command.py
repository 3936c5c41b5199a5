"""`emonet-fast video` as a user meets it: a process, its files, its last words, its exit status, and what ends it."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow.parquet as pq
import pytest

from emonet_fast.sinks.tables import recover

from ..processes import running
from .making import av, whole, write_clip


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "emonet_fast", "video", *map(str, arguments), "--precision", "fp32"]


def emonet(*arguments: object, **more) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, check=False, env={**os.environ}, timeout=120, **more
    )


@pytest.fixture
def inside(monkeypatch, capsys):
    """Runs the command in this process: exit status, standard output, standard error."""
    from emonet_fast.commands import main as cli

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["emonet-fast", "video", *map(str, arguments), "--precision", "fp32"])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        said = capsys.readouterr()
        return int(stopped.value.code or 0), said.out, said.err

    return run


@pytest.fixture(scope="module")
def done(tmp_path_factory, walk, tiny_folder, model):
    out = tmp_path_factory.mktemp("out")
    wanted = [out / f"a.{kind}" for kind in ("parquet", "csv", "jsonl", "json", "vtt", "eaf", "boris.tsv")]
    tables = [text for path in wanted for text in ("-o", path)]
    found = emonet(
        walk.path, "-c", tiny_folder, "--detector-model", model, *tables, "--overlay", out / "a.mp4",
        "--report", out / "a.html", "--fps", "2.5", "--score-every", "2", "--end", "3.9",
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    return found, out


def test_all_files_are_written(done, walk):
    _, out = done
    assert sorted(p.name for p in out.iterdir()) == [
        "a.boris.tsv", "a.csv", "a.csv.meta.json", "a.eaf", "a.html", "a.json", "a.jsonl", "a.jsonl.meta.json", "a.mp4",
        "a.parquet", "a.vtt",
    ]  # fmt: skip
    table = pq.read_table(out / "a.parquet")
    assert set(table["status"].to_pylist()) == {"ok", "no_face"}
    assert table.schema.metadata[b"fps"] == b"2.5"
    assert len((out / "a.jsonl").read_text().splitlines()) == len(table)
    faces = json.loads((out / "a.json").read_text())["annotations"]
    assert len(faces) == table["status"].to_pylist().count("ok")
    played = [f.seconds for f in whole(out / "a.mp4")]
    assert played == [tick / 1000 for tick in walk.ticks if tick <= 3900]


def test_every_output_says_what_was_decided_about_the_pixels(done, walk):
    found, out = done
    fact = "untagged, read as BT.601"
    assert pq.read_schema(out / "a.parquet").metadata[b"colours"].decode() == fact
    for name in ("a.csv.meta.json", "a.jsonl.meta.json"):
        assert json.loads((out / name).read_text())["colours"] == fact
    assert json.loads((out / "a.json").read_text())["info"]["colours"] == fact
    assert f"NOTE colours: {fact}\n" in (out / "a.vtt").read_text()
    with av.open(str(out / "a.mp4")) as opened:
        assert f"colours: {fact}" in opened.metadata["comment"]
    assert f"Colours: {fact}." in (out / "a.html").read_text()
    assert "colours" not in found.stderr  # most videos are untagged: no run needs to say it


def test_counts_of_the_last_line_are_those_of_every_file(done, walk):
    """Rows, sampled frames, faces, tracks and reused rows; the overlay has every frame to the end."""
    said, out = done
    table = pq.read_table(out / "a.parquet").to_pydict()
    last = said.stdout.splitlines()[-1]
    scored = table["status"].count("ok")
    assert last.startswith(f"{len(table['status'])} rows: {scored} scored, ")
    assert f"frames {len(set(table['frame']))} sampled" in last
    assert f"faces {scored} in 2 tracks" in last
    assert f"reused {sum(table['reused'])} rows" in last
    for lines in (
        list(csv.DictReader((out / "a.csv").open(newline=""))),
        [json.loads(line) for line in (out / "a.jsonl").read_text().splitlines()],
    ):
        assert [row["key"] for row in lines] == table["key"]
        assert [str(row["reused"]).lower() for row in lines] == [str(one).lower() for one in table["reused"]]
    page = (out / "a.html").read_text()
    assert f"{len(set(table['frame']))} sampled" in page
    assert f"{scored} in 2 tracks" in page


def test_counts_of_several_inputs_with_boxes_add_up(tmp_path, tiny_folder, inside):
    """Two people in the one, one in half of the other, and a third input that is no video."""
    clips = [write_clip(tmp_path / f"{name}.mp4", range(0, 400, 40)) for name in "ab"]
    (tmp_path / "c.mp4").write_bytes(b"no video" * 100)
    boxes = ["source,frame,x,y,width,height,track_id"]
    boxes += [f"{clips[0]},{frame},{x},8,20,20,{x}" for frame in range(10) for x in (4, 36)]
    boxes += [f"{clips[1]},{frame},4,8,20,20,4" for frame in range(5)]
    (tmp_path / "boxes.csv").write_text("\n".join(boxes) + "\n")
    kinds = [tmp_path / f"t.{kind}" for kind in ("parquet", "csv", "jsonl")]
    status, out, said = inside(
        *clips, tmp_path / "c.mp4", "-c", tiny_folder, "--faces", f"boxes:{tmp_path / 'boxes.csv'}", "--fps", "25",
        "--score-every", "2", *(text for path in kinds for text in ("-o", path)),
    )  # fmt: skip
    assert status == 0, said
    table = pq.read_table(kinds[0]).to_pydict()
    rows = dict.fromkeys(map(str, clips), 0)
    for source in table["source"]:
        rows[source] += 1
    assert list(rows.values()) == [20, 10]
    assert [table["status"].count(kind) for kind in ("ok", "no_face")] == [25, 5]
    reused = sum(table["reused"])
    assert 0 < reused < 25
    last = out.splitlines()[-1]
    for part in ("30 rows: 25 scored, 5 no_face", "20 sampled", "25 in 3 tracks", f"reused {reused} rows"):
        assert part in last
    assert [row["key"] for row in csv.DictReader(kinds[1].open(newline=""))] == table["key"]
    assert [json.loads(row)["key"] for row in kinds[2].read_text().splitlines()] == table["key"]


def test_last_line_tells_what_was_done_and_how_fast(done):
    last = done[0].stdout.splitlines()[-1]
    for part in ("rows:", "scored", "no_face", "sampled", "in 2 tracks", "decode", "detect", "score", "write", "p50",
                 "p95", "rows have the scores of an earlier crop"):  # fmt: skip
        assert part in last


def test_a_bad_input_does_not_take_the_others(tmp_path, walk, tiny_folder):
    out = tmp_path / "a.csv"
    found = emonet(tmp_path / "none.mp4", walk.path, "-c", tiny_folder, "--faces", "none", "-o", out, "--end", "0.5")
    assert found.returncode == 0
    assert "none.mp4 cannot be opened" in found.stderr
    assert out.read_text().count("walk.mp4::frame") == 1


def test_nothing_scored_is_status_2(tmp_path, walk, tiny_folder, inside):
    more = ("-c", tiny_folder, "--faces", "none", "-o", tmp_path / "a.csv")
    status, _, errors = inside("http://127.0.0.1:9/x.mp4", *more)
    assert status == 2
    assert "server running" in errors
    status, _, errors = inside(walk.path, *more, "--start", "100")
    assert status == 2
    assert "gave no frame" in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no output came; expected --output"),
        (["-o", "a.txt"], "expected one of"),
        (["-o", "nowhere/a.csv"], "there is no folder"),
        (["-o", "a.csv", "--report", "a.csv"], "ending in .html"),
        (["--overlay", "./clip.mp4"], "is an input too"),
        (["--fps", "fast"], "expected a number or all"),
        (["--fps", "-1"], "--fps is -1.0; expected a number from 1e-06 to 1000"),
        (["--start", "2", "--end", "1"], "expected end after start"),
        (["--score-every", "0"], "--score-every is 0; expected a whole number from 1 to 1000000"),
        (["--face-score", "5"], "--face-score is 5.0; expected"),
        (["--faces", "mtcnn"], "expected 'none', 'detect' or"),
        (["clip.mp4", "-o", "a.json"], "holds one video"),
        (["-o", "a.csv", "--detector-model", "none.onnx"], "the detector's model none.onnx does not exist"),
        (["-o", "a.csv", "--faces", "boxes:none.csv"], "none.csv"),
        (["-o", "a.csv", "--faces", "none"], "weights does not exist"),
    ],
)
def test_refused_before_weights_are_read(tmp_path, monkeypatch, inside, arguments, said):
    """The last case is the only one that comes as far as the weights."""
    write_clip(tmp_path / "clip.mp4", range(0, 120, 40))
    monkeypatch.chdir(tmp_path)
    status, _, errors = inside("clip.mp4", "-c", "weights", *arguments)
    assert status == 2
    assert said in errors
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_faults_are_told_in_the_order_of_what_they_cost(tmp_path, monkeypatch, inside):
    """Inputs, outputs, detector, weights: each fault is told once what comes before it is right."""
    monkeypatch.chdir(tmp_path)
    wrong = ["clip.mp4", "-c", "weights", "-o", "nowhere/a.csv", "--detector-model", "model.onnx"]
    told = [inside(*wrong)[2]]
    write_clip(tmp_path / "clip.mp4", range(0, 120, 40))
    told.append(inside(*wrong)[2])
    (tmp_path / "nowhere").mkdir()
    told.append(inside(*wrong)[2])
    told.append(inside(*wrong[:-2], "--faces", "none")[2])
    expected = [
        "clip.mp4 cannot be opened as video: there is no such file",
        "there is no folder",
        "model.onnx",
        "weights",
    ]
    for text, words in zip(told, expected, strict=True):
        assert words in text
        assert len(text.splitlines()) == 1


def test_a_missing_file_costs_no_engine(tmp_path):
    """It is told before anything large is imported."""
    code = (
        "import sys; from emonet_fast.commands import main as cli\n"
        "sys.argv = ['emonet-fast', 'video', 'none.mp4', '-c', 'large', '-o', 'a.csv']\n"
        "try:\n    cli.main()\n"
        "except SystemExit as stop:\n"
        "    print(stop.code, sorted({'torch', 'openvino', 'scipy', 'transformers', 'pyarrow'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert (done.stdout, done.stderr) == (
        "2 []\n", "note: none.mp4 cannot be opened as video: there is no such file\n"
    )  # fmt: skip
    assert list(tmp_path.iterdir()) == []


def test_missing_files_are_told_before_the_others_are_scored(tmp_path, walk, inside):
    """Of a list with slips the first message comes at once, not after hours."""
    names = ["a.mp4", walk.path, "b:1.mp4"]
    status, _, errors = inside(*names, "-c", tmp_path / "weights", "--faces", "none", "-o", tmp_path / "o.csv")
    assert status == 2
    assert [line.partition(" ")[2].split(":")[0] for line in errors.splitlines()[:2]] == [
        "a.mp4 cannot be opened as video", "b",
    ]  # fmt: skip
    assert "does not exist" in errors.splitlines()[2]


def test_a_dry_run_says_what_a_run_would_score(tmp_path, walk, tiny_folder, model, inside):
    """What is seen of the file at once, the number of samples, and a time; an older output stays as it is."""
    out = tmp_path / "a.csv"
    out.write_text("older")
    sideways = write_clip(tmp_path / "b.mp4", range(0, 3000, 40), rotation=90)
    arguments = ("-c", tiny_folder, "--detector-model", model, "-o", out, "--fps", "2.5", "--dry-run")
    status, said, errors = inside(walk.path, sideways, tmp_path / "none.mp4", *arguments)
    assert status == 0, errors
    assert said.splitlines()[:3] == [
        f"{walk.path}: QuickTime, h264 400 x 300, audio aac 8000 Hz, 12.5 frames/s, 4.00 s; about 10 frames to score",
        f"{sideways}: QuickTime, h264 64 x 48, no audio, shown as 48 x 64, turned by 90 degrees, 25 frames/s, 3.00 s; "
        "about 8 frames to score",
        "2.5 frames a second, faces: detect",
    ]
    assert re.fullmatch(
        r"about 18 frames of 2 videos, which take about \d+:\d\d \(.* s a frame, .*\)", said.splitlines()[3]
    )
    assert errors.splitlines()[0].endswith("none.mp4 cannot be opened as video: there is no such file")
    assert out.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.mp4"]


def test_a_dry_run_of_a_pipe_reads_no_weights(tmp_path):
    """It could not be read again, so nothing is measured of it."""
    with write_clip(tmp_path / "a.mkv", range(0, 400, 40)).open("rb") as file:
        done = emonet("-", "-c", tmp_path / "weights", "--faces", "none", "--fps", "all", "--dry-run", stdin=file)
    assert done.returncode == 0, done.stderr
    assert "every frame, faces: none" in done.stdout
    assert "the time cannot be said" in done.stdout


def test_disk_that_fills_up(tmp_path, walk, tiny_folder):
    """The system refuses to let a file grow: its rows before that are kept, and the other file is whole."""
    import resource

    out, small = tmp_path / "a.csv", tmp_path / "a.vtt"
    limit = 40_000
    found = emonet(
        walk.path, "-c", tiny_folder, "--faces", "none", "-o", out, "-o", small, "--fps", "all",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert found.returncode == 1, found.stderr
    text = out.read_text()
    assert text.endswith("\n")
    rows = len(text.splitlines()) - 1
    assert 0 < rows < 50
    assert f"kept of it: {rows} rows" in found.stderr
    assert found.stdout.splitlines()[-1].startswith("50 rows: 50 scored")
    last = max(re.findall(r"(\S+) --> ", small.read_text()))
    assert float(last[-6:]) <= walk.ticks[-1] / 1000 <= float(max(re.findall(r"--> 00:00:(\S+)", small.read_text())))


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory) -> Path:
    return write_clip(
        tmp_path_factory.mktemp("long") / "long.mp4", range(0, 40 * 3000, 40), options={"preset": "ultrafast"}
    )


def test_interrupt_finishes_every_file(tmp_path, long_clip, tiny_folder):
    """But it does not replace an older one."""
    out, overlay = tmp_path / "a.parquet", tmp_path / "a.mp4"
    overlay.write_bytes(b"older")
    faces = ("--faces", "none", "--fps", "all")
    arguments = ("video", long_clip, "-c", tiny_folder, *faces, "-o", out, "--overlay", overlay)
    with running(*arguments, until=tmp_path / "a.parquet.partial", size=100_000) as process:
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted: what was scored until then is in the files" in said
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "a.mp4.partial", "a.parquet"]
    assert overlay.read_bytes() == b"older"
    assert "`emonet-fast recover" in errors
    recover(overlay)
    rows = pq.read_table(out)
    assert 0 < len(rows) < 3000
    played = [f.seconds for f in whole(overlay)]
    assert played == rows["seconds"].to_pylist()


def test_killed_run_leaves_its_rows(tmp_path, long_clip, tiny_folder):
    out = tmp_path / "a.parquet"
    arguments = ("video", long_clip, "-c", tiny_folder, "--faces", "none", "--fps", "all", "-o", out)
    with running(*arguments, until=tmp_path / "a.parquet.partial", size=100_000) as process:
        process.kill()
        process.communicate(timeout=60)
    assert not out.exists()
    done = subprocess.run(
        [sys.executable, "-m", "emonet_fast", "recover", out], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = int(done.stdout.split()[-2])
    seconds = pq.read_table(out)["seconds"].to_pylist()
    assert len(seconds) == rows > 0
    assert seconds == [40 * i / 1000 for i in range(rows)]


def test_server_that_hangs_up(tmp_path, tiny_folder, inside):
    """Half a file over HTTP: what came is scored, and the reason said."""
    clip = write_clip(tmp_path / "a.mkv", range(0, 40 * 200, 40))
    data = clip.read_bytes()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data[: len(data) * 3 // 4])

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        out = tmp_path / "a.jsonl"
        where = f"http://127.0.0.1:{server.server_port}/a.mkv"
        status, _, errors = inside(where, "-c", tiny_folder, "--faces", "none", "-o", out)
    finally:
        server.shutdown()
        server.server_close()
    assert status == 0, errors
    assert 2 < len(out.read_text().splitlines()) < 16


def test_boxes_of_pictures_or_of_another_video_are_told_once(tmp_path, tiny_folder, inside):
    """Where no box could be any frame's, before weights are read; else beside the video, which is not empty."""
    clip = write_clip(tmp_path / "a.mp4", range(0, 400, 40))
    boxes, out = tmp_path / "boxes.csv", tmp_path / "t.csv"
    boxes.write_text("key,x,y,width,height\na.jpg,4,8,20,20\n")
    status, _, said = inside(clip, "-c", tmp_path / "none", "--faces", f"boxes:{boxes}", "-o", out)
    assert status == 2
    assert said.startswith(f"error: {boxes} names pictures, and no frame or time of a video")
    boxes.write_text("source,frame,x,y,width,height\nb.mp4,1,4,8,20,20\n")
    status, _, said = inside(clip, "-c", tiny_folder, "--faces", f"boxes:{boxes}", "-o", out)
    assert status == 2
    assert "has the boxes of 'b.mp4'; none of these is" in said
    assert "gave no frame" not in said
