"""Scores at a Python prompt and in a notebook: one line, rows, columns, a small table with pictures, plots, files."""

import base64
import io
import math
import sys
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

import emonet_fast as ef
from emonet_fast import taxonomy
from emonet_fast.bars import shown, watched
from emonet_fast.records import Face
from emonet_fast.scores import face_values
from emonet_fast.timeline import Timeline

from .sinks.test_report import Page

SLUGS = [d.slug for d in taxonomy.DIMENSIONS]


def made(rows: int, **more) -> ef.Scores:
    raw = np.random.default_rng(0).normal(1.5, 1.0, (rows, len(SLUGS)))
    return ef.Scores.from_raw(raw, SLUGS, dict.fromkeys(SLUGS, 1.0), **more)


def test_one_line_says_what_there_is():
    status = ["ok"] * 297 + ["empty", "truncated", "empty"]
    assert repr(made(300, status=status)) == "<Scores 300 pictures, 40 emotions, 297 ok>"
    assert repr(made(10_000)) == "<Scores 10000 pictures, 40 emotions, 10000 ok>"
    assert len(repr(made(10_000))) < 100
    assert repr(ef.Scores.from_raw([[1.0]], ["Awe"])) == "<Scores 1 picture, 1 emotion, 1 ok>"


def test_what_stands_beside_scores_is_one_line_too():
    scores = made(9)
    assert repr(scores.as_baseline()) == "<Baseline of 9 rows, 44 dimensions>"
    seconds, whole = np.arange(9) / 2, np.arange(9)
    rows = (scores, "a\nb.mp4", whole, seconds, whole, (Fraction(1, 2),) * 9, whole, whole > 0)
    assert repr(Timeline(*rows)) == "<Timeline 9 rows of a\\nb.mp4, 0.00 to 4.00 s>"


def test_the_scorers_line_opens_nothing(tiny_folder, cache_dir, tmp_path):
    scorer = ef.Scorer(tmp_path / "no\nwhere", device="cpu", cache_dir=tmp_path)
    line = repr(scorer)
    assert line.endswith("\\nwhere, device cpu, precision auto, not open>")
    assert "\n" not in line
    assert len(line) < 100
    with ef.Scorer(tiny_folder, device="cpu", precision="fp32", cache_dir=cache_dir) as scorer:
        assert repr(scorer.open()).endswith(", openvino fp32, open>")
    assert repr(scorer).endswith(", not open>")


@pytest.mark.parametrize("checkpoint", [None, 3, b"large", ["large"]])
def test_a_checkpoint_of_another_type_is_refused_at_once(checkpoint):
    with pytest.raises(
        ef.OptionError, match=r"^checkpoint is .*; expected 'large', 'small', a packed file or a folder"
    ):
        ef.Scorer(checkpoint)


class TestRowsAndColumns:
    scores = made(6, status=["ok"] * 5 + ["empty"], keys=list("abcdef"))

    @pytest.mark.parametrize(
        ("which", "keys"),
        [
            (3, "d"),
            (-1, "f"),
            (np.int64(1), "b"),
            (slice(1, 4), "bcd"),
            (slice(None, None, -2), "fdb"),
            ([4, 0, 0], "eaa"),
            (np.array([5, -6]), "fa"),
            (np.arange(6) % 2 == 0, "ace"),
            ([True, False] * 3, "ace"),
            ([], ""),
        ],
    )
    def test_rows(self, which, keys):
        found = self.scores[which]
        assert "".join(found.keys) == keys
        places = ["abcdef".index(k) for k in keys]
        for name in ("raw", "score", "softmax"):
            np.testing.assert_array_equal(getattr(found, name), getattr(self.scores, name)[places])

    @pytest.mark.parametrize("which", [6, -7, 1.0, [True], [[9]], "a b".split])
    def test_rows_that_are_not_there(self, which):
        with pytest.raises(IndexError):
            self.scores[which]

    def test_iterating_gives_scores_of_one_row(self):
        assert [(len(row), row.keys, row.top(1)) for row in self.scores] == [
            (1, (key,), [top]) for key, top in zip(self.scores.keys, self.scores.top(1), strict=True)
        ]
        assert "".join(self.scores[self.scores.ok].keys) == "abcde"

    def test_columns(self):
        place = SLUGS.index("jealousy_envy")
        np.testing.assert_array_equal(self.scores["Jealousy & Envy"], self.scores.softmax[:, place])
        np.testing.assert_array_equal(self.scores["jealousy_envy"], self.scores.softmax[:, place])
        np.testing.assert_array_equal(self.scores["score_valence"], self.scores.score[:, SLUGS.index("valence")])
        assert self.scores["status"].tolist() == ["ok"] * 5 + ["empty"]
        ranked = self.scores.against(self.scores.as_baseline())
        np.testing.assert_array_equal(ranked["valence"], ranked.z[:, SLUGS.index("valence")])

    def test_what_cannot_be_meant_is_not_guessed(self):
        with pytest.raises(TypeError, match=r"take \.raw, \.score, \.softmax or \.z"):
            np.asarray(self.scores)
        with pytest.raises(TypeError):
            "elation" in self.scores  # noqa: B015

    @pytest.mark.parametrize(
        ("name", "said"),
        [
            ("valence", "no softmax of that name; expected one such as raw_valence, score_valence"),
            ("elaton", "elation"),
        ],
    )
    def test_a_column_that_is_not_there_names_those_that_are(self, name, said):
        with pytest.raises(ef.OptionError, match=f"no column '{name}'.*{said}"):
            self.scores[name]


