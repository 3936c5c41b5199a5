"""The command line as a user meets it: a process, its output, its exit status, its files."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import emonet_fast as ef
from emonet_fast import taxonomy
from emonet_fast.checkpoint.heads import MEANS_FILE
from emonet_fast.commands import main
from emonet_fast.sinks.tables import recover

from .processes import running


def emonet(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "emonet_fast", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


@pytest.fixture
def inside(monkeypatch, capfd):
    """Runs a command in this process, as far as the last line of `main`: exit status, standard output and error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["emonet-fast", *map(str, arguments)])
        status = main._run()
        said = capfd.readouterr()
        return status, said.out, said.err

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photos):
    """Three readable pictures, four that are not, and a text that is none."""
    root = tmp_path_factory.mktemp("pictures")
    (root / "deep").mkdir()
    for i, rgb in enumerate(photos[:2]):
        Image.fromarray(rgb).save(root / f"photo{i}.png")
    Image.fromarray(photos[2]).save(root / "deep" / "photo2.jpg", quality=90)
    (root / "bad-empty.jpg").write_bytes(b"")
    (root / "bad-text.jpg").write_text("not a picture")
    (root / "bad-cut.png").write_bytes((root / "photo0.png").read_bytes()[:9000])
    (root / "<script>alert(1)</script>.jpg".replace("/", "_")).write_bytes(b"\xff\xd8\xff")
    (root / "notes.txt").write_text("skipped")
    return root


