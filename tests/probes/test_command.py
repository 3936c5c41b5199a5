"""`emonet-fast probe` from pictures and labels to a head that scores."""

import json

import numpy as np
import pyarrow.csv as pc
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageEnhance
from sklearn.linear_model import Ridge

from emonet_fast.checkpoint.heads import read_heads, read_switches
from emonet_fast.checkpoint.pack import open_packed
from emonet_fast.errors import CheckpointError, DataError, OptionError
from emonet_fast.sources.embeddings import Embeddings
from emonet_fast.targets import labelled, read_targets

from ..commanding import run
from ..pictures import photographs
from ..tiny import write_tiny

N, PEOPLE = 72, 12
ENGINE = "--device", "cpu", "--precision", "fp32"
ALIKE = "--duplicate", 0.99999


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A checkpoint to which pictures are less alike than to most that learnt nothing."""
    return write_tiny(tmp_path_factory.mktemp("encoder") / "c", contrast=6.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, encoder):
    """Cut-outs of photographs, their embeddings, and labels of how bright they are by two people."""
    folder = tmp_path_factory.mktemp("probe")
    rng = np.random.default_rng(0)
    photos = [Image.fromarray(photo).convert("RGB") for photo in photographs()]
    (folder / "faces").mkdir()
    wide, classes = ["key,annotator,awe,Hopelessness,person"], ["file,mood"]
    for i in range(N):
        photo = photos[i % len(photos)]
        x, y = (int(rng.uniform(0, side - 64)) for side in photo.size)
        cut = ImageEnhance.Brightness(photo.crop((x, y, x + 64, y + 64))).enhance(rng.uniform(0.3, 1.5))
        cut.save(folder / "faces" / f"{i:02}.png")
        light = np.asarray(cut).mean() / 255 * 7
        for who in "uv":
            awe, helpless = (np.clip(round(value + rng.normal(0, 0.5)), 0, 7) for value in (light, 7 - light))
            wide.append(f"{i:02}.png,{who},{awe},{helpless},{i % PEOPLE}")
        classes.append(f"{i:02}.png,{'Bright side' if light > 2.5 else 'dark'}")
    (folder / "wide.csv").write_text("\n".join(wide), "utf-8")
    (folder / "classes.csv").write_text("\n".join(classes), "utf-8")
    run("score", folder / "faces", "-c", encoder, "-o", folder / "e.parquet", "--embeddings", *ENGINE)
    return folder


def test_a_probe_is_a_head_that_scores(folder, tmp_path, encoder):
    out, report = tmp_path / "probe", tmp_path / "p.html"
    arguments = "--embeddings", folder / "e.parquet", "--labels", folder / "wide.csv", "--bootstraps", 50, *ALIKE
    text = run("probe", *arguments, "-o", out, "--report", report, "-c", encoder)
    assert "72 of 72 rows of embeddings have labels" in text
    assert "folds: 5 of" in text
    figures = json.loads((out / "evaluation.json").read_text("utf-8"))
    names = {row["head"]: row for row in figures["tables"]["names"]["rows"]}
    assert list(names) == ["awe", "helplessness"]
    assert names["awe"]["Spearman"] > 0.5  # of rows that no probe saw, of people that it did not know
    assert names["awe"]["low"] < names["awe"]["Spearman"] < names["awe"]["high"]
    assert figures["facts"]["annotators"] == "2"
    assert "helplessness" in report.read_text("utf-8")

    # The heads are scikit-learn's, with the strength that the table says.
    rows = labelled(Embeddings(folder / "e.parquet"), read_targets(folder / "wide.csv"))
    heads = read_heads(out / "heads", 48)
    scores = {}
    for column, name in enumerate(("awe", "helplessness")):
        alpha = float(names[name]["alpha"])
        found = figures["tables"]["strengths"]["rows"][column]["alpha"]
        assert found == pytest.approx(alpha, rel=1e-2)
        ridge = Ridge(alpha=found, solver="svd").fit(rows.values.astype(np.float64), rows.targets[:, column])
        weight = heads[name][0][0]
        np.testing.assert_allclose(weight[0], ridge.coef_, atol=1e-6 * np.abs(ridge.coef_).max())
        scores[name] = rows.values.astype(np.float64) @ ridge.coef_ + ridge.intercept_

    packed = out / "packed.safetensors"
    assert open_packed(packed).source.endswith("with the heads of probe")  # not of a folder that is gone
    run("score", folder / "faces", "-c", packed, "-o", tmp_path / "s.csv", *ENGINE)
    run("score", folder / "e.parquet", "-c", packed, "-o", tmp_path / "again.csv", *ENGINE)
    for table in (pc.read_csv(tmp_path / "s.csv"), pc.read_csv(tmp_path / "again.csv")):
        assert [n for n in table.column_names if n.startswith("raw_")] == ["raw_awe", "raw_helplessness"]
        for name, expected in scores.items():
            np.testing.assert_allclose(table.column(f"raw_{name}").to_numpy(), expected, rtol=1e-4, atol=1e-4)


def test_classes_are_heads_of_their_own_names(folder, tmp_path, encoder):
    arguments = "--embeddings", folder / "e.parquet", "--labels", folder / "classes.csv", "--label", "mood", *ALIKE
    text = run("probe", *arguments, "-o", tmp_path / "p", "--folds", 4, "--bootstraps", 50, "--kind", "ridge")
    assert "one annotator" in text
    rows = json.loads((tmp_path / "p/evaluation.json").read_text())["tables"]["names"]["rows"]
    assert [row["head"] for row in rows] == ["bright_side", "dark"]
    assert rows[0]["AUC"] == pytest.approx(rows[1]["AUC"])
    assert rows[0]["AUC"] > 0.7
    run("pack", "-c", encoder, "--heads", tmp_path / "p/heads", "-o", tmp_path / "mine.safetensors")
    run("score", folder / "faces", "-c", tmp_path / "mine.safetensors", "-o", tmp_path / "s.parquet", *ENGINE)
    assert {"raw_bright_side", "raw_dark"} <= set(pq.read_schema(tmp_path / "s.parquet").names)
    run("score", folder / "e.parquet", "-c", tmp_path / "mine.safetensors", "-o", tmp_path / "e.csv", *ENGINE)
    truth = "--truth", folder / "classes.csv", "--label", "mood", "--bootstraps", 20, "--json", tmp_path / "c.json"
    run("evaluate", "compare", tmp_path / "s.parquet", tmp_path / "e.csv", *truth)
    compared = json.loads((tmp_path / "c.json").read_text())
    assert [row["head"] for row in compared["tables"]["heads_auc"]["rows"]] == ["bright_side", "dark"]
    assert compared["figures"]["auc_a"]["value"] == pytest.approx(compared["figures"]["auc_b"]["value"])
    assert "same_strongest" not in compared["figures"]


def test_heads_say_which_encoder_they_learnt_from(folder, tmp_path, encoder):
    arguments = "--embeddings", folder / "e.parquet", "--labels", folder / "wide.csv", "--bootstraps", 2, *ALIKE
    run("probe", *arguments, "-o", tmp_path / "p", "--kind", "linear")
    assert read_switches(tmp_path / "p/heads").encoder == Embeddings(folder / "e.parquet").encoder
    doc = json.loads((tmp_path / "p/heads/emonet_fast.json").read_text())
    (tmp_path / "p/heads/emonet_fast.json").write_text(json.dumps(doc | {"encoder": "sha256:" + "0" * 64}))
    with pytest.raises(CheckpointError, match="embeddings of the encoder sha256:0000"):
        run("pack", "-c", encoder, "--heads", tmp_path / "p/heads", "-o", tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_what_is_refused_leaves_nothing(folder, tmp_path):
    labels = tmp_path / "l.csv"
    arguments = "probe", "--embeddings", folder / "e.parquet", "--labels", labels, "-o", tmp_path / "p", *ALIKE
    lines = {
        "awe has the label 0 alone": [f"{i:02}.png,0," for i in range(20)],
        "expected at least 5": [f"{i:02}.png,{i % 3},anna" for i in range(20)],
        "none of the 72 keys": ["x.png,1,"],
    }
    for fault, rows in lines.items():
        labels.write_text("\n".join(["key,awe,person", *rows]), "utf-8")
        with pytest.raises(DataError, match=fault):
            run(*arguments)
        assert not (tmp_path / "p").exists()
    (tmp_path / "p").mkdir()
    (tmp_path / "p/mine").touch()
    with pytest.raises(OptionError, match="exists and is not empty"):
        run(*arguments)