def images(html: str) -> list[np.ndarray]:
    sources = [a["src"] for a in Page(html).all("img")]
    assert all(s.startswith("data:image/jpeg;base64,") for s in sources)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(s.partition(",")[2])))) for s in sources]


class TestTable:
    def test_is_small_whatever_it_shows(self, tmp_path):
        """Noise makes the largest JPEGs, and keys, reasons and notes may have any length."""
        noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8))
        keys = [str(tmp_path / f"{'x' * 200}{i}.png") for i in range(10_000)]
        for key in keys[:12]:
            noise.save(key)
        notes = ["n" * 50_000] * 9
        html = made(10_000, keys=keys, notes=notes)._repr_html_()
        assert len(images(html)) == 10
        assert len(html) < 100_000
        failed = made(10_000, status=["empty"] * 10_000, reason=["&" * 9_000] * 10_000, keys=["\x1b<" * 9_000] * 10_000)
        assert len(failed._repr_html_()) < 100_000

    def test_shows_the_first_rows_and_what_became_of_all(self):
        status = ["ok"] * 10 + ["empty", "truncated", "empty"]
        scores = made(13, keys=[f"k{i}" for i in range(13)], status=status)
        page = Page(scores._repr_html_())
        assert "13 pictures, 40 emotions, 10 ok (2 empty, 1 truncated); strongest emotions by softmax" in page.text
        assert len(page.all("tr")) == 10
        assert "k9" in page.text
        assert "k10" not in page.text
        assert "3 rows more" in page.text
        slug, value = scores.top(1)[0][0]
        assert taxonomy.find(slug).name[:20] in page.text
        assert f"{value:.0%}" in page.text

    def test_escapes_what_comes_from_outside(self):
        keys = ["<script>alert(1)</script>", '"><img src=x onerror=y>', "a\u202eb"]
        scores = made(3, keys=keys, status=["ok", "ok", "failed"], reason=["", "", "<b>why</b>"], notes=["<i>n</i>"])
        html = scores._repr_html_()
        page = Page(html)
        assert not [tag for tag, _ in page.elements if tag in ("script", "img", "i")]
        assert "<script>alert(1)</script>" in page.text
        assert "failed: <b>why</b>" in page.text
        assert "a\\u202eb" in page.text

    def test_pictures_are_those_of_the_keys(self, tmp_path):
        """Red left of x = 100, blue right of it; a row of a face shows its box, a file given twice stands twice."""
        rgb = np.zeros((120, 200, 3), np.uint8)
        rgb[:, :100, 0] = rgb[:, 100:, 2] = 255
        path = tmp_path / "a.png"
        Image.fromarray(rgb).save(path)
        (tmp_path / "broken.png").write_bytes(b"x")
        keys = [str(path), f"{path}#2", "#0", str(tmp_path), "https://example.com/a.png", str(tmp_path / "broken.png")]
        whole, again = images(made(6, keys=keys)._repr_html_())
        assert whole.shape == again.shape == (34, 56, 3)
        assert whole[17, 10].argmax() == 0
        assert whole[17, 45].argmax() == 2
        boxes = face_values([Face(110, -20, 40, 60), Face(math.nan, 0, 0, 0), Face(900, 900, 9, 9)])
        scores = made(3, keys=[f"{path}::box{i}" for i in range(3)])
        face, picture = images(ef.Scores(**{**vars(scores), "faces": boxes})._repr_html_())
        assert face.shape[:2] == (40, 40)  # never enlarged
        assert (face.reshape(-1, 3).argmax(1) == 2).all()
        assert picture.shape == whole.shape

    def test_of_nothing(self):
        assert "0 pictures, 40 emotions, 0 ok" in Page(made(0)._repr_html_()).text


