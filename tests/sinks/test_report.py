"""The HTML report: one self-contained file that shows the numbers and executes nothing."""

import base64
import dataclasses
import hashlib
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from emonet_fast import taxonomy
from emonet_fast.errors import OptionError
from emonet_fast.records import Face, Photograph, Status
from emonet_fast.reports.page_rows import PICTURE, ROOM
from emonet_fast.reports.pictures import PictureReport
from emonet_fast.scores import NO_BASELINE, Scores, face_values
from emonet_fast.text import value_text
from emonet_fast.thumbnails import encoded, thumbnail

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
        if self._stack and self._stack[-1] not in ("style", "script"):
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
    assert "a full bar is 60% or more on every card" in page.text
    spots = [a for t, a in page.elements if t == "span" and "spot" in a.get("class", "")]
    assert [a["style"] for a in spots] == ["left:50.0%", "left:25.0%", "left:100.0%", "left:50.0%"]
    assert ["beyond" in a["class"] for a in spots] == [False, False, True, False]
    assert "Arousal 0 7 3.50 Valence −3 3 −1.50 Dominance −3 3 +4.00 Vulnerability 0 5 2.50" in page.text


def test_faces_of_one_photograph_stand_together_boxed_in_it(tmp_path):
    scores = made(["a.jpg::box0", "a.jpg::box1", "b.jpg", "c.jpg::box0"], bad={2})
    found = [Face(10, 20, 30, 40), Face(-5, 0, 50, 60), None, Face(0, 0, 100, 50)]
    scores = dataclasses.replace(scores, faces=face_values(found))
    shared = Photograph(np.zeros((50, 100, 3), np.uint8), 200, 100)
    photos = [shared, shared, None]
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
    page, _ = written(tmp_path / "r.html", *batches, shown=2)
    whole = Scores.concat(batches)
    means = whole.softmax[whole.ok].mean(axis=0)
    for group in taxonomy.GROUPS:
        total = sum(m for m, d in zip(means, taxonomy.EMOTIONS, strict=True) if d.group == group)
        assert f"{group} {f'{total:.0%}' if total >= 0.0995 else f'{total:.1%}'}" in page.text
    assert "over 18 scored pictures" in page.text


def rows_of(html):
    """The page's rows as its script reads them."""
    return json.loads(re.search(r'<script type="application/json" id="rows">(.*?)</script>', html, re.DOTALL)[1])


def test_all_rows_are_in_the_page_and_the_first_have_cards_without_its_script(tmp_path):
    batches = [made([f"{i}-{j}.jpg" for j in range(4)], seed=i, bad={0}) for i in range(5)]
    page, html = written(tmp_path / "r.html", *batches, shown=6, most=18)
    assert len(page.all("li", "card")) == 6
    assert "The first 18 of 20 rows; counts and means above take in all of them." in page.text
    assert "20 pictures 15 scored 5 without scores" in page.text
    rows = rows_of(html)
    assert [row[0] for row in rows] == [f"{i}-{j}.jpg" for i in range(5) for j in range(4)][:18]
    assert [row[1:3] for row in rows[4:6]] == [["truncated", "ends after 12 bytes"], ["ok", ""]]
    raw = np.frombuffer(base64.b64decode(rows[9][3]), "<f4")
    assert raw.tolist() == batches[2].raw[1].tolist()
    assert rows[8][3] == ""
    assert [bool(row[4]) for row in rows] == [i >= 6 for i in range(18)]  # the cards of the first have their pictures
    with Image.open(io.BytesIO(base64.b64decode(rows[7][4]))) as picture:
        assert (picture.format, picture.size) == ("WEBP", (128, 85))


def test_memory_is_bounded(tmp_path):
    report = PictureReport(tmp_path / "r.html", "t", {}, shown=3, most=5)
    picture = Image.new("RGB", (4, 4))
    scores = made(["a"])
    for i in range(40):
        noted = Scores.from_raw(scores.raw + 30 + i, NAMES, dict.fromkeys(NAMES, 0.0), notes=[f"note {i}"])
        report.write(noted, [picture])
    totals = report._totals
    assert len(totals.images) == sum(map(len, totals.first)) == 3
    assert totals.rows.count == len(totals.raw) == sum(map(len, totals.raw)) == 5
    assert len(totals.notes) <= 20
    report.close()
    assert (tmp_path / "r.html").read_text(encoding="utf-8").count("some rows have raw scores outside") == 1


