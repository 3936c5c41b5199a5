"""Any-hit: the published rule, what stands beside it, mappings and labels of every form."""

import json
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.errors import DataError
from emonet_fast.evaluate import any_hit, mapping, tables
from emonet_fast.evaluate.predictions import SLUGS, read_predictions

from ..conftest import SHARED_DATA
from ..tolerances import SAME_FIGURE
from .made import laion_jsonl, predictions, table_of

HALVES = {
    "name": "halves",
    "classes": {"first": list(SLUGS[:30]), "second": list(SLUGS[30:])},
    "labels": {"2": "second"},
}


@pytest.fixture
def halves(tmp_path_factory):
    return read(tmp_path_factory.mktemp("halves") / "halves.json", json.dumps(HALVES))


def read(path, text):
    path.write_text(text)
    return mapping.read_mapping(path)


def scored(values, names):
    return predictions(np.asarray(values), names)


def slow_rule(row, owner, true):
    """As the notebook: any mapped head of the true class above 1.5 / (number of mapped heads)."""
    softmax = np.exp(row) / np.exp(row).sum()
    return any(o == true and s > 1.5 / len(row) for o, s in zip(owner, softmax, strict=True))


def test_the_published_rule(halves):
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (200, 40))
    names = [f"faces.tar::{i:04}_{'First' if i % 3 else 'Second'}.jpg" for i in range(200)]
    got = any_hit.any_hit_figures(scored(values, names), halves, "from-name", bootstraps=50)
    owner = [0] * 30 + [1] * 10
    true = [0 if i % 3 else 1 for i in range(200)]
    want = np.array([slow_rule(v, owner, t) for v, t in zip(values, true, strict=True)])
    overall = got.overall()
    assert overall["any_hit"] == pytest.approx(want.mean(), abs=SAME_FIGURE)
    top = np.array([owner[i] for i in values.argmax(axis=1)])
    assert overall["argmax"] == pytest.approx((top == true).mean(), abs=SAME_FIGURE)
    recalls = [(top == true)[np.array(true) == c].mean() for c in (0, 1)]
    assert overall["balanced_argmax"] == pytest.approx(np.mean(recalls), abs=SAME_FIGURE)
    # every image's scores with every other image's label: the mean over all pairings
    shuffled = np.mean([[slow_rule(v, owner, t) for t in true] for v in values[:200]])
    assert overall["shuffled"] == pytest.approx(shuffled, abs=SAME_FIGURE)
    assert overall["chance_argmax"] == 0.5
    low, high = got.intervals["any_hit"]
    assert low < overall["any_hit"] < high


def test_balanced_accuracy_is_scikit_learns(halves):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn (extra test) is not installed")
    values = np.random.default_rng(1).normal(0, 1, (60, 40))
    names = [f"{i:04}_{'first' if i % 4 else 'second'}.jpg" for i in range(60)]
    got = any_hit.any_hit_figures(scored(values, names), halves, "from-name", bootstraps=5)
    want = sklearn.balanced_accuracy_score(got.true, got.top)
    assert got.overall()["balanced_argmax"] == pytest.approx(want, abs=SAME_FIGURE)


def test_noise_baseline_is_that_of_independent_scores(halves):
    """Of 40 equal heads, one class has 30 of them: noise is accepted for it far more often."""
    got = any_hit.any_hit_figures(scored(np.zeros((1, 40)), ["0_first.jpg"]), halves, "from-name", bootstraps=2)
    rng = np.random.default_rng(7)
    rows = rng.standard_normal((4000, 40))
    share = np.mean([slow_rule(r, [0] * 30 + [1] * 10, 1) for r in rows])
    assert got.noise[1] == pytest.approx(share, abs=5 * 0.5 / np.sqrt(4000))  # five deviations of the test's own draw
    assert got.noise[0] > got.noise[1]
    assert got.overall()["any_hit"] == 0  # equal scores: all at 1/40, none above 1.5/40


def test_labels_from_files(tmp_path, halves):
    values = np.random.default_rng(0).normal(0, 1, (3, 40))
    path = laion_jsonl(tmp_path / "p.jsonl", values, ["x/a.png", "x/b.png", "x/c.png"])
    found = read_predictions(path, "score")
    given = {"a.png": "First", "b.png": "2", "c.png": "second"}
    (tmp_path / "l.json").write_text(json.dumps(given), "utf-8-sig")
    (tmp_path / "l.csv").write_text("path,emotion\n" + "".join(f"{k},{v}\n" for k, v in given.items()))
    lines = [json.dumps({"image_path": k, "label": 2 if v == "2" else v}) for k, v in given.items()]
    (tmp_path / "l.jsonl").write_text("\n".join(lines) + "\n")
    for name in ("l.json", "l.csv", "l.jsonl"):
        got = any_hit.any_hit_figures(found, halves, tmp_path / name, bootstraps=2)
        assert got.true.tolist() == [0, 1, 1], name


