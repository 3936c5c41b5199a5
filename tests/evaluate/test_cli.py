"""`emonet-fast evaluate` as a user runs it: the four commands, what they write, what they refuse."""

import base64
import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from emonet_fast.commands.main import cli
from emonet_fast.errors import DataError, MissingPackageError, OptionError
from emonet_fast.evaluate import annotations
from emonet_fast.evaluate.report import text
from emonet_fast.evaluate.result import Result, Table
from emonet_fast.reliability import LEGEND

from ..conftest import SHARED_DATA
from .made import dataset, hq_csv, hq_label, laion_jsonl, parquet, ratings

pytest.importorskip("scipy", reason="scipy (extra eval) is not installed")
pytest.importorskip("matplotlib", reason="matplotlib (extra eval) is not installed")

EVIL = "<script>alert(1)</script> $x^2$ \u202egpj"
N = 30


def run(*arguments):
    """The command's output; errors made on purpose are raised."""
    done = CliRunner().invoke(cli, ["evaluate", *map(str, arguments)], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def hq(tmp_path_factory):
    """Ratings of 3 humans as CSV and as a data set in another order, and predictions of both kinds of key."""
    folder = tmp_path_factory.mktemp("hq")
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 8, (N, 40)).astype(float)
    values = np.clip(np.rint(truth + rng.normal(0, 1, (4, N, 40))), 0, 7)
    values[3] = rng.integers(0, 8, (N, 40))
    given = ratings(values, [True] * 3 + [False], ["human-1", "human-2", "human-3", EVIL])
    hq_csv(folder / "hq.csv", given)
    order = rng.permutation(N)
    labels = [hq_label({f"human-{r + 1}": values[r, i] for r in range(3)}) for i in order]
    (folder / "named").mkdir()
    (folder / "nameless").mkdir()
    dataset(folder / "named" / "train.parquet", labels, [f"a{i:04}.png" for i in order])
    dataset(folder / "nameless" / "train.parquet", labels, [None] * N)
    model = truth + rng.normal(0, 0.5, truth.shape)
    parquet(folder / "by-name.parquet", model, [f"faces/a{i:04}.jpg" for i in range(N)])
    parquet(folder / "by-row.parquet", model[order], [f"somewhere/train.parquet::{i}" for i in range(N)])
    return folder


def test_every_way_to_the_same_figures(hq, tmp_path):
    """By name and CSV; by row and data set; by row and CSV, joined by file names or by the ratings themselves."""
    found = []
    for i, where in enumerate(
        (
            ["--predictions", hq / "by-name.parquet", "--annotations", hq / "hq.csv"],
            ["--predictions", hq / "by-name.parquet", "--dataset", hq / "named"],
            ["--predictions", hq / "by-row.parquet", "--dataset", hq / "nameless"],
            ["--predictions", hq / "by-row.parquet", "--dataset", hq / "named", "--annotations", hq / "hq.csv"],
            ["--predictions", hq / "by-row.parquet", "--dataset", hq / "nameless", "--annotations", hq / "hq.csv"],
        )
    ):
        run("hq", *where, "--bootstraps", 2, "--json", tmp_path / f"{i}.json")
        found.append(json.loads((tmp_path / f"{i}.json").read_text())["figures"])
    for other in found[1:]:
        for slug in ("kappa", "kappa_humans", "spearman", "alpha", "kappa_rounded"):
            assert other[slug]["value"] == pytest.approx(found[0][slug]["value"], abs=1e-12), slug
    assert 0.5 < found[0]["kappa"]["value"] < 1
    with pytest.raises(DataError, match="orders differ"):
        run("hq", "--predictions", hq / "by-row.parquet", "--annotations", hq / "hq.csv")