def test_ten_thousand_rows_are_below_30_mb(tmp_path):
    """Whatever their pictures are: what these may take in all is bounded, and the rest is measured."""
    scores = made([f"some/folder/of/pictures/{i:06}.jpg" for i in range(100)])
    report = PictureReport(tmp_path / "r.html", "t", METADATA)
    noise = Image.effect_noise((224, 224), 90).convert("RGB")  # what packs worst
    for i in range(100):
        report.write(scores, [noise if i < 3 else None] * 100)
        if i == 1:
            before = report._rows.room
    assert before - report._rows.room <= 100 * (PICTURE[0] * 4 / 3 + 4)
    pictures = ROOM - report._rows.room
    report.close()
    assert report.path.stat().st_size - pictures + ROOM < 30_000_000


def test_pictures_stop_where_the_page_would_become_too_large(tmp_path):
    report = PictureReport(tmp_path / "r.html", "A report", METADATA, shown=2)
    picture = Image.new("RGB", (300, 200), (200, 90, 30))
    report._rows.room = 2 * len(encoded(picture)) + 300
    report.write(made([str(i) for i in range(9)]), [picture] * 9)
    report.close()
    html = report.path.read_text("utf-8")
    page = Page(html)
    there = [bool(row[4]) for row in rows_of(html)]
    assert there[2]
    assert not there[8]
    assert f"{7 - sum(there)} rows have no picture here" in page.text


@pytest.mark.parametrize("shown", [0, 200])
@pytest.mark.parametrize("batches", [[], [made([])], [made(["a", "b"], bad={0, 1})]], ids=["none", "empty", "bad"])
def test_nothing_scored_is_a_valid_page(tmp_path, batches, shown):
    page, _ = written(tmp_path / "r.html", *batches, shown=shown)
    assert page.all("h1")
    assert "All pictures together" not in page.text
    assert "Heat map" not in page.text


def test_hostile_names_are_text_and_nothing_else(tmp_path):
    keys = [*HOSTILE, '" onerror="alert(1)', "'><img src=x onerror=alert(1)>", "caf\udce9.jpg", "a" * 3000]
    scores = made(keys, bad={0, 8})
    reasons = ["<b>bold</b>\x1b[0m" if r else "" for r in scores.reason]
    scores = Scores.from_raw(scores.raw, NAMES, keys=keys, status=scores.status, reason=reasons)
    page, html = written(tmp_path / "r.html", scores, notes=["<script>note</script>"])
    plain = {t for t, _ in written(tmp_path / "plain.html", made(["a", "b"], bad={1}), notes=["x"])[0].elements}
    assert {t for t, _ in page.elements} == plain  # no key brought an element of its own
    assert [a.get("type", "") for a in page.all("script")] == ["application/json", "application/json", ""]
    assert html.count("</script>") == 3
    assert not [a for _, attrs in page.elements for a in attrs if a.startswith("on")]
    assert "<script>alert(1)</script>.jpg" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert r"\u202egpj.exe" in page.text
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069\u2028]", html)


def test_is_self_contained(tmp_path):
    page, html = written(tmp_path / "r.html", made(["a.jpg"]))
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "require-trusted-types-for 'script'; trusted-types 'none'; base-uri 'none'; form-action 'none'"
    )
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval|fetch|XMLHttp|import", script)
    assert all(a["src"].startswith(("data:image/jpeg;base64,", "data:image/png;base64,")) for a in page.all("img"))
    assert "http://" not in html
    assert "https://" not in html
    assert "url(" not in html
    assert not [a for _, attrs in page.elements for a in attrs if a in ("href", "srcset", "xlink:href")]


def test_pictures_are_small_jpegs_of_the_right_shape(tmp_path):
    page, _ = written(tmp_path / "r.html", made(["a.jpg"]))
    (img,) = [a for a in page.all("img") if a["alt"] == "a.jpg"]
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


def heat_of(page, label):
    (image,) = [a["src"] for a in page.all("img") if a["alt"].endswith(label)]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(image.split(",")[1]))).convert("RGBA"))


