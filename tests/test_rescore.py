"""Stored embeddings through the heads alone: the same bits as with pictures, in every output, and clear refusals."""

import io
import json
import os
import signal
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from PIL import Image

from emonet_fast import Scorer
from emonet_fast.backends.openvino.backend import OpenVinoBackend
from emonet_fast.backends.openvino.heads import HeadsBackend
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.tensors import SafetensorsFile
from emonet_fast.commands import main
from emonet_fast.errors import BackendError, DataError, InputError, OptionError
from emonet_fast.records import Status
from emonet_fast.sinks.tables import recover
from emonet_fast.sources.embeddings import Embeddings

from .processes import running
from .tiny import write_tiny

VALUES = ("raw_", "score_", "softmax_")


@pytest.fixture(params=["small", "large"])
def checkpoint(request):
    return request.getfixturevalue(request.param)


def test_the_heads_alone_give_the_bits_that_pictures_give(checkpoint, cache_dir):
    """One by one as pictures come, in any batch, at any place of it."""
    side = checkpoint.vision.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, side, side), dtype=np.uint8)
    backend = OpenVinoBackend(checkpoint, "fp32", cache_dir=cache_dir)
    single = [backend.run(pixels[i : i + 1]) for i in range(3)]
    vectors, raw = (np.concatenate([getattr(one, name) for one in single]) for name in ("embedding", "raw"))
    heads = HeadsBackend(checkpoint, cache_dir=cache_dir)
    places = np.random.default_rng(1).integers(0, 3, heads.batch_size)
    np.testing.assert_array_equal(heads.run(vectors[places]).raw, raw[places])
    np.testing.assert_array_equal(heads.run(vectors[2:]).raw, raw[2:])
    assert raw.std() > 0.1, "scores that do not vary would pass any comparison"


@pytest.mark.parametrize("widths", [(48, 1), (48, 20, 1), (48, 20, 16, 8, 1)])
def test_heads_of_any_number_of_layers_equal_float64(tmp_path, widths):
    """A linear probe has one."""
    pytest.importorskip("torch", reason="torch (extra reference) writes the heads")
    opened = open_checkpoint(write_tiny(tmp_path / "tiny", widths=widths), tmp_path / "cache")
    vectors = np.random.default_rng(0).normal(size=(5, 48)).astype(np.float32)
    file, x = SafetensorsFile(opened.path), np.float64(vectors) / np.linalg.norm(np.float64(vectors), axis=1)[:, None]
    x = np.broadcast_to(x, (44, 5, 48))
    for i in range(len(widths) - 1):
        x = x @ file.array(f"heads.{i}.weight").astype(np.float64).transpose(0, 2, 1)
        x = x + file.array(f"heads.{i}.bias").astype(np.float64)[:, None]
        x = x if i == len(widths) - 2 else np.maximum(x, 0)
    found = HeadsBackend(opened, 8, cache_dir=tmp_path / "cache").run(vectors)
    np.testing.assert_allclose(found.raw, x[..., 0].T, atol=1e-5)  # float32 sums of 48 numbers around 1


def test_an_array_is_scored_without_the_encoder(tiny_folder, tmp_path):
    scorer = Scorer(tiny_folder, cache_dir=tmp_path)
    vectors = np.random.default_rng(0).normal(size=(300, 48))
    vectors[3], vectors[5] = np.nan, 0
    found = scorer.score_embeddings(vectors, keep=True)
    engines = [json.loads(p.read_text())["plan"]["part"] for p in (tmp_path / "engines").glob("*.json")]
    assert engines == ["heads"]
    assert found.keys[299] == "#299"
    assert [i for i, s in enumerate(found.status) if s != Status.OK] == [3, 5]
    assert (found.status[3], found.reason[3]) == (Status.BAD_INPUT, "an embedding that is not finite")
    assert found.reason[5] == "an embedding of zeros only"
    np.testing.assert_array_equal(found.embeddings[found.ok], vectors[found.ok].astype(np.float32))
    assert found.has_softmax
    alone = scorer.score_embeddings(vectors[7:8], keys=["seven"])
    assert alone.keys == ("seven",)
    np.testing.assert_array_equal(alone.raw[0], found.raw[7])
    assert len(scorer.score_embeddings(np.empty((0, 48)))) == 0
    for bad, text in ((np.ones((2, 47)), r"shape \[2, 47\] came"), (np.ones(48), r"shape \[48\]"), ("x", "numbers")):
        with pytest.raises(InputError, match=text):
            scorer.score_embeddings(bad)
    with pytest.raises(InputError, match="1 keys came with 2 embeddings"):
        scorer.score_embeddings(np.ones((2, 48)), keys=["a"])
    scorer.close()


