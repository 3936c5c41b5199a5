"""The HTML report: one self-contained file that shows the numbers and executes nothing."""

import base64
import dataclasses
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from emonet_fast import taxonomy
from emonet_fast.errors import OptionError
from emonet_fast.records import Face, Photograph, Status
from emonet_fast.reports.pictures import PictureReport
from emonet_fast.scores import NO_BASELINE, Scores, face_values
from emonet_fast.thumbnails import thumbnail

from .rows import HOSTILE, METADATA, NAMES, made

VOID = {"meta", "img", "path", "wbr", "input"}


class Page(HTMLParser):
    """Elements with their attributes, visible text, and whether every tag is closed in order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self._stack: list[str] = []
        self.feed(html)
        self.close()
        assert self._stack == []

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self._stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag):
        assert self._stack.pop() == tag

    def handle_data(self, data):
        if self._stack and self._stack[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag, cls=None):
        return [a for t, a in self.elements if t == tag and (cls is None or cls in a.get("class", "").split())]


def written(path, *batches, notes=(), **more) -> tuple[Page, str]:
    report = PictureReport(path, "A report", METADATA, **more)
    for scores in batches:
        noted = dataclasses.replace(scores, notes=(*notes, *scores.notes))
        report.write(noted, [Image.new("RGB", (300, 200), (200, 90, 30)) for _ in scores.keys])
    report.close()
    html = path.read_text(encoding="utf-8")
    return Page(html), html


def test_shows_counts_facts_and_one_card_an_input(tmp_path):
    scores = made(["a.jpg", "b.jpg", "c.jpg"], bad={1})
    page, _ = written(tmp_path / "r.html", scores)
    assert "3 pictures 2 scored 1 without scores 1 truncated" in page.text
    assert all(value in page.text for value in METADATA.values())
    assert len(page.all("li", "card")) == 3
    assert len(page.all("li", "failed")) == 1
    assert "b.jpg truncated ends after 12 bytes" in page.text
    (slug, value), *_ = scores.top(1)[0]
    percent = f"{value:.0%}" if value >= 0.0995 else f"{value:.1%}"
    dimension = taxonomy.find(slug)
    parts = dimension.name.replace("/", "/ ")
    assert f"a.jpg {parts} {dimension.group} {percent}" in page.text


def test_every_number_of_a_card_stands_where_it_should(tmp_path):
    raw = np.zeros((1, 44), np.float32)
    raw[0, 11] = 4.0
    raw[0, 40:] = 3.5, -1.5, 4.0, 2.5
    page, _ = written(tmp_path / "r.html", Scores.from_raw(raw, NAMES, dict.fromkeys(NAMES, 0.0)))
    share = np.exp(4) / (np.exp(4) + 39)
    widths = [float(a["style"][6:-1]) for a in page.all("i")]
    assert f"Awe Positive High-Energy {share:.0%}" in page.text
    assert round(share / 0.6 * 100, 1) in widths  # a full bar is 60 %, the next step above 58 %
    assert "a full bar is 60% on every card" in page.text
    spots = [a for t, a in page.elements if t == "span" and "spot" in a.get("class", "")]
    assert [a["style"] for a in spots] == ["left:50.0%", "left:25.0%", "left:100.0%", "left:50.0%"]
    assert ["beyond" in a["class"] for a in spots] == [False, False, True, False]
    assert "Arousal 0 7 3.50 Valence −3 3 −1.50 Dominance −3 3 +4.00 Vulnerability 0 5 2.50" in page.text


def test_faces_of_one_photograph_stand_together_boxed_in_it(tmp_path):
    scores = made(["a.jpg::box0", "a.jpg::box1", "b.jpg", "c.jpg::box0"], bad={2})
    found = [Face(10, 20, 30, 40), Face(-5, 0, 50, 60), None, Face(0, 0, 100, 50)]
    scores = dataclasses.replace(scores, faces=face_values(found))
    photos = [Photograph(np.zeros((50, 100, 3), np.uint8), 200, 100), None, None]
    report = PictureReport(tmp_path / "r.html", "A report", METADATA)
    # A photograph's faces may come in several batches; that of c.jpg could not be had.
    for part, photo in ((slice(0, 1), photos[:1]), (slice(1, 4), [*photos[1:], None])):
        rows = range(4)[part]
        report.write(scores.select(rows), [None] * len(rows), photo)
    report.close()
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    assert "3 pictures 3 faces 3 scored 1 without scores" in page.text
    assert [card["class"].split()[-1] for card in page.all("li", "card")] == ["photo", "card", "card", "failed", "card"]
    assert [box["style"] for box in page.all("span", "face")] == [
        "left:5.0%;top:20.0%;width:15.0%;height:40.0%",
        "left:-2.5%;top:0.0%;width:25.0%;height:60.0%",
    ]


def test_means_are_over_all_pictures_and_each_group_is_the_sum_of_its_emotions(tmp_path):
    batches = [made([f"{i}-{j}" for j in range(7)], seed=i, bad={2}) for i in range(3)]
    page, _ = written(tmp_path / "r.html", *batches, max_pictures=2)
    whole = Scores.concat(batches)
    means = whole.softmax[whole.ok].mean(axis=0)
    for group in taxonomy.GROUPS:
        total = sum(m for m, d in zip(means, taxonomy.EMOTIONS, strict=True) if d.group == group)
        assert f"{group} {f'{total:.0%}' if total >= 0.0995 else f'{total:.1%}'}" in page.text
    assert "over 18 scored pictures" in page.text


def test_beyond_max_pictures_only_counts_and_means_go_on(tmp_path):
    batches = [made([f"{i}-{j}.jpg" for j in range(4)], bad={0}) for i in range(5)]
    page, html = written(tmp_path / "r.html", *batches, max_pictures=6)
    assert len(page.all("li", "card")) == 6
    assert "The first 6 of 20 pictures; counts and means above take in all of them." in page.text
    assert "20 pictures 15 scored 5 without scores" in page.text
    assert "1-1.jpg" in html
    assert "1-2.jpg" not in html


def test_memory_is_bounded(tmp_path):
    report = PictureReport(tmp_path / "r.html", "t", {}, max_pictures=3)
    picture = Image.new("RGB", (4, 4))
    scores = made(["a"])
    for i in range(40):
        noted = Scores.from_raw(scores.raw + 30 + i, NAMES, dict.fromkeys(NAMES, 0.0), notes=[f"note {i}"])
        report.write(noted, [picture])
    assert len(report._totals.images) == sum(map(len, report._totals.first)) == 3
    assert len(report._totals.notes) <= 20
    report.close()
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("some rows have raw scores outside") == 1


@pytest.mark.parametrize("max_pictures", [0, 200])
@pytest.mark.parametrize("batches", [[], [made([])], [made(["a", "b"], bad={0, 1})]], ids=["none", "empty", "bad"])
def test_nothing_scored_is_a_valid_page(tmp_path, batches, max_pictures):
    page, _ = written(tmp_path / "r.html", *batches, max_pictures=max_pictures)
    assert page.all("h1")
    assert "All pictures together" not in page.text
    assert page.all("rect") == []


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    keys = [*HOSTILE, '" onerror="alert(1)', "'><img src=x onerror=alert(1)>", "caf\udce9.jpg", "a" * 3000]
    scores = made(keys, bad={0, 8})
    reasons = ["<b>bold</b>\x1b[0m" if r else "" for r in scores.reason]
    scores = Scores.from_raw(scores.raw, NAMES, keys=keys, status=scores.status, reason=reasons)
    page, html = written(tmp_path / "r.html", scores, notes=["<script>note</script>"])
    plain = {t for t, _ in written(tmp_path / "plain.html", made(["a", "b"], bad={1}), notes=["x"])[0].elements}
    assert {t for t, _ in page.elements} == plain  # no key brought an element of its own
    assert "script" not in plain
    assert not [a for _, attrs in page.elements for a in attrs if a.startswith("on")]
    assert "<script>alert(1)</script>.jpg" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert r"\u202egpj.exe" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u2028]", html)


def test_is_self_contained(tmp_path):
    page, html = written(tmp_path / "r.html", made(["a.jpg"]))
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert all(a["src"].startswith("data:image/jpeg;base64,") for a in page.all("img"))
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert not [a for _, attrs in page.elements for a in attrs if a in ("href", "srcset", "xlink:href")]


def test_pictures_are_small_jpegs_of_the_right_shape(tmp_path):
    page, _ = written(tmp_path / "r.html", made(["a.jpg"]))
    (img,) = page.all("img")
    with Image.open(io.BytesIO(base64.b64decode(img["src"].split(",")[1]))) as picture:
        assert (picture.format, picture.size) == ("JPEG", (224, 149))
        assert np.abs(np.asarray(picture).astype(int) - (200, 90, 30)).max() < 8


def test_notes_stand_in_a_banner_before_everything(tmp_path):
    page, html = written(
        tmp_path / "r.html", made(["a"], means=False), notes=["untrained weights: the numbers mean nothing"]
    )
    assert page.all("div", "banner")
    assert html.index("untrained weights: the numbers mean nothing") < html.index("<h1>")
    assert NO_BASELINE in page.text
    assert "Raw, on a scale of 0 to 7" in page.text
    clean, _ = written(tmp_path / "clean.html", made(["a"]))
    assert not clean.all("div", "banner")


def test_heat_map_has_a_cell_a_picture_and_group(tmp_path):
    scores = made(["a", "b", "c"], bad={1})
    page, _ = written(tmp_path / "r.html", scores)
    assert len(page.all("rect")) == 3 * 2 * 7  # softmax, mean-subtracted, raw
    assert {(a["x"], a["y"]) for a in page.all("rect")} == {(str(x), str(y)) for x in range(2) for y in range(7)}


@pytest.mark.parametrize("names", [["Valence"], ["awe", "fear"], ["age"]])
def test_few_heads(tmp_path, names):
    page, _ = written(tmp_path / "r.html", made(["a"], names=names))
    assert len(page.all("li", "card")) == 1


def test_top_says_how_many_bars_a_card_has(tmp_path):
    page, _ = written(tmp_path / "r.html", made(["a", "b"]), top=3)
    assert len(page.all("div", "bar")) == 3 * 6


def test_what_cannot_work_is_refused(tmp_path):
    with pytest.raises(OptionError, match="no folder"):
        PictureReport(tmp_path / "missing" / "r.html", "t", {})
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_ended_early_leaves_an_older_report(tmp_path):
    written(tmp_path / "r.html", made(["older.jpg"]))
    before = (tmp_path / "r.html").read_bytes()
    report = PictureReport(tmp_path / "r.html", "t", {})
    report.write(made(["newer.jpg"]), [None])
    assert "was left as it is" in report.leave()
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]
    assert (tmp_path / "r.html").read_bytes() == before


def test_a_note_of_decoding_stays_with_its_picture(tmp_path):
    scores = Scores.from_raw([[1.0]], ["awe"], status=[Status.OK], reason=["turned upright"])
    page, _ = written(tmp_path / "r.html", scores)
    assert page.all("p", "remark")
    assert "turned upright" in page.text


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((100, 50), (50, 100)),
        ((1000, 500), (112, 224)),
        ((300, 3000), (224, 22)),
        ((1, 5000), (224, 1)),
        ((1, 1), (1, 1)),
    ],
)
def test_thumbnail_keeps_the_aspect_ratio_and_never_enlarges(shape, size):
    rgb = np.full((*shape, 3), 77, np.uint8)
    picture = thumbnail(rgb)
    assert (picture.size, picture.mode) == (size, "RGB")
    assert (np.asarray(picture) == 77).all()


def test_thumbnail_takes_views_and_leaves_them_alone():
    rgb = np.arange(600 * 500 * 3, dtype=np.uint32).astype(np.uint8).reshape(600, 500, 3)
    before = rgb.copy()
    assert thumbnail(rgb[:, ::-1]).size == (187, 224)
    assert np.array_equal(rgb, before)


@pytest.mark.parametrize("late", [False, True], ids=["rows carry it", "known at the end"])
def test_a_reader_switches_between_rankings_without_a_script(tmp_path, late):
    """The page begins with z where there is a baseline, whether it comes with the rows or when all are scored."""
    names = [d.name for d in taxonomy.EMOTIONS]
    usual = made([str(i) for i in range(60)], names=names, seed=1).as_baseline()
    scores = made(["a.jpg", "b.jpg"], names=names)
    report = PictureReport(tmp_path / "r.html", "A report", METADATA, top=2)
    report.write(scores if late else scores.against(usual), [None, None])
    if late:
        report.baseline = usual
    report.close()
    page = Page((tmp_path / "r.html").read_text("utf-8"))
    picks = page.all("input", "pick")
    assert [a["id"] for a in picks] == [a["for"] for a in page.all("label")] == ["v-z", "v-softmax", "v-score", "v-raw"]
    assert ["checked" in a for a in picks] == [True, False, False, False]
    (slug, value), *_ = scores.against(usual).top(1)[0]
    shown = taxonomy.find(slug)
    assert f"a.jpg {shown.name.replace('/', '/ ')} {shown.group} {value:+.1f}" in page.text
    mean = usual.z(scores.raw.astype(float))[:, 0].mean()
    assert f"Amusement {mean:+.1f}".replace("-", "−") in page.text
    assert "ranked by z, spreads above what is usual in the baseline" in page.text
    assert "60 rows; z and percentiles are rough" in page.text


def test_marks_say_how_far_experts_agree(tmp_path):
    page, _ = written(tmp_path / "r.html", made(["a"]), min_reliability=0.3, top=40)
    marks = page.all("span", "agree")
    assert {a.get("title", "")[:33] for a in marks} >= {
        "experts agree on this: alpha 0.58",
        "experts do not agree on this: alp",
    }
    assert len(page.all("div", "bar")) == 3 * 5
    assert "alpha is below 0.3" in page.text