def test_heat_map_has_a_cell_a_picture_and_group_each_group_by_its_own_scale(tmp_path):
    raw = np.zeros((4, 40), np.float32)
    raw[:, 0] = 0.0, 4.0, 2.0, 1.0  # Amusement, of the first group
    raw[:, 16] = 0.01, 0.0, 0.02, 0.0  # Longing, of the last one
    names = NAMES[:40]
    scores = Scores.from_raw(raw, names, dict.fromkeys(names, 0.0), status=["ok", "ok", "ok", "truncated"])
    page, _ = written(tmp_path / "r.html", scores)
    heat = heat_of(page, "raw (0 to 7)")
    assert heat.shape == (7, 3, 4)
    dark, light = [68, 1, 84, 255], [253, 231, 37, 255]
    assert [heat[0, 0].tolist(), heat[0, 1].tolist()] == [dark, light]
    assert [heat[6, 1].tolist(), heat[6, 2].tolist()] == [dark, light]
    assert "0.00 to 4.00" in page.text
    assert "0.00 to 0.02" in page.text
    assert "One column is one picture" in page.text


def test_a_column_of_a_long_heat_map_is_a_mean(tmp_path):
    scores = made([str(i) for i in range(2400)], names=NAMES[:40])
    report = PictureReport(tmp_path / "r.html", "A report", METADATA)
    report.write(scores, [None] * len(scores))
    report.close()
    page = Page(report.path.read_text("utf-8"))
    heat = heat_of(page, "raw (0 to 7)")
    assert heat.shape[1] == 800
    assert "One column is the mean of 3 pictures" in page.text
    group = [i for i, d in enumerate(taxonomy.EMOTIONS) if d.group == taxonomy.GROUPS[0]]
    columns = scores.raw[:, group].max(axis=1).reshape(800, 3).mean(axis=1)
    assert f"{columns.min():.2f} to {columns.max():.2f}" in page.text
    assert heat[0, columns.argmax()].tolist() == [253, 231, 37, 255]


def test_deviations_stand_beside_means(tmp_path):
    """By n - 1, over batches, also of values far from 0; of z and score it follows from that of raw scores."""
    batches = [made([f"{i}-{j}" for j in range(5)], names=NAMES[:40], seed=i, bad={2}) for i in range(3)]
    usual = made([str(i) for i in range(60)], names=NAMES[:40], seed=7).as_baseline()
    page, _ = written(tmp_path / "r.html", *(scores.against(usual) for scores in batches))
    whole = Scores.concat(batches)
    for kind, table in (("z", usual.z(whole.raw)), ("softmax", whole.softmax), ("score", whole.score)):
        own = table[whole.ok][:, 7]
        text = f"{value_text(own.mean(), kind)} ± {value_text(own.std(ddof=1), kind).removeprefix('+')}"
        assert f"Hope/ Enthusiasm/ Optimism {text.replace('-', '−')}" in page.text
    alone, _ = written(tmp_path / "one.html", made(["a"]))
    assert "±" not in alone.text


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
    assert (
        [a["id"] for a in picks]
        == [a["for"] for a in page.all("label") if "for" in a]
        == ["v-z", "v-softmax", "v-score", "v-raw"]
    )
    assert ["checked" in a for a in picks] == [True, False, False, False]
    (slug, value), *_ = scores.against(usual).top(1)[0]
    shown = taxonomy.find(slug)
    assert f"a.jpg {shown.name.replace('/', '/ ')} {shown.group} {value:+.1f}" in page.text
    mean = usual.z(scores.raw.astype(float))[:, 0].mean()
    assert f"Amusement {mean:+.1f}".replace("-", "−") in page.text
    assert "ranked by z, spreads above what is usual in the baseline" in page.text
    assert "60 rows; z and percentiles are rough" in page.text


def test_a_baseline_in_which_nothing_moves_ranks_nothing(tmp_path):
    """As that of a single picture: the page begins with softmax, and keeps its overview."""
    scores = made(["a.jpg"])
    page, _ = written(tmp_path / "r.html", scores.against(scores.as_baseline()))
    assert [a["id"] for a in page.all("input", "pick")] == ["v-softmax", "v-score", "v-raw"]
    assert "All pictures together" in page.text
    assert not re.search(r"\bnan\b", page.text)


def test_marks_say_how_far_experts_agree(tmp_path):
    page, _ = written(tmp_path / "r.html", made(["a"]), min_reliability=0.3, top=40)
    marks = page.all("span", "agree")
    assert {a.get("title", "")[:33] for a in marks} >= {
        "experts agree on this: alpha 0.58",
        "experts do not agree on this: alp",
    }
    assert len(page.all("div", "bar")) == 3 * 5
    assert "alpha is below 0.3" in page.text