def test_settings_without_effect_are_refused(tiny_folder, cache_dir):
    vectors = np.ones((1, 48))
    for settings, error, text in (
        ({"faces": "detect"}, OptionError, "have no pictures to find faces in"),
        ({"decoder": "pillow"}, OptionError, "decoder is 'pillow', which changes nothing in stored embeddings"),
        ({"device": "cuda"}, BackendError, "device 'cuda' was asked for, and stored embeddings are scored"),
        ({"precision": "bf16"}, BackendError, "precision 'bf16' was asked for"),
    ):
        with pytest.raises(error, match=text):
            Scorer(tiny_folder, cache_dir=cache_dir, **settings).score_embeddings(vectors)


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs `score` in this process, as far as the last line of `main`. Gives what it said."""

    def score(*arguments, ends=0):
        monkeypatch.setattr(sys, "argv", ["emonet-fast", "score", *map(str, arguments)])
        status, said = main._run(), capfd.readouterr()
        assert status == ends, said
        return " ".join((said.out + said.err).split())

    return score


@pytest.fixture
def scored(run, tiny_folder, tmp_path):
    """Pictures' scores with their embeddings: e.parquet, e.npy."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(5):
        rgb = np.random.default_rng(i).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(rgb).save(folder / f"{i}.png")
    (folder / "bad.jpg").write_text("none")
    run(folder, "-c", tiny_folder, "-o", tmp_path / "e.parquet", "--embeddings", "--npy", tmp_path / "e.npy")
    return tmp_path


def values(table):
    return table.select([n for n in table.column_names if n.startswith(VALUES) or n in ("key", "status", "reason")])


@pytest.mark.parametrize("name", ["e.parquet", "e.npy"])
def test_a_stored_file_is_scored_to_the_same_table(name, run, scored, tiny_folder):
    output = run(scored / name, "-c", tiny_folder, "-o", scored / "n.parquet", "--report", scored / "n.html")
    assert "6 pictures: 5 scored, 1 not_an_image;" in output
    assert "from stored embeddings)" in output
    before, after = pq.read_table(scored / "e.parquet"), pq.read_table(scored / "n.parquet")
    assert values(after).equals(values(before))
    facts, was = after.schema.metadata, before.schema.metadata
    assert facts[b"embedding_source"] == str(scored / name).encode()
    assert facts[b"embedding_dtype"] == b"float32"
    for same in (b"encoder_hash", b"checkpoint_hash", b"precision"):
        assert facts[same] == was[same]
    assert "bad.jpg" in (scored / "n.html").read_text("utf-8")


def test_other_heads_of_the_encoder_are_the_use_of_it(run, scored, tiny_folder, tmp_path):
    other = tmp_path / "other"
    write_tiny(other, widths=(48, 1))  # the encoder of the same seed
    run(scored / "e.parquet", "-c", other, "-o", scored / "n.csv", "--baseline", "self")
    assert "z_awe" in (scored / "n.csv").read_text("utf-8").partition("\n")[0]
    write_tiny(other / "2", seed=1)
    output = run(scored / "e.parquet", "-c", other / "2", "-o", scored / "m.csv", ends=2)
    assert "has embeddings of the encoder sha256:" in output
    assert "; the checkpoint's encoder is sha256:" in output
    assert not (scored / "m.csv").exists()


def test_pictures_go_before_embeddings_unless_their_column_is_named(run, scored, tiny_folder):
    table = pq.read_table(scored / "e.parquet", columns=["key", "embedding"]).slice(0, 5)
    out = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(out, "PNG")
    pq.write_table(table.append_column("image", pa.array([out.getvalue()] * 5)), scored / "both.parquet")
    assert "5 scored as a whole" in run(scored / "both.parquet", "-c", tiny_folder)
    named = ("-c", tiny_folder, "--embedding-column", "embedding")
    assert "from stored embeddings" in run(scored / "both.parquet", *named)
    assert "holds embeddings, and" in run(scored / "e.parquet", scored / "pictures", "-c", tiny_folder, ends=2)
    assert "has no finished parquet files" in run(scored / "pictures", *named, ends=2)


def test_a_run_on_embeddings_refuses_what_is_for_pictures(run, scored, tiny_folder):
    for words, text in (
        (("--faces", "detect"), "no pictures to find faces in"),
        (("--decoder", "pillow"), "changes nothing in stored embeddings"),
        (("--device", "cuda"), "by the heads alone"),
        (("-o", scored / "e.parquet"), "is an input too"),
    ):
        assert text in run(scored / "e.parquet", "-c", tiny_folder, *words, ends=2)
    assert "s a picture, measured on the first ones" in run(scored / "e.npy", "-c", tiny_folder, "--dry-run")


