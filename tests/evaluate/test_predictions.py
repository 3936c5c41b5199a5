"""Predictions in every form, and every kind of bad input: refused, counted and named."""

import codecs
import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import emonet_fast as ef
from emonet_fast import taxonomy
from emonet_fast.errors import DataError
from emonet_fast.evaluate.align import ImageId, align, places
from emonet_fast.evaluate.predictions import SLUGS, read_predictions
from emonet_fast.sinks import open_sink

from .made import laion_jsonl, parquet

KEYS = ["a.png", "b.png", "c.png"]


@pytest.fixture
def values():
    return np.random.default_rng(0).normal(2, 1, size=(3, 40))


@pytest.mark.parametrize("ending", ["parquet", "csv", "jsonl", "laion.jsonl"])
def test_files_that_score_writes_are_read(tmp_path, ending):
    """Through the package's own sinks: both kinds of values, a row without scores, heads outside the 40."""
    names = [*SLUGS[::-1], "valence", "my_own_head"]
    raw = np.random.default_rng(0).normal(2, 1, size=(3, 42)).astype(np.float32)
    scores = ef.Scores.from_raw(
        raw, names, dict.fromkeys(names, 0.25), keys=["a,1.png", 'b"2\n.png', "c.png"],
        status=["ok", "empty", "ok"], reason=["", "0 bytes", ""],
    )  # fmt: skip
    path = tmp_path / f"scores.{ending}"
    sink = open_sink(path, format="laion" if "laion" in ending else "default", metadata={})
    sink.write(scores)
    sink.close()
    for kind, moved in (("raw", 0.0), ("score", 0.25)):
        got = read_predictions(path, kind)
        assert got.keys == ("a,1.png", 'b"2\n.png', "c.png")
        assert got.status == ("ok", "empty", "ok")
        want = raw[:, :40][:, ::-1].astype(np.float64) - moved
        np.testing.assert_allclose(got.values[[0, 2]], want[[0, 2]], rtol=1e-15)
        assert np.isnan(got.values[1]).all()
        assert got.has.all()
        assert any("my_own_head" in n for n in got.notes)


@pytest.mark.parametrize("ending", ["csv", "jsonl"])
def test_a_mark_of_the_byte_order_changes_nothing(tmp_path, ending):
    """As Windows' editors write it in front of a text."""
    scores = ef.Scores.from_raw(
        np.ones((2, 40), np.float32), SLUGS, keys=["a.png", "b.png"], status=["ok"] * 2, reason=[""] * 2
    )
    path = tmp_path / f"scores.{ending}"
    sink = open_sink(path, metadata={})
    sink.write(scores)
    sink.close()
    path.write_bytes(codecs.BOM_UTF8 + path.read_bytes())
    assert read_predictions(path, "raw").keys == ("a.png", "b.png")


def test_hopelessness_is_helplessness(tmp_path, values):
    path = parquet(tmp_path / "p.parquet", values, KEYS)
    table = pq.read_table(path)
    pq.write_table(table.rename_columns([c.replace("helplessness", "hopelessness") for c in table.column_names]), path)
    got = read_predictions(path)
    np.testing.assert_allclose(got.values, values.astype(np.float32))


def refused(path, *words, kind="raw", partial=False):
    with pytest.raises(DataError) as caught:
        read_predictions(path, kind, partial)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_repeated_keys(tmp_path, values):
    path = parquet(tmp_path / "p.parquet", values, ["a.png", "b.png", "a.png"])
    refused(path, "more than once", "1: a.png", "Remove")
    refused(laion_jsonl(tmp_path / "p.jsonl", values, ["x", "x", "x"]), "more than once", "x", kind="score")


def test_missing_emotions_are_counted_and_named(tmp_path, values):
    path = parquet(tmp_path / "p.parquet", values, KEYS)
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["raw_awe", "raw_fear"]), path)
    refused(path, "2 of 40 emotions", "Awe", "Fear", "--partial")
    got = read_predictions(path, partial=True)
    assert got.has.sum() == 38
    assert np.isnan(got.values[:, SLUGS.index("awe")]).all()