@pytest.fixture(scope="module")
def written(hq, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    shown = run(
        "hq", "-p", hq / "by-name.parquet", "--annotations", hq / "hq.csv", "--bootstraps", 20, "--name", "<b>Mine</b>",
        "--report", out / "r.html", "--charts", out / "charts", "--json", out / "r.json",
    )  # fmt: skip
    return shown, out


def test_hq_output(written):
    shown, out = written
    assert re.search(
        r"Weighted kappa, model with humans +0\.\d{3} +0\.\d{3} to 0\.\d{3} +the paper's +Large 0\.179", shown
    )
    assert "Kappa with rounding instead of truncation" in shown
    assert "alpha >= 0.3" in shown
    assert "\u202e" not in shown
    assert shown.strip().splitlines()[-1] == f"wrote {out / 'r.html'}"
    tables = json.loads((out / "r.json").read_text())["tables"]
    assert len(tables["emotions"]["rows"]) == 40
    assert {r["rater"] for r in tables["raters"]["rows"]} == {"human-1", "human-2", "human-3", EVIL, "<b>Mine</b>"}
    row = tables["emotions"]["rows"][0]
    assert row["kappa low"] <= row["kappa"] <= row["kappa high"]


def test_charts_are_pictures(written):
    """Real PNGs with ink in them; the heat map has as many rows and columns as raters."""
    _, out = written
    for name in ("hq-raters.png", "hq-emotions.png"):
        image = Image.open(out / "charts" / name)
        image.load()
        assert min(image.size) > 600
        assert len(np.unique(np.asarray(image.convert("L")))) > 20


class Page(HTMLParser):
    """What a page asks a browser to do."""

    def __init__(self):
        super().__init__()
        self.tags, self.links, self.images = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [v for k, v in attrs if k in ("src", "href") and v is not None]
        self.images += [v for k, v in attrs if k in ("src", "srcset") and v is not None]


def test_report_is_self_contained_and_escaped(written):
    _, out = written
    text = (out / "r.html").read_text("utf-8")
    page = Page()
    page.feed(text)
    assert {"script", "b", "link", "iframe"}.isdisjoint(page.tags)
    assert "&lt;b&gt;Mine&lt;/b&gt;" in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "\u202e" not in text
    assert "default-src &#39;none&#39;" in text or "default-src 'none'" in text
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    pictures = [Image.open(BytesIO(base64.b64decode(image.partition(",")[2]))).convert("L") for image in page.images]
    assert len(pictures) == 4  # of each chart one for a dark page, which comes first, and one for a light page
    for dark, light in zip(pictures[::2], pictures[1::2], strict=True):
        assert dark.size == light.size
        assert (dark.getpixel((1, 1)), light.getpixel((1, 1))) == (28, 255)  # the panels of reports/base.html
        assert dark.getextrema()[1] > 200  # light letters
        assert light.getextrema()[0] < 50
    assert text.count("<table") == 6
    assert re.search(r"<td>Elation<span class=\"agree agree-agree\" role=\"img\" title=\"experts agree on this", text)


def test_binary_on_the_published_answers(tmp_path):
    published = SHARED_DATA / "binary.csv"
    if not published.exists():
        pytest.skip("../shared/data/binary.csv is not beside this checkout")
    answers = annotations.binary_from_csv(published)
    rng = np.random.default_rng(0)
    values = rng.normal(0, 0.7, (len(answers.images), 40))
    values[answers.image, answers.emotion] += 2.0 * (answers.yes > 0)
    keys = [f"images/{image.name}.jpg" for image in answers.images]
    parquet(tmp_path / "p.parquet", values, keys)
    shown = run(
        "binary", "--predictions", tmp_path / "p.parquet", "--annotations", published, "--bootstraps", 3,
        "--report", tmp_path / "b.html", "--charts", tmp_path / "charts", "--json", tmp_path / "b.json",
    )  # fmt: skip
    for share in ("0.618609", "0.132447", "0.248943"):
        assert share in shown
    body = json.loads((tmp_path / "b.json").read_text())
    everyone = body["tables"]["agreement"]["rows"][-1]
    assert (everyone["emotion"], everyone["pairs"]) == ("all", 14670)
    # two normals 2 apart with deviation 0.7: AUC is the normal distribution function at 2 / (0.7 sqrt 2)
    assert body["figures"]["clear_auc"]["value"] == pytest.approx(0.97833, abs=0.003)
    assert {p.name for p in (tmp_path / "charts").iterdir()} == {"binary-auc.png", "binary-agreement.png"}


def test_binary_from_a_data_set(tmp_path):
    labels = [repr([{"human-1": {"Awe": i % 3 == 0}}, {"human-2": {"Awe": i % 2 == 0}}]) for i in range(12)]
    (tmp_path / "data").mkdir()
    dataset(tmp_path / "data" / "train.parquet", labels, [f"{i:05}.jpg" for i in range(12)])
    values = np.random.default_rng(0).normal(1, 1, (12, 40))
    parquet(tmp_path / "p.parquet", values, [f"train.parquet::{i}" for i in range(12)])
    run(
        "binary", "-p", tmp_path / "p.parquet", "--dataset", tmp_path / "data", "--bootstraps", 5, "--json",
        tmp_path / "b.json",
    )  # fmt: skip
    body = json.loads((tmp_path / "b.json").read_text())
    assert body["facts"]["answers"] == "24"
    assert body["figures"]["agreement"]["value"] == 0.5
    assert body["tables"]["detection_all"]["rows"][0]["emotion"] == "Awe"


def test_any_hit(tmp_path):
    values = np.random.default_rng(0).normal(0, 1, (24, 40))
    keys = [f"ferd_images/{i:04}_{'Happy' if i % 2 else 'Sad'}.jpg" for i in range(24)]
    laion_jsonl(tmp_path / "p.jsonl", values, keys)
    (tmp_path / "m.json").write_text(json.dumps({"classes": {"happy": ["elation"], "sad": ["sadness", "pain"]}}))
    shown = run(
        "any-hit", "--predictions", tmp_path / "p.jsonl", "--mapping", tmp_path / "m.json", "--labels", "from-name",
        "--report", tmp_path / "a.html", "--charts", tmp_path / "charts",
    )  # fmt: skip
    for line in (
        "Any-hit accuracy ",
        "Accuracy of the strongest head",
        "Random scores, same rule",
        "Balanced accuracy",
    ):
        assert line in shown
    assert "cutoff: 0.5000" in shown  # 1.5 / 3 mapped heads
    assert (tmp_path / "charts" / "any-hit-classes.png").exists()


def test_demographics(hq, tmp_path):
    shown = run(
        "demographics", "--predictions", hq / "by-row.parquet", "--dataset", hq / "named", "--bootstraps", 20,
        "--report", tmp_path / "d.html", "--json", tmp_path / "d.json",
    )  # fmt: skip
    assert "not measured attributes of anybody" in shown
    assert "not measured attributes of anybody" in (tmp_path / "d.html").read_text("utf-8")
    tables = json.loads((tmp_path / "d.json").read_text())["tables"]
    assert {r["column"] for r in tables["groups_error"]["rows"]} == {"age", "gender", "ethnicity"}
    assert len(tables["emotions"]["rows"]) == 40 * 3 * 2
    run("demographics", "-p", hq / "by-row.parquet", "--dataset", hq / "named", "--no-annotations", "--bootstraps", 5)


def test_lacking_images_need_partial(hq, tmp_path):
    values = np.random.default_rng(0).normal(2, 1, (N - 1, 40))
    parquet(tmp_path / "p.parquet", values, [f"a{i:04}.png" for i in range(1, N)])
    command = ["hq", "-p", tmp_path / "p.parquet", "--annotations", hq / "hq.csv", "--bootstraps", 2]
    with pytest.raises(DataError, match=r"1 of 30 images have no scores.*a0000.png.*--partial"):
        run(*command)
    assert "note: 1 of 30 images have no scores" in run(*command, "--partial")


def test_errors_are_one_line(tmp_path):
    command = [sys.executable, "-m", "emonet_fast", "evaluate", "hq", "-p", "nowhere.parquet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere.parquet is not a file")
    assert "Traceback" not in done.stderr


def test_missing_extra_is_named(hq, monkeypatch):
    monkeypatch.setattr("emonet_fast.optional.available", lambda package: package != "scipy")
    with pytest.raises(MissingPackageError, match=r"pip install 'emonet-fast\[eval\]'"):
        run("hq", "-p", hq / "by-name.parquet", "--annotations", hq / "hq.csv")


def test_outputs_are_tried_before_anything_is_computed(hq, tmp_path, monkeypatch):
    command = ["hq", "-p", tmp_path / "not read at all", "--annotations", hq / "hq.csv"]
    with pytest.raises(OptionError, match="there is no folder"):
        run(*command, "--report", tmp_path / "no" / "r.html")
    monkeypatch.setattr("emonet_fast.optional.available", lambda package: package != "matplotlib")
    with pytest.raises(MissingPackageError, match=r"--report and --charts .*emonet-fast\[eval\]"):
        run(*command, "--charts", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_help_is_cheap():
    """Listing the commands loads nothing that computes."""
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom emonet_fast.commands.main import cli\n"
        "for a in (['--help'], ['evaluate', '--help'], ['evaluate', 'hq', '--help']):\n"
        "    assert CliRunner().invoke(cli, a).exit_code == 0\n"
        "print(*sorted({'numpy', 'scipy', 'matplotlib', 'pyarrow', 'jinja2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def test_the_terminal_marks_how_far_experts_agree():
    """Awe has alpha 0.08, sadness 0.13, elation 0.58; "all" is no emotion. A head may be one, a class is none."""
    rows = (("Awe", 0.5), ("Sadness", 0.25), ("Elation", float("nan")), ("all", 1.0))
    table = Table("t", "Emotions", "", ("head", "value"), rows)
    shown = text(Result("hq", "Title", {}, tables=(table,)))
    body = [line.split() for line in shown.partition("Emotions (ours)\n")[2].splitlines()]
    assert body[1:5] == [["Awe?", "0.500"], ["Sadness~", "0.250"], ["Elation", "–"], ["all", "1.000"]]
    assert LEGEND in shown
    assert LEGEND not in text(Result("hq", "Title", {}, tables=(Table("t", "T", "", ("class",), (("Awe",),)),)))
