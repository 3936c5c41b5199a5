"""The evaluations as functions: paths and tables give the same figures, which are those of the commands."""

import csv
import json

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest
from click.testing import CliRunner

import emonet_fast as ef
from emonet_fast import taxonomy
from emonet_fast.commands.main import cli
from emonet_fast.datasets import open_dataset
from emonet_fast.evaluate import Result, evaluate_any_hit, evaluate_binary, evaluate_demographics, evaluate_hq

from .made import dataset, hq_csv, hq_label, parquet, ratings

pytest.importorskip("scipy", reason="scipy (extra eval) is not installed")

N = 12
NAMES = [f"a{i:04}.png" for i in range(N)]
FEW = {"bootstraps": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """hq.csv, binary.csv, shards of HQ, predictions as a file; `scores` has the same."""
    folder = tmp_path_factory.mktemp("evaluate")
    rng = np.random.default_rng(0)
    values = rng.integers(0, 8, (2, N, 40)).astype(float)
    hq_csv(folder / "hq.csv", ratings(values))
    with (folder / "binary.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "annotator", "value", "emotion"])
        writer.writerows([n, a, bool(rng.integers(2)), "Awe"] for n in NAMES for a in ("x", "y", "z"))
    (folder / "shards").mkdir()
    labels = [hq_label({f"human-{r + 1}": values[r, i] for r in range(2)}) for i in range(N)]
    dataset(folder / "shards" / "train-00000-of-00001.parquet", labels, NAMES)
    pa.parquet.write_table(pa.table({"url": ["x"]}), folder / "shards" / "scores.parquet")
    parquet(folder / "p.parquet", values.mean(axis=0) + rng.normal(0, 1, (N, 40)), NAMES)
    return folder


@pytest.fixture(scope="module")
def scores(folder):
    table = pa.parquet.read_table(folder / "p.parquet")
    names = [d.slug for d in taxonomy.EMOTIONS]
    raw = np.stack([table[f"raw_{n}"].to_numpy() for n in names], axis=1)
    return ef.Scores.from_raw(raw, names, dict.fromkeys(names, 0.5), keys=NAMES, metadata={"untrained": "made up"})


def command(folder, *arguments) -> dict:
    path = folder / "of the command.json"
    done = CliRunner().invoke(cli, ["evaluate", *map(str, arguments), "--bootstraps", "2", "--json", str(path)])
    assert done.exit_code == 0, done.output
    return json.loads(path.read_text())


def as_json(result: Result) -> dict:
    return json.loads(json.dumps(result.as_dict()))


def test_hq(folder, scores):
    hq = folder / "hq.csv"
    want = command(folder, "hq", "-p", folder / "p.parquet", "--annotations", hq)
    assert as_json(evaluate_hq(str(folder / "p.parquet"), hq, **FEW)) == want
    table = pa.parquet.read_table(folder / "p.parquet")
    annotations = pyarrow.csv.read_csv(hq)
    for given in (table, scores):
        found = as_json(evaluate_hq(given, annotations, **FEW))
        assert (found["figures"], found["tables"]) == (want["figures"], want["tables"])
        assert found["facts"]["predictions"] == "the table"
    assert "made up" in found["notes"]  # what Scores' metadata warn of
    result = evaluate_hq(scores, hq, values="score", name="mine", **FEW)
    assert repr(result) == "<Result hq, 10 figures, 5 tables>"
    assert result.figure("kappa").value == result.as_dict()["figures"]["kappa"]["value"]
    assert result.figure("kappa").value != want["figures"]["kappa"]["value"]
    assert "mine" in [row["rater"] for row in result.table("raters").records()]
    with pytest.raises(ef.OptionError, match="there is no 'kapa'; expected one of kappa, kappa_humans"):
        result.figure("kapa")


def test_hq_of_shards(folder, scores):
    """A place and what `open_dataset` gave; tables beside the shards are noted. With CSV the shards only name rows."""
    want = evaluate_hq(scores, dataset=folder / "shards", **FEW)
    assert as_json(evaluate_hq(scores, dataset=open_dataset(folder / "shards", "hq"), **FEW)) == as_json(want)
    assert f"tables of {folder / 'shards'} that are no shards were passed over: scores.parquet" in want.notes
    both = evaluate_hq(scores, folder / "hq.csv", folder / "shards", **FEW)
    assert both.figure("kappa").value == pytest.approx(want.figure("kappa").value, rel=1e-12)
    with pytest.raises(ef.DataError, match="is a data set of the kind hq by its annotations; expected binary"):
        evaluate_binary(scores, dataset=open_dataset(folder / "shards"), **FEW)


def test_binary(folder, scores):
    answers = folder / "binary.csv"
    want = command(folder, "binary", "-p", folder / "p.parquet", "--annotations", answers, "--threshold", "2")
    found = as_json(evaluate_binary(scores, pyarrow.csv.read_csv(answers), threshold=2.0, **FEW))
    assert (found["figures"], found["tables"]) == (want["figures"], want["tables"])
    with pytest.raises(ef.OptionError, match="both hold the answers; give one of them"):
        evaluate_binary(scores, answers, folder / "shards")


def test_any_hit(folder, scores):
    labels = {name: ("happy", "angry")[i % 2] for i, name in enumerate(NAMES)}
    mapping = {"name": "mine", "classes": {"happy": ["Elation", "Amusement"], "angry": ["Anger"]}}
    (folder / "labels.json").write_text(json.dumps(labels))
    (folder / "mapping.json").write_text(json.dumps(mapping))
    files = ["--mapping", folder / "mapping.json", "--labels", folder / "labels.json"]
    want = command(folder, "any-hit", "-p", folder / "p.parquet", *files)
    found = as_json(evaluate_any_hit(scores, mapping, labels, **FEW))
    assert (found["figures"], found["tables"]) == (want["figures"], want["tables"])
    with pytest.raises(ef.DataError, match="the mapping: class 'sad' has Sorrow, not of the 40"):
        evaluate_any_hit(scores, {"classes": {"sad": ["Sorrow"]}}, labels)


def test_demographics(folder, scores):
    want = command(folder, "demographics", "-p", folder / "p.parquet", "--dataset", folder / "shards")
    found = as_json(evaluate_demographics(scores, folder / "shards", **FEW))
    assert (found["figures"], found["tables"]) == (want["figures"], want["tables"])


@pytest.mark.parametrize(
    ("settings", "error", "said"),
    [
        ({"predictions": [1, 2]}, ef.DataError, "a list came as predictions; expected the path of a file, or a table"),
        ({"predictions": pa.table({"key": pa.array([], pa.string())})}, ef.DataError, "the table has no rows"),
        ({"predictions": pa.table({"raw_awe": [1.0]})}, ef.DataError, "the table has no column key"),
        ({"annotations": pa.table({"image": ["a"]})}, ef.DataError, "has no column annotator, annotations; expected"),
        ({"annotations": 3}, ef.DataError, "a int came as annotations"),
        ({"values": "prob"}, ef.OptionError, "values is 'prob'; expected one of raw, score"),
        ({"bootstraps": 0}, ef.OptionError, "bootstraps is 0; expected a whole number from 1"),
        ({"annotations": None, "dataset": ""}, ef.DataError, "an empty text came as the data set"),
    ],
)
def test_what_cannot_work_is_said(folder, scores, settings, error, said):
    with pytest.raises(error, match=said):
        evaluate_hq(**{"predictions": scores, "annotations": folder / "hq.csv", **settings})


def test_kinds_of_data_sets(folder):
    with pytest.raises(ef.OptionError, match="kind is 'HQ'; expected one of hq, binary, big"):
        open_dataset(folder / "shards", "HQ")