def test_heads_that_take_the_encoders_scale_refuse_normalised_embeddings(tmp_path):
    folder = write_tiny(tmp_path / "tiny")
    (folder / "heads" / "emonet_fast.json").write_text('{"l2_normalise": false}')
    vectors = np.random.default_rng(0).normal(size=(9, 48)).astype(np.float32)
    np.save(tmp_path / "long.npy", vectors)
    np.save(tmp_path / "unit.npy", vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    with Scorer(folder, cache_dir=tmp_path / "cache") as scorer:
        assert scorer.score_embeddings(Embeddings(tmp_path / "long.npy")).ok.all()
        with pytest.raises(DataError, match=r"unit\.npy have norm 1, and these heads"):
            scorer.score_embeddings(Embeddings(tmp_path / "unit.npy"))


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_rescoring_run_that_ends_early_is_recovered_and_read_again(how, tiny_folder, tmp_path):
    """Its table and its .npy over older files: whole rows, the same as an undisturbed run's, and what made them."""
    vectors = np.random.default_rng(0).normal(size=(60_000, 48)).astype(np.float32)
    np.save(tmp_path / "in.npy", vectors)
    table, array = tmp_path / "n.csv", tmp_path / "n.npy"
    for older in (table, array):
        older.write_text("older")
    arguments = ("score", tmp_path / "in.npy", "-c", tiny_folder, "-o", table, "--npy", array)
    with running(*arguments, until=tmp_path / "n.npy.partial", size=100_000) as process:
        process.send_signal(how)
        process.communicate(timeout=60)
    assert process.returncode == (130 if how == signal.SIGINT else -how)
    assert table.read_text() == array.read_text() == "older"
    rows, stored = recover(table), recover(array)
    assert 0 < stored <= rows < len(vectors)  # the array comes after the table
    assert sorted(p.name for p in tmp_path.glob("n.*")) == ["n.csv", "n.csv.meta.json", "n.npy", "n.npy.meta.json"]
    np.testing.assert_array_equal(np.load(array), vectors[:stored])
    facts = [json.loads((tmp_path / f"{name}.meta.json").read_text("utf-8")) for name in ("n.csv", "n.npy")]
    assert [one["emonet_fast.rows"] for one in facts] == [str(rows), str(stored)]
    assert facts[0]["encoder_hash"] == facts[1]["encoder_hash"]
    assert facts[1]["embedding_source"] == str(tmp_path / "in.npy")
    again = Embeddings(array)
    assert again.encoder == facts[1]["encoder_hash"]
    with Scorer(tiny_folder, cache_dir=tmp_path / "cache") as scorer:
        expected = scorer.score_embeddings(vectors[:rows]).raw
    found = csv.read_csv(table)
    raw = np.stack([found.column(n).to_numpy() for n in found.column_names if n.startswith("raw_")], axis=1)
    np.testing.assert_array_equal(raw.astype(np.float32), expected)


@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_what_a_table_of_ours_has_beside_scores_is_carried_through(suffix, run, scored, tiny_folder):
    """Columns as of faces and videos, in the rows that they were in; those of scores are made anew."""
    own = pq.read_table(scored / "e.parquet")
    beside = {
        "face_x": pa.array([1.5, None, 3, 4, 5, 6]),
        "track": pa.array([1, 1, 2, None, 2, 3], pa.int64()),
        "reused": pa.array([True, False] * 3),
        "time_base": pa.array(["1/90000"] * 6).dictionary_encode(),
        "smooth_awe": pa.array([0.0] * 6),
        "thumbnail": pa.array([b"x"] * 6),
    }
    for name, column in beside.items():
        own = own.append_column(name, column)
    pq.write_table(own, scored / "video.parquet")
    run(scored / "video.parquet", "-c", tiny_folder, "-o", scored / f"n{suffix}", "--baseline", "self")
    after = (pq.read_table if suffix == ".parquet" else csv.read_csv)(scored / f"n{suffix}")
    for name in ("face_x", "track", "reused", "time_base"):
        assert after.column(name).to_pylist() == beside[name].to_pylist()
    assert not {"smooth_awe", "thumbnail", "embedding"} & set(after.column_names)
    assert after.column("key").to_pylist() == own.column("key").to_pylist()
    assert "z_awe" in after.column_names
    both = (scored / "video.parquet", scored / "e.parquet")
    assert "were left out: face_x, reused, time_base, track" in run(*both, "-c", tiny_folder)
    for table in (scored / "e.npy", scored / "e.parquet"):  # the one has no columns, one none beside
        run(table, "-c", tiny_folder, "-o", scored / "m.parquet")
        assert not set(beside) & set(pq.read_schema(scored / "m.parquet").names)


def test_a_rescored_table_of_a_video_is_summarised_by_its_tracks(run, scored, tiny_folder):
    own = pq.read_table(scored / "e.parquet").slice(0, 4)
    for name, column in (
        ("source", pa.array(["talk.mp4"] * 4)),
        ("seconds", pa.array([0.0, 0.5, 0.0, 0.5])),
        ("track", pa.array([1, 1, 2, 2], pa.int64())),
    ):
        own = own.append_column(name, column)
    pq.write_table(own, scored / "video.parquet")
    run(scored / "video.parquet", "-c", tiny_folder, "-o", scored / "n.parquet")
    summaries = []
    for name in ("video", "n"):
        output = scored / f"summary-{name}.csv"
        done = CliRunner().invoke(
            main.cli, ["summarise", str(scored / f"{name}.parquet"), "--by", "track", "-o", str(output)]
        )
        assert done.exit_code == 0, done.output
        summaries.append(output.read_text("utf-8"))
    assert summaries[0] == summaries[1]
    assert len(summaries[0].splitlines()) > 2