def test_another_taxonomy(tmp_path):
    path = tmp_path / "p.csv"
    path.write_text("key,status,raw_happy,raw_sad,raw_neutral\na.png,ok,1,2,3\n")
    refused(path, "another taxonomy", "happy", "0 of the 40")
    refused(path, "another taxonomy", partial=True)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_scores(tmp_path, values, bad):
    values[1, 3] = bad
    refused(
        parquet(tmp_path / "p.parquet", values, KEYS), "NaN, infinite or missing", "1 row that says it is ok", "b.png"
    )
    path = tmp_path / "p.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "status", *(f"raw_{s}" for s in SLUGS)])
        writer.writerows([[k, "ok", *row] for k, row in zip(KEYS, values.tolist(), strict=True)])
    refused(path, "NaN, infinite or missing", "b.png")


def test_null_scores_in_a_row_that_is_ok(tmp_path, values):
    path = laion_jsonl(tmp_path / "p.jsonl", values, KEYS)
    path.write_text(path.read_text().replace('"mean_subtracted": ' + str(values[2, 0]), '"mean_subtracted": null', 1))
    refused(path, "missing", "c.png", kind="score")


def test_missing_l2_norm_is_suspected(tmp_path, values):
    refused(parquet(tmp_path / "p.parquet", values + 60, KEYS), "outside -20..20", "3 of 3 rows", "L2 norm", "a.png")


def test_scores_of_0_to_1_are_remarked(tmp_path):
    path = parquet(tmp_path / "p.parquet", np.random.default_rng(0).uniform(0, 1, (3, 40)), KEYS)
    assert any("0..1" in n for n in read_predictions(path).notes)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("p.csv", "path,status\na,ok\n", ["no column key"]),
        ("p.csv", "key,status\na,ok\n", ["no columns raw_<emotion>", "--values score"]),
        ("p.csv", "key,raw_awe\na,high\n", ["CSV", "numbers"]),
        ("p.jsonl", "{not json}\n", ["line 1", "not JSON"]),
        ("p.jsonl", "[1]\n", ["line 1", "expected an object"]),
        ("p.jsonl", '{"results": {}}\n', ["line 1", "image_path"]),
        ("p.jsonl", '{"image_path": "a", "results": 3}\n', ["line 1", "object of heads"]),
        ("p.jsonl", '{"key": "a", "raw_awe": "high"}\n', ["line 1", "expected a number"]),
        ("p.jsonl", "\n", ["no rows"]),
        ("p.parquet", "PAR1", ["cannot be read as parquet"]),
        ("p.xls", "", [".xls", ".parquet, .csv, .jsonl"]),
    ],
)
def test_files_of_no_known_form(tmp_path, name, text, words):
    path = tmp_path / name
    path.write_text(text)
    refused(path, name, *words)


def test_no_file(tmp_path):
    refused(tmp_path / "no.parquet", "is not a file")


def test_no_neutral_baseline(tmp_path):
    line = {
        "image_path": "a",
        "results": {d.file_stem: {"raw": 1.0, "mean_subtracted": None} for d in taxonomy.EMOTIONS},
    }
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps(line) + "\n")
    refused(path, "no columns score_<emotion>", "neutral means", kind="score")
    assert read_predictions(path).values[0, 0] == 1.0


def test_columns_twice(tmp_path):
    path = tmp_path / "p.parquet"
    pq.write_table(pa.table({"key": ["a"], "raw_awe": [1.0], "raw_Awe": [2.0]}), path)
    refused(path, "awe twice")