@pytest.fixture(scope="module")
def scored(folder, published_small, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    done = emonet(
        "score", folder, "--checkpoint", published_small, "--precision", "fp32", "--embeddings",
        "--output", out / "scores.parquet", "--report", out / "report.html", "--top", "3",
    )  # fmt: skip
    return done, out


def test_score_writes_a_row_for_every_input(scored, published_small):
    done, out = scored
    assert done.returncode == 0, done.stderr
    table = pq.read_table(out / "scores.parquet").to_pydict()
    assert len(table["key"]) == 7
    by_key = dict(zip((Path(k).name for k in table["key"]), table["status"], strict=True))
    assert by_key["photo0.png"] == by_key["photo1.png"] == by_key["photo2.jpg"] == "ok"
    assert by_key["bad-empty.jpg"] == "empty"
    assert by_key["bad-text.jpg"] == "not_an_image"
    assert by_key["bad-cut.png"] == "truncated"
    row = table["status"].index("empty")
    assert table["raw_awe"][row] is None
    assert table["embedding"][row] is None
    good = table["status"].index("ok")
    assert len(table["embedding"][good]) == 1152
    assert table["score_awe"][good] == pytest.approx(table["raw_awe"][good] - _mean(published_small, "awe"), abs=1e-6)


def _mean(folder: Path, slug: str) -> float:
    stats = json.loads((folder / "heads" / MEANS_FILE).read_text())
    return float(stats[taxonomy.find(slug).file_stem]["mean"])


def test_a_dry_run_says_how_many_pictures_there_are(inside, folder, tiny_folder, tmp_path):
    status, said, errors = inside("score", folder, "-c", tiny_folder, "-o", tmp_path / "a.csv", "--dry-run")
    assert status == 0, errors
    first, second = said.splitlines()
    assert first == "7 pictures; skipped: 1 .txt; faces: none"
    assert re.fullmatch(r"about \d+:\d\d in all, \S+ s a picture, measured on the first ones; .*", second)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_of_bulk_writes_nothing_and_counts_what_is_left(inside, folder, tiny_folder, tmp_path):
    out = tmp_path / "out"
    command = ("bulk", folder, "-c", tiny_folder, "-o", out, "--shard-size", "1")
    status, said, errors = inside(*command, "--dry-run")
    assert (status, out.exists()) == (0, False), errors
    assert said.splitlines()[0] == "plan: 7 shards, 7 rows; skipped: 1 .txt; faces: none"
    assert re.fullmatch(r"about \d+:\d\d in all, \S+ s a picture, measured on the first ones; .*", said.splitlines()[1])
    assert inside(*command, "--shard", "0/2")[0] == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    status, said, errors = inside(*command, "--dry-run")
    assert status == 0, errors
    assert "4 of 7 shards are done or failed already" in said
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    status, _, errors = inside("bulk", folder, "-c", tiny_folder, "-o", out, "--shard-size", "2", "--dry-run")
    assert status == 2
    assert "shard size: the folder has 1, this run has 2" in errors


def test_last_line_has_the_counts(scored):
    done, _ = scored
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("7 pictures: 3 scored as a whole, ")
    for part in (
        "1 empty",
        "not_an_image",
        "truncated",
        "; skipped: 1 .txt; ",
        "s/image (openvino fp32, decoded by pillow",
    ):
        assert part in last
    assert "untrained weights: the numbers mean nothing" in done.stdout


def test_files_say_where_they_come_from(scored, small):
    _, out = scored
    metadata = pq.read_schema(out / "scores.parquet").metadata
    text = " ".join(f"{k.decode()}={v.decode(errors='replace')}" for k, v in metadata.items())
    for part in (small.weights_hash, "openvino", "fp32", ef.__version__, "schema_version"):
        assert part in text


def test_report_escapes_what_it_shows(scored):
    _, out = scored
    html = (out / "report.html").read_text("utf-8")
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert" in html
    assert "untrained weights" in html
    assert "skipped: 1 .txt" in html


def test_scores_equal_the_python_interface(scored, folder, published_small, cache_dir):
    _, out = scored
    table = pq.read_table(out / "scores.parquet").to_pydict()
    row = [Path(k).name for k in table["key"]].index("photo1.png")
    with ef.Scorer(published_small, precision="fp32", cache_dir=cache_dir) as scorer:
        want = scorer([folder / "photo1.png"])
    got = np.array([table[f"raw_{name}"][row] for name in want.names], np.float32)
    np.testing.assert_array_equal(got, want.raw[0])


def test_laion_format(folder, published_small, tmp_path, inside):
    out = tmp_path / "scores.jsonl"
    status, _, errors = inside("score", folder / "photo0.png", "-c", published_small, "-o", out, "--format", "laion")
    assert status == 0, errors
    (line,) = [json.loads(text) for text in out.read_text("utf-8").splitlines()]
    assert line["image_path"] == str(folder / "photo0.png")
    results = line["results"]
    assert set(results) == {d.file_stem for d in taxonomy.DIMENSIONS}
    elation = results["model_elation_best"]
    assert elation["mean_subtracted"] == pytest.approx(elation["raw"] - _mean(published_small, "elation"), abs=1e-6)
    assert results["model_arousal_best"]["softmax"] is None
    assert sum(r["softmax"] for r in results.values() if r["softmax"] is not None) == pytest.approx(1, abs=1e-6)


def test_nothing_scored_is_exit_status_2(tmp_path, published_small, inside):
    (tmp_path / "a.jpg").write_bytes(b"")
    out = tmp_path / "scores.csv"
    status, said, _ = inside("score", tmp_path / "a.jpg", "-c", published_small, "-o", out)
    assert status == 2
    assert said.strip().splitlines()[-1].startswith("1 picture: 0 scored as a whole, 1 empty")
    assert out.exists(), "the row with its status is a result too"


def test_folder_without_images(tmp_path, published_small, inside):
    (tmp_path / "a.txt").write_text("a")
    status, _, errors = inside("score", tmp_path, "-c", published_small)
    assert status == 2
    assert "Traceback" not in errors
    assert ".txt" in errors


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--checkpoint", "nowhere"], ["nowhere"]),
        (["--checkpoint", "SMALL", "--output", "scores.ods"], [".parquet", ".csv", ".jsonl"]),
        (["--checkpoint", "SMALL", "--output", "no/such/folder/scores.csv"], ["no/such/folder"]),
        (["--checkpoint", "SMALL", "--output", "scores.parquet", "--format", "laion"], [".jsonl"]),
        (["--checkpoint", "SMALL", "--device", "tpu"], ["tpu", "cuda:N"]),
        (["--checkpoint", "SMALL", "--device", "cuda"], ["cuda", "cpu"]),
        (["--checkpoint", "SMALL", "--precision", "fp8"], ["fp8", "bf16"]),
        (["--checkpoint", "SMALL", "--batch-size", "0"], ["--batch-size is 0", "1"]),
        (["--checkpoint", "SMALL", "--output", "a.csv", "--report", "a.csv"], ["ending in .html"]),
        (["--checkpoint", "SMALL", "--report", "PHOTO"], ["ending in .html"]),
    ],
)
def test_errors_are_one_message(arguments, words, folder, published_small, tmp_path, monkeypatch, inside):
    monkeypatch.chdir(tmp_path)
    names = {"SMALL": str(published_small), "PHOTO": str(folder / "photo0.png")}
    filled = [names.get(a, a) for a in ("PHOTO", *arguments)]
    status, _, errors = inside("score", *filled)
    assert status == 2
    assert "Traceback" not in errors
    for word in words:
        assert word in errors
    assert list(tmp_path.iterdir()) == [], "nothing may be half written"