class TestPlot:
    @pytest.fixture(autouse=True)
    def _canvas(self):
        matplotlib = pytest.importorskip("matplotlib", reason="matplotlib (extra eval) is not installed")
        matplotlib.use("Agg")
        yield
        matplotlib.pyplot.close("all")

    def test_bars_of_one_row_strongest_first(self):
        scores = made(3, keys=["a", "$b$", "c"])
        axes = scores[1].plot("raw")
        widths = [bar.get_width() for bar in axes.patches]
        assert widths == sorted(scores.raw[1, :40].astype(float).tolist())
        names = [label.get_text() for label in axes.get_yticklabels()]
        assert names[-1].startswith(taxonomy.find(scores.top(1, "raw")[1][0][0]).name[:20])
        assert axes.get_xlabel() == "raw"
        axes.figure.savefig(io.BytesIO())

    def test_heat_map_of_several(self):
        scores = made(3, status=["ok", "empty", "ok"], metadata={"untrained": "untrained weights"})
        axes = scores.plot("score")
        (image,) = axes.get_images()
        shown = image.get_array()
        np.testing.assert_array_equal(shown[[0, 2]], scores.score[[0, 2], :40])
        assert np.ma.getmaskarray(shown)[1].all()
        assert -image.norm.vmin == image.norm.vmax == np.nanmax(np.abs(scores.score[:, :40]))  # zero is white
        assert axes.get_title() == "untrained weights"

    def test_draws_where_it_is_told(self):
        from matplotlib.figure import Figure

        axes = Figure().subplots()
        assert made(2).plot(axes=axes) is axes

    def test_a_population_that_never_moves_has_no_z_to_show(self):
        alone = made(1)
        ranked = alone.against(alone.as_baseline())
        with pytest.raises(ef.OptionError, match="no row has scores to plot by z"):
            ranked.plot()
        assert ">ok</td>" in ranked._repr_html_()

    def test_rows_without_scores(self):
        with pytest.raises(ef.OptionError, match="no row has scores to plot"):
            made(2, status=["empty", "failed"]).plot()


class TestFiles:
    def test_are_those_of_the_sinks(self, tmp_path):
        vectors = np.arange(8, dtype=np.float32).reshape(4, 2)
        scores = made(4, keys=["a,b", "ü", "c", "d"], status=["ok"] * 3 + ["empty"], embeddings=vectors)
        scores.to_parquet(tmp_path / "s.parquet")
        assert pq.read_table(tmp_path / "s.parquet").equals(scores.to_arrow())
        ranked = scores.against(base := scores.as_baseline())
        ranked.to_parquet(tmp_path / "s.parquet")
        assert pq.read_schema(tmp_path / "s.parquet").metadata[b"baseline_hash"].decode() == base.facts["baseline_hash"]
        scores[:2].to_parquet(str(tmp_path / "s.parquet"))  # an older file is replaced
        assert pq.read_table(tmp_path / "s.parquet").num_rows == 2
        scores.to_csv(tmp_path / "s.csv")
        lines = (tmp_path / "s.csv").read_text("utf-8").split("\n")
        assert lines[0].startswith("key,status,reason,raw_amusement,")
        assert [line.split(",raw")[0][:5] for line in lines[1:4]] == ['"a,b"', "ü,ok,", "c,ok,"]
        assert sorted(p.name for p in tmp_path.iterdir()) == ["s.csv", "s.csv.meta.json", "s.parquet"]

    def test_of_another_name_are_refused(self, tmp_path):
        with pytest.raises(ef.OptionError, match=r"the file is '.*s.csv'; expected a name ending in .parquet"):
            made(1).to_parquet(tmp_path / "s.csv")
        with pytest.raises(ef.OptionError, match="there is no folder"):
            made(1).to_csv(tmp_path / "no" / "s.csv")
        assert not list(tmp_path.iterdir())


class _Cell(io.StringIO):
    """What a notebook has as standard error."""


_Cell.__module__ = "ipykernel.iostream"


def test_progress_shows_where_somebody_watches(monkeypatch):
    monkeypatch.setattr(sys, "stderr", cell := _Cell())
    assert watched()
    with shown(True, 3):
        pass
    assert "0/3" in cell.getvalue()
    for asked, stream in ((None, io.StringIO()), (False, _Cell()), (None, _Cell())):  # the last one: under a second
        monkeypatch.setattr(sys, "stderr", stream)
        with shown(asked, 3) as bar:
            bar.update(3)
        assert stream.getvalue() == ""


def test_progress_of_a_scorer(tiny_folder, cache_dir, monkeypatch):
    scorer = ef.Scorer(tiny_folder, device="cpu", precision="fp32", cache_dir=cache_dir)
    monkeypatch.setattr(sys, "stderr", cell := _Cell())
    pixels = np.zeros((8, 8, 3), np.uint8)
    assert len(scorer([pixels] * 2, progress=True)) == 2
    assert "0/2" in cell.getvalue()
    assert len(scorer((p for p in [pixels]), progress=True)) == 1  # of unknown length
