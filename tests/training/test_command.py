"""`emonet-fast train` as a user runs it, on made data of the published layouts."""

import json
import re
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from emonet_fast.cards import Licence
from emonet_fast.checkpoint.heads import MEANS_FILE, read_heads
from emonet_fast.commands.main import cli
from emonet_fast.errors import DataError, InputError, OptionError
from emonet_fast.evaluate.metrics import spearman
from emonet_fast.sources.embeddings import Embeddings
from emonet_fast.targets import labelled, read_targets
from emonet_fast.training.card import model_card
from emonet_fast.training.prepared import prepare

from ..commanding import run

torch = pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
WIDTH, ROWS = 16, 240
ENCODER = "sha256:" + "a" * 64


pytestmark = pytest.mark.usefixtures("one_thread")


class World:
    """Pictures with a truth of two emotions on 0..7, their embeddings and their names."""

    def __init__(self, folder, seed=0, rows=ROWS, start=0):
        rng = np.random.default_rng(seed)
        self.values = rng.normal(size=(rows, WIDTH)).astype(np.float32)
        self.values *= (3 / np.linalg.norm(self.values, axis=1))[:, None]  # as an encoder gives them, not of norm 1
        self.truth = 7 / (1 + np.exp(-1.5 * self.values @ np.random.default_rng(1).normal(size=(WIDTH, 2))))
        self.keys = [f"{start + i:04}.jpg" for i in range(rows)]
        self.folder = folder

    def embeddings(self, name, width=WIDTH, encoder=ENCODER, **columns):
        values = pa.array(self.values[:, :width].tolist(), pa.list_(pa.float32(), width))
        table = pa.table({"key": self.keys, "embedding": values, **columns})
        pq.write_table(table.replace_schema_metadata({"encoder_hash": encoder}), self.folder / name)
        return self.folder / name

    def labels(self, name, noise=0.7):
        drawn = self.truth + noise * np.random.default_rng(2).normal(size=self.truth.shape)
        rows = [f"{k},{a:.3f},{b:.3f}" for k, (a, b) in zip(self.keys, np.clip(drawn, 0, 7), strict=True)]
        (self.folder / name).write_text("\n".join(["key,Awe,Jealousy & Envy", *rows]) + "\n")
        return self.folder / name


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def names_of(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_heads_figures_and_card(world, tmp_path):
    emotion = ["Neutral" if i % 5 == 0 else "other" for i in range(ROWS)]
    given = (
        "train",
        "--embeddings",
        world.embeddings("e.parquet", emotion=emotion),
        "--targets",
        world.labels("l.csv"),
    )
    more = (
        "--held-out",
        0.3,
        "--epochs",
        15,
        "--neutral",
        "emotion=Neutral",
        "--license",
        "cc-by-4.0",
        "--base-model",
        "a/encoder",
    )
    text = run(*given, *more, "-o", tmp_path / "out")
    assert "Spearman, mean over heads" in text
    assert "in training.html and evaluation.json: Heads on held-out rows" in text
    assert "\nfigure " in text  # a heading for each column
    out = tmp_path / "out"
    files = ["model_awe_best.pth", "model_jealousy_&_envy_best.pth", MEANS_FILE, "emonet_fast.json"]
    assert names_of(out) == sorted(["README.md", "evaluation.json", "training.html", *(f"heads/{f}" for f in files)])
    assert not (tmp_path / "out.state.safetensors").exists()
    # The heads, by PyTorch alone, are worth what the card says
    unit = torch.from_numpy(world.values / np.linalg.norm(world.values, axis=1, keepdims=True))
    scores = []
    for file in files[:2]:
        steps = [torch.nn.Linear(WIDTH, 128), torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(128, 32)]
        layers = torch.nn.Sequential(*steps, torch.nn.ReLU(), torch.nn.Dropout(), torch.nn.Linear(32, 1))
        module = torch.nn.Module()
        module.layers = layers
        module.load_state_dict(torch.load(out / "heads" / file, weights_only=True), strict=True)
        scores.append(module.eval().layers(unit)[:, 0].detach().numpy())
    for h in range(2):
        assert spearman(scores[h].astype(float), world.truth[:, h]) > 0.9
    found = json.loads((out / "heads" / MEANS_FILE).read_text())
    picked = np.array(emotion) == "Neutral"
    for file, one in zip(files[:2], scores, strict=True):
        assert found[file.removesuffix(".pth")] == {
            "mean": pytest.approx(one[picked].mean(), abs=1e-4),
            "std": pytest.approx(one[picked].std(), abs=1e-4),
        }
    assert json.loads((out / "heads" / "emonet_fast.json").read_text())["encoder"] == ENCODER
    card = (out / "README.md").read_text()
    front = card.split("---\n")[1]
    assert 'license: "cc-by-4.0"\n' in front
    assert 'base_model: ["a/encoder"]\n' in front
    figures = json.loads((out / "evaluation.json").read_text())
    assert figures["figures"]["Spearman"]["value"] > 0.8
    assert figures["figures"]["Spearman"]["low"] < figures["figures"]["Spearman"]["value"]
    for word in ("| awe |", "rows that judge heads", "Neutral statistics: 48 rows, by emotion=Neutral", "Article 5"):
        assert word in card
    assert str(tmp_path) not in card  # cards are published
    with pytest.raises(OptionError, match="exists and is not empty"):
        run(*given, "-o", out)


def test_ridge_is_that_of_scikit_learn_judged_as_other_heads_are(world, tmp_path):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="scikit-learn is not installed")
    given = ("train", "--embeddings", world.embeddings("e.parquet"), "--targets", world.labels("l.csv"))
    out = tmp_path / "out"
    run(*given, "--layout", "ridge", "--held-out", 0.3, "-o", out)
    heads = ["model_awe_best.pth", "model_jealousy_&_envy_best.pth"]
    files = ["README.md", "evaluation.json", "training.html", *(f"heads/{f}" for f in [*heads, "emonet_fast.json"])]
    assert names_of(out) == sorted(files)
    told = json.loads((out / "evaluation.json").read_text())
    assert told["figures"]["Spearman"]["value"] > 0.8
    assert "| rows that stop heads | none: they teach, too |" in (out / "README.md").read_text()
    targets = read_targets(world.folder / "l.csv")
    dealt = prepare(labelled(Embeddings(world.folder / "e.parquet"), targets), targets, 0.3, seed=0)
    rows = np.setdiff1d(np.arange(ROWS), dealt.judging)
    for h, file in enumerate(heads):
        alpha = told["tables"]["strengths"]["rows"][h]["alpha"]
        x, y = dealt.examples.values[rows].astype(np.float64), dealt.examples.targets[rows, h].astype(np.float64)
        ridge = linear_model.Ridge(alpha=alpha, solver="svd").fit(x, y)
        state = torch.load(out / "heads" / file, weights_only=True)
        np.testing.assert_allclose(state["layers.0.weight"][0], ridge.coef_, atol=1e-6 * np.abs(ridge.coef_).max())
        np.testing.assert_allclose(state["layers.0.bias"][0], ridge.intercept_, rtol=1e-6)
    for words, text in ((("--loss", "bce"), "loss bce"), (("--epochs", 3), "epochs"), (("--init", out), "init")):
        with pytest.raises(OptionError, match=f"^{text} came with the layout ridge, which is solved in closed form"):
            run(*given, "--layout", "ridge", *words, "-o", tmp_path / "other")


