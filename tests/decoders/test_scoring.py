"""From files to scores through DALI: sources, report, summary, scores beside those through Pillow."""

import io
import tarfile

import numpy as np
import pytest
from click.testing import CliRunner

import emonet_fast as ef
from emonet_fast.commands.main import cli
from emonet_fast.sources import Memory

from .making import encoded

pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")


@pytest.fixture(scope="module")
def scorers(tiny_folder, cache_dir):
    made = {
        name: ef.Scorer(tiny_folder, device="cpu", precision="fp32", decoder=name, cache_dir=cache_dir)
        for name in ("pillow", "dali")
    }
    yield made
    for scorer in made.values():
        scorer.close()


@pytest.fixture(scope="module")
def images(photos):
    cut = encoded(photos[1])[:5000]
    return [*(encoded(p, quality=85) for p in photos[:5]), b"", cut, photos[0], encoded(photos[2], "PNG")]


def test_scores_are_those_through_pillow(scorers, images):
    want, got = scorers["pillow"](images), scorers["dali"](images)
    assert got.keys == want.keys
    assert got.status == want.status
    assert got.reason == want.reason
    np.testing.assert_array_equal(got.raw, want.raw)  # on the CPU the same pixels, bit for bit


def test_metadata_and_copies_say_which_decoder(scorers):
    import pickle

    assert scorers["dali"].metadata["decoder"] == "dali"
    assert pickle.loads(pickle.dumps(scorers["dali"])).options.decoder == "dali"  # noqa: S301 - our own


def test_boxes_of_pictures_are_rows(scorers, photos):
    from emonet_fast.records import Box, Picture

    data = encoded(photos[0], "PNG")
    boxes = (Box(100, 50, 400, 350), Box(-20, -20, 300, 280))
    pictures = [Picture("a", data, boxes=boxes), Picture("b", data)]
    found = [ef.Scores.concat([b.scores for b in scorer.batches(pictures)]) for scorer in scorers.values()]
    assert found[0].keys == found[1].keys == ("a::box0", "a::box1", "b")
    cropped = scorers["pillow"]([photos[0][50:350, 100:400]])
    np.testing.assert_array_equal(found[0].raw[0], cropped.raw[0])
    np.testing.assert_array_equal(found[0].raw, found[1].raw)


def test_pictures_for_the_report(scorers, images):
    batches = list(scorers["dali"].batches(Memory(images, 10**9), keep_rgb=True))
    decoded = [one for batch in batches for one in batch.decoded]
    assert [one.rgb is not None for one in decoded] == [one.status == "ok" for one in decoded]


def test_folder_shard_and_table_by_the_command(tiny_folder, cache_dir, photos, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    datas = [encoded(photos[i], quality=80) for i in range(3)]
    folder = tmp_path / "folder"
    folder.mkdir()
    for i, data in enumerate(datas):
        (folder / f"{i}.jpg").write_bytes(data)
    (folder / "bad.jpg").write_bytes(datas[0][:3000])
    with tarfile.open(tmp_path / "s.tar", "w") as shard:
        for i, data in enumerate(datas):
            member = tarfile.TarInfo(f"{i}.jpg")
            member.size = len(data)
            shard.addfile(member, io.BytesIO(data))
    pq.write_table(pa.table({"image": datas}), tmp_path / "t.parquet")
    out, report = tmp_path / "o.parquet", tmp_path / "r.html"
    inputs = [str(folder), str(tmp_path / "s.tar"), str(tmp_path / "t.parquet")]
    options = ["-c", tiny_folder, "--cache-dir", cache_dir, "--device", "cpu", "--precision", "fp32", "-o", out]
    raw = {}
    for name, more in (("pillow", []), ("dali", ["--report", report])):
        command = ["score", *inputs, *map(str, [*options, *more]), "--decoder", name]
        done = CliRunner().invoke(cli, command)
        assert done.exit_code == 0, done.output
        last = done.output.strip().splitlines()[-1]
        assert last.startswith("10 pictures: 9 scored as a whole, 1 truncated")
        assert last.endswith("decoded by dali, 1 by Pillow)" if name == "dali" else "decoded by pillow)")
        table = pq.read_table(out)
        assert table.schema.metadata[b"decoder"] == name.encode()
        raw[name] = table.column("raw_awe").to_pylist()
    assert raw["dali"] == raw["pillow"]
    assert report.read_text("utf-8").count("data:image/jpeg") >= 9