class TestAlign:
    """Keys to images: by name or by table and row, never by place."""

    def read(self, tmp_path, keys, status=None):
        values = (np.arange(len(keys)) % 8)[:, None] + np.zeros(40)
        return read_predictions(parquet(tmp_path / "p.parquet", values, keys, status))

    @pytest.mark.parametrize(
        "keys",
        [
            ["c.png", "a.png", "b.png"],
            ["x/y/c.png", "a.png", "z/b.png"],
            ["c.jpg", "a.webp", "b"],
            ["s.tar::c.png", "s.tar::d/a.png", "s.tar.gz::b.jpg"],
            ["s.tgz::c.png", "s.tgz::/a.png", "b.png#2"],
            ["c.png::box0", "a.png", "b.png"],
            ["C:\\faces\\c.png", "a.png", "b.png"],
        ],
    )
    def test_by_name(self, tmp_path, keys):
        values, _notes = align(self.read(tmp_path, keys), [ImageId(n) for n in KEYS], False)
        assert values[:, 0].tolist() == [1, 2, 0]

    def test_names_without_an_ending(self, tmp_path):
        values, _notes = align(
            self.read(tmp_path, ["x/v1.5.jpg", "00001.jpg"]), [ImageId("00001"), ImageId("v1.5")], False
        )
        assert values[:, 0].tolist() == [1, 0]

    def test_by_table_and_row(self, tmp_path):
        images = [ImageId("a.png", "s0.parquet::1"), ImageId("b.png", "s1.parquet::0"), ImageId("", "s0.parquet::0")]
        keys = ["data/s1.parquet::0", "data/s0.parquet::0", "data/s0.parquet::1"]
        values, _notes = align(self.read(tmp_path, keys), images, False)
        assert values[:, 0].tolist() == [2, 0, 1]

    def test_files_of_one_name_need_their_folders(self, tmp_path):
        images = [ImageId("one/a.png"), ImageId("two/a.png"), ImageId("b.png")]
        values, _notes = align(self.read(tmp_path, ["x/two/a.png", "x/one/a.png", "b.png"]), images, False)
        assert values[:, 0].tolist() == [1, 0, 2]
        with pytest.raises(DataError, match=r"1 keys .* fit several files.*'one/a.png' and 'two/a.png'.*folders"):
            align(self.read(tmp_path, ["a.png", "x/one/a.png", "b.png"]), images, False)

    def test_another_folder_is_another_image(self, tmp_path):
        _, notes = align(self.read(tmp_path, ["x/a.png", "b.png"]), [ImageId("y/a.png"), ImageId("b.png")], True)
        assert any("1 predictions are for other images" in n and "x/a.png" in n for n in notes)

    def test_a_label_may_name_a_row_of_a_table(self):
        names = [ImageId("d/s.parquet::1"), ImageId("s.parquet::2")]
        assert places(names, ["s.parquet::2", "s.parquet::1", "s.parquet::3"], "here") == [1, 0, None]

    def test_rows_mean_nothing_to_names(self, tmp_path):
        read = self.read(tmp_path, [f"s.parquet::{i}" for i in range(3)])
        with pytest.raises(DataError, match=r"orders differ.*--dataset"):
            align(read, [ImageId(n) for n in KEYS], False)

    def test_two_predictions_for_one_image(self, tmp_path):
        with pytest.raises(DataError, match="more than one prediction for 1 images"):
            align(self.read(tmp_path, ["a.png", "b.png", "c.png", "other/a.jpg"]), [ImageId(n) for n in KEYS], False)

    def test_lacking_images_are_counted_and_named(self, tmp_path):
        images = [ImageId(f"i{i:03}.png") for i in range(200)]
        keys = [f"i{i:03}.png" for i in range(200)]
        status = ["ok"] * 197 + ["empty", "truncated", "empty"]
        read = self.read(tmp_path, keys, status)
        with pytest.raises(DataError, match=r"3 of 200 images .*i197.png, i198.png, i199.png.*1%.*--partial"):
            align(read, images, False)
        values, notes = align(read, images, True)
        assert np.isnan(values[197:]).all()
        assert any("2 empty, 1 truncated" in n for n in notes)
        _, notes = align(self.read(tmp_path, keys[:198]), images, False)  # 1% is not above 1%
        assert any("2 of 200 images" in n for n in notes)

    def test_predictions_of_other_images(self, tmp_path):
        _, notes = align(self.read(tmp_path, [*KEYS, "d.png"]), [ImageId(n) for n in KEYS], False)
        assert any("1 predictions are for other images" in n and "d.png" in n for n in notes)
        with pytest.raises(DataError, match=r"none of the 4 keys .*expected names such as x\.png"):
            align(self.read(tmp_path, [*KEYS, "d.png"]), [ImageId("x.png")], True)

    def test_places(self):
        assert places([ImageId("a.png"), ImageId("b.png")], ["x/b.jpg", "c.png"], "here") == [1, None]
        with pytest.raises(DataError, match="more than one prediction"):
            places([ImageId("a.png")], ["a.png", "a.jpg"], "here")