def test_the_same_command_goes_on_after_ctrl_c_and_gives_the_same_files(world, tmp_path, monkeypatch):
    given = ("train", "--embeddings", world.embeddings("e.parquet"), "--targets", world.labels("l.csv"), "--epochs", 3)
    whole, broken = tmp_path / "a" / "out", tmp_path / "b" / "out"
    for folder in (whole, broken):
        folder.parent.mkdir()
    run(*given, "-o", whole)
    from emonet_fast.training import loop

    steps = []
    learn = loop._Course._learn

    def interrupted(self, total):
        steps.append(total)
        if len(steps) == 3:
            raise KeyboardInterrupt
        return learn(self, total)

    monkeypatch.setattr(loop._Course, "_learn", interrupted)
    done = CliRunner().invoke(cli, [*map(str, given), "-o", str(broken)])
    assert "holds the epochs that are done; the same command goes on" in done.output
    assert names_of(broken.parent) == ["out.state.safetensors"]
    run(*given, "-o", broken)
    assert len(steps) == 4  # the third epoch alone
    assert names_of(broken.parent) == [f"out/{name}" for name in names_of(whole)]
    for name in names_of(whole):
        assert (whole / name).read_bytes() == (broken / name).read_bytes(), name


def test_a_full_disk_leaves_no_folder_and_the_state(world, tmp_path, monkeypatch):
    from emonet_fast.training import job

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "write_report", full)
    given = ("train", "--embeddings", world.embeddings("e.parquet"), "--targets", world.labels("l.csv"), "--epochs", 1)
    done = CliRunner().invoke(cli, [*map(str, given), "-o", str(tmp_path / "out")])
    assert done.exit_code != 0
    assert names_of(tmp_path) == ["e.parquet", "l.csv", "out.state.safetensors"]