def test_labels_and_predictions_must_meet(tmp_path, halves):
    values = np.zeros((2, 40))
    found = scored(values, ["a.png", "b.png"])
    labels = tmp_path / "l.json"

    def refused(given, words, **named):
        labels.write_text(json.dumps(given))
        with pytest.raises(DataError, match=words):
            any_hit.any_hit_figures(found, halves, labels, bootstraps=2, **named)

    refused({"a.png": "first"}, "1 of 2 images .* have no label: b.png")
    refused({"a.png": "first", "b.png": "first", "c.png": "first"}, "1 of 3 labelled images are lacking .*c.png")
    refused({"a.png": "first", "b.png": "third"}, "1 of 2 images have labels outside the classes.*third.*b.png")
    refused({"x.png": "first"}, "none of the keys", partial=True)
    refused({"a.png": ["first"]}, "expected one label")
    labels.write_text(json.dumps({"a.png": "first"}))
    got = any_hit.any_hit_figures(found, halves, labels, partial=True, bootstraps=2)
    assert len(got.true) == 1
    assert any("b.png" in n for n in got.notes)
    with pytest.raises(DataError, match="no label in its name"):
        any_hit.any_hit_figures(found, halves, "from-name")
    with pytest.raises(DataError, match="there is no file"):
        any_hit.any_hit_figures(found, halves, "labels.json")
    two = scored(values, ["a.png", "a.jpg"])
    with pytest.raises(DataError, match="more than one prediction"):
        any_hit.any_hit_figures(two, halves, labels)


def test_names_to_labels():
    sad = ("x.tar::0001_a_Sad.jpeg", "x.tgz::0001_Sad.jpg#2", "d\\1_Sad.jpg#2", "1_Sad#2", "x.tar::d/1_Sad.jpg::box0")
    names = ("ferd_images/0000_Happy.jpg", *sad)
    assert any_hit.names_to_labels(names) == {names[0]: "Happy"} | dict.fromkeys(sad, "Sad")


@pytest.mark.parametrize(
    ("doc", "words"),
    [
        ({}, "has no classes"),
        ({"classes": {"happy": ["joy"]}}, "joy, not of the 40"),
        ({"classes": {"happy": ["valence"]}}, "valence, not of the 40"),
        ({"classes": {"happy": ["Awe"], "sad": ["model_awe_best"]}}, "more than once: awe"),
        ({"classes": {"happy": []}}, "expected a list of emotions"),
        ({"classes": {"happy": ["awe"], "Happy": ["fear"]}}, "a class twice"),
        ({"classes": {"happy": ["awe"]}, "labels": {"3": "sad"}}, "other spellings"),
        ({"classes": {"happy": ["awe"]}, "cutoff": 3}, "fields cutoff"),
    ],
)
def test_bad_mappings(tmp_path, doc, words):
    with pytest.raises(DataError, match=words):
        read(tmp_path / "mine.json", json.dumps(doc))


def test_mapping_files(tmp_path, halves):
    assert read(tmp_path / "m.json", json.dumps(HALVES)) == halves
    assert halves.heads == 40
    assert [halves.label(t) for t in ("First", " 2 ", "third")] == ["first", "second", None]
    with pytest.raises(DataError, match="there is no mapping 'fred'"):
        mapping.read_mapping(Path("fred"))
    with pytest.raises(DataError, match="occurs twice"):
        read(tmp_path / "m.json", '{"classes": {"a": ["awe"], "a": ["fear"]}}')
    with pytest.raises(DataError, match="not a readable mapping"):
        read(tmp_path / "m.json", "{")


def test_a_class_without_images_is_undefined(halves):
    values = np.random.default_rng(0).normal(0, 1, (5, 40))
    got = any_hit.any_hit_figures(scored(values, [f"{i}_first.jpg" for i in range(5)]), halves, "from-name")
    row = table_of(tables.any_hit_result(got, "p", "l"), "classes").rows[1]
    assert row[0] == "second"
    assert row[1] == 0
    assert np.isnan(row[3])
    assert np.isfinite(got.overall()["balanced_any_hit"])


def made_with_outcome(which, hits, images):
    """Predictions of `images` per class, of which `hits` have a head of their class far above all others."""
    published = mapping.read_mapping(which)
    rows, names = [], []
    for (name, emotions), hit, n in zip(published.classes.items(), hits, images, strict=True):
        other = next(e for c in published.classes if c != name for e in published.classes[c])
        for i in range(n):
            row = np.zeros(40)
            row[SLUGS.index(emotions[i % len(emotions)] if i < hit else other)] = 6.0
            rows.append(row)
            names.append(f"{len(names):05}_{name.title()}.jpg")
    return published, scored(rows, names)


@pytest.mark.parametrize(
    ("which", "hits", "images", "shown", "published"),
    [
        ("ferd", (15, 14, 15, 16, 19, 12, 13, 15), (19, 19, 19, 19, 19, 19, 19, 19), "0.7829", "0.7829 (152 images)"),
        (
            "affectnet", (2900, 2950, 2910, 2980, 3300, 2800, 2785, 2850),
            (3876, 3875, 3875, 3875, 3875, 3876, 3875, 3875), "0.7572", "0.7572 (31,002 images)",
        ),
    ],
)  # fmt: skip
def test_the_published_mappings_and_figures(which, hits, images, shown, published):
    """As many images as published, right ones class by class: the published figure comes out, and each class's own."""
    found, predicted = made_with_outcome(which, hits, images)
    assert found.heads == 40
    got = any_hit.any_hit_figures(predicted, found, "from-name", bootstraps=2)
    np.testing.assert_array_equal(got.by_class()["any_hit"], np.array(hits) / images)
    figure = tables.any_hit_result(got, "p", "from-name").figures[0]
    assert (f"{figure.value:.4f}", figure.published) == (shown, published)
    assert figure.value == sum(hits) / sum(images)


def test_the_published_mappings_are_the_facts_beside_the_checkout():
    folder = SHARED_DATA / "mappings"
    if not folder.exists():
        pytest.skip("../shared/data is not beside this checkout")
    for which in mapping.PUBLISHED:
        facts = mapping.read_mapping(folder / f"{which}.json")
        ours = mapping.read_mapping(which)
        assert (ours.classes, ours.labels) == (facts.classes, facts.labels)