def test_no_network_and_no_weights_says_the_three_ways(folder, tmp_path):
    done = emonet("score", folder, "-c", "large", HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path))
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    for way in ("HF_", "encoder/", "emonet-fast pack"):
        assert way in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_signal_ends_a_run_and_keeps_its_rows(published_small, photos, tmp_path):
    """SIGTERM, as `kill` and services send it, in a long run: its rows are kept, and older files are as they were."""
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    Image.fromarray(photos[0]).save(pictures / "000.jpg")
    for i in range(1, 400):
        os.link(pictures / "000.jpg", pictures / f"{i:03}.jpg")
    out = tmp_path / "out" / "scores.csv"
    out.parent.mkdir()
    out.write_text("older")
    partial, page = out.with_name("scores.csv.partial"), out.with_name("page.html")
    arguments = ("score", pictures, "-c", published_small, "-o", out, "--report", page)
    with running(*arguments, until=partial, size=3000) as process:
        process.send_signal(signal.SIGTERM)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == "interrupted: what was scored until then is kept"
    assert "`emonet-fast recover" in said
    kept = ["page.html", "scores.csv", "scores.csv.partial", "scores.csv.partial.meta.json"]
    assert sorted(p.name for p in out.parent.iterdir()) == kept
    assert out.read_text() == "older"
    rows = recover(out)
    assert 0 < rows < 400
    assert f"{rows} scored" in said.splitlines()[-1]
    assert len(out.read_text().splitlines()) == rows + 1
    facts = json.loads(out.with_name("scores.csv.meta.json").read_text("utf-8"))
    assert facts["emonet_fast.rows"] == str(rows)
    assert facts["checkpoint_hash"].startswith("sha256:")


def test_pack_then_score_gives_the_same(folder, published_small, tmp_path, cache_dir):
    packed = tmp_path / "packed.safetensors"
    done = emonet("pack", "-c", published_small, "-o", packed)
    assert done.returncode == 0, done.stderr
    assert "44 heads" in done.stdout
    picture = folder / "photo0.png"
    with ef.Scorer(packed, precision="fp32", cache_dir=cache_dir) as one:
        got = one([picture])
    with ef.Scorer(published_small, precision="fp32", cache_dir=cache_dir) as other:
        want = other([picture])
    np.testing.assert_array_equal(got.raw, want.raw)
    assert got.metadata["checkpoint_hash"] == want.metadata["checkpoint_hash"]


def test_doctor():
    done = emonet("doctor")
    assert done.returncode == 0, done.stderr
    assert "precision_auto" in done.stdout
    facts = json.loads(emonet("doctor", "--json").stdout)
    assert facts["emonet_fast"] == ef.__version__
    assert facts["cpu_engine"]["available"] is True
    assert facts["cpu_engine"]["precision_auto"] in {"fp32", "bf16"}
    assert facts["cpu_engine"]["streams_auto"] == max(1, facts["machine"]["cores"] // 4)
    assert facts["machine"]["cores"] >= 1


def test_synthetic_refuses_a_filled_folder(tmp_path, inside):
    (tmp_path / "mine").write_text("precious")
    status, _, errors = inside("synthetic", tmp_path, "--layers", "1")
    assert status == 2
    assert "not empty" in errors
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_no_exif_switch(published_small, photos, tmp_path, inside):
    """EXIF orientation 6 is applied first, and --no-exif scores the pixels as they are stored."""
    exif = Image.Exif()
    exif[0x0112] = 6
    upright, stored = tmp_path / "upright.png", tmp_path / "stored.png"
    Image.fromarray(np.rot90(photos[0])).save(stored, exif=exif)
    Image.fromarray(photos[0]).save(upright)
    rows = {}
    for name, switch in (("on", "--exif"), ("off", "--no-exif")):
        out = tmp_path / f"{name}.parquet"
        status, _, errors = inside(
            "score", stored, upright, "-c", published_small, "--precision", "fp32", "-o", out, switch
        )
        assert status == 0, errors
        rows[name] = pq.read_table(out).to_pydict()["raw_awe"]
    assert rows["on"][0] == rows["on"][1]
    assert rows["off"][0] != rows["off"][1]
    assert rows["off"][1] == rows["on"][1]


def test_verify_small_run(tiny_folder, folder, tmp_path):
    pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
    target = tmp_path / "verify.json"
    done = emonet(
        "verify", "-c", tiny_folder, "--images", folder, "--precision", "fp32", "--json", target
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "engine fp32: passes" in done.stdout
    body = json.loads(target.read_text())
    assert body["pictures"] == 3
    assert [row["name"] for row in body["rows"]] == ["reference fp32", "engine fp32"]


@pytest.mark.parametrize("command", ["build", "verify"])
def test_tensorrt_is_not_for_the_cpu(command, published_small, inside):
    status, _, errors = inside(command, "-c", published_small, "--backend", "tensorrt", "--device", "cpu")
    assert status == 2
    assert errors == "error: backend 'tensorrt' does not run on device 'cpu'; expected device cuda or auto\n"