def test_what_does_not_fit_is_refused_before_training(world, tmp_path):
    labels = world.labels("l.csv")
    given = ("train", "--targets", labels, "-o", tmp_path / "out")
    run(*given[:3], "--embeddings", world.embeddings("e.parquet"), "--epochs", 1, "-o", tmp_path / "first")
    narrow = world.embeddings("n.parquet", width=8)
    with pytest.raises(DataError, match=r"have 8 numbers, and the heads of .*first take 16"):
        run(*given, "--embeddings", narrow, "--init", tmp_path / "first")
    foreign = world.embeddings("f.parquet", encoder="sha256:" + "b" * 64)
    with pytest.raises(DataError, match=r"embeddings of the encoder sha256:bbb"):
        run(*given, "--embeddings", foreign, "--init", tmp_path / "first")
    (tmp_path / "more.csv").write_text(labels.read_text().replace("Awe", "Fear"))
    with pytest.raises(DataError, match="lack fear, which have labels"):
        run(
            "train", "--targets", tmp_path / "more.csv", "--embeddings", tmp_path / "e.parquet",
            "--init", tmp_path / "first", "-o", tmp_path / "out",
        )  # fmt: skip
    with pytest.raises(OptionError, match="expected those of large"):
        run(*given, "--embeddings", tmp_path / "e.parquet", "--init", tmp_path / "first", "--layout", "large")
    (tmp_path / "list.txt").write_text("nobody.jpg\n")
    with pytest.raises(DataError, match="no row of the embeddings is neutral"):
        run(*given, "--embeddings", tmp_path / "e.parquet", "--neutral", tmp_path / "list.txt")
    with pytest.raises(OptionError, match="expected auto or a whole number"):
        run(*given, "--embeddings", tmp_path / "e.parquet", "--epochs", "many")
    assert not (tmp_path / "out").exists()


def test_rows_that_cannot_be_used_are_counted(world, tmp_path):
    world.values[3] = np.nan
    done = CliRunner().invoke(
        cli, ["train", "--embeddings", str(world.embeddings("e.parquet")), "--targets", str(world.labels("l.csv")),
              "--epochs", "1", "-o", str(tmp_path / "out")],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "note: 1 row of the embeddings cannot be used" in done.output
    assert "1 row of the embeddings cannot be used" in (tmp_path / "out" / "README.md").read_text()


def test_a_card_without_figures_is_refused(world):
    from emonet_fast.evaluate.result import Figure, Result, Table

    with pytest.raises(DataError, match="not written without one"):
        model_card(Result("train", "t", {}), ("awe",), Licence(), "none", "")
    columns = ("head", "rows", "Spearman")
    table = Table("heads", "t", "", columns, (("awe", 5, 0.5), ("fear", 0, float("nan"))))
    result = Result("train", "t", {}, (Figure("s", "s", 0.5),), (table,))
    with pytest.raises(DataError, match="fear has no figure on held-out rows"):
        model_card(result, ("awe", "fear"), Licence(), "none", "")
    assert "| awe | 5 | 0.500 |" in model_card(result, ("awe",), Licence(), "none", "")


@pytest.mark.parametrize(
    "command",
    [
        "train --embeddings {e} --targets {l} --epochs 1 --neutral mood=calm -o {out}",
        "probe --embeddings {e} --labels {l} --folds 2 --bootstraps 10 -o {out}",
        "labels check {l} --embeddings {e}",
        "evaluate leaks {e} {copy} --duplicate 0.99999",
    ],
)
def test_a_table_with_two_columns_of_embeddings_needs_a_name(world, tmp_path, command):
    table = pq.read_table(world.embeddings("e.parquet", mood=["calm"] * ROWS))
    left = pa.array(np.ones((ROWS, 2), np.float32).tolist(), pa.list_(pa.float32(), 2))
    pq.write_table(table.rename_columns({"embedding": "right"}).append_column("left", left), tmp_path / "e.parquet")
    copy = shutil.copy(tmp_path / "e.parquet", tmp_path / "copy.parquet")
    places = {"e": tmp_path / "e.parquet", "copy": copy, "l": world.labels("l.csv"), "out": tmp_path / "out"}
    given = command.format(**places).split()
    with pytest.raises(InputError, match=r"left.*--embedding-column"):
        run(*given)
    text = run(*given, "--embedding-column", "right")
    if "leaks" in command:
        assert re.search(rf"Pairs of near-duplicates\W+{ROWS}\b", text), text  # of `left` all are alike
    if "-o" in given:
        assert list(read_heads(tmp_path / "out" / "heads", WIDTH)) == ["awe", "jealousy_envy"]


@pytest.mark.parametrize(
    "command",
    [
        "train --embeddings {e} --embeddings {link} --targets {l} --epochs 1 -o {out}",
        "probe --embeddings {e} --embeddings {link} --labels {l} --folds 2 --bootstraps 10 -o {out}",
        "labels check {l} --embeddings {e} --embeddings {link}",
        "evaluate leaks {links} {other}",
    ],
)
def test_embeddings_that_come_again_count_once(world, tmp_path, command):
    e, links = world.embeddings("e.parquet"), tmp_path / "links"
    links.mkdir()
    for name in ("a.parquet", "b.parquet"):
        (links / name).symlink_to(e)
    places = {"e": e, "link": links / "b.parquet", "links": links, "l": world.labels("l.csv"), "out": tmp_path / "out"}
    other = World(tmp_path, seed=5, rows=3).embeddings("other.parquet")
    done = CliRunner().invoke(cli, command.format(other=other, **places).split())
    assert done.exit_code == 0, done.output
    assert "embeddings that came again count once: " in done.output
    wanted = rf"\brows( of A)?: {ROWS}\n|\b{ROWS} of {ROWS} rows of embeddings have labels"
    assert re.search(wanted, done.output), done.output
    if command.startswith("train"):
        assert str(tmp_path) not in (tmp_path / "out" / "README.md").read_text()  # cards are published
