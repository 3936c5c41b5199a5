"""Binary: the published agreement table, and detection against scikit-learn."""

import csv
from collections import defaultdict

import numpy as np
import pytest

from emonet_fast.errors import DataError
from emonet_fast.evaluate import annotations, binary, tables
from emonet_fast.evaluate.predictions import NAMES, SLUGS

from ..conftest import SHARED_DATA
from ..tolerances import SAME_FIGURE
from .made import figure_of, predictions

PUBLISHED = SHARED_DATA / "binary.csv"
# (image, emotion): answers
ANSWERS = {
    ("a", "Awe"): [True, True, True],
    ("b", "Awe"): [False],
    ("c", "Awe"): [True, False],
    ("d", "Awe"): [True, True, False],
    ("e", "Awe"): [False, False, False],
    ("a", "Hopelessness"): [True, True],
    ("b", "Hopelessness"): [True, False, True, True],
    ("c", "Hopelessness"): [True],
}


@pytest.fixture(scope="module")
def published():
    if not PUBLISHED.exists():
        pytest.skip("../shared/data/binary.csv is not beside this checkout")
    return annotations.binary_from_csv(PUBLISHED)


def write(path, rows):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "annotator", "value", "emotion"])
        writer.writerows(rows)
    return path


@pytest.fixture
def answers(tmp_path):
    rows = [(i, f"human-{k}", v, e) for (i, e), given in ANSWERS.items() for k, v in enumerate(given)]
    return annotations.binary_from_csv(write(tmp_path / "binary.csv", rows))


def test_published_agreement(published):
    table = binary.agreement_table(published)
    assert (published.answers, published.annotators, len(published.images)) == (65686, 7, 19999)
    assert table["pairs"].sum() == 14670
    assert [round(s, 6) for s in binary.overall_shares(table).values()][:3] == [0.618609, 0.132447, 0.248943]


def test_published_agreement_of_each_emotion(published):
    """Against the notebook's rule, counted here from the rows themselves."""
    pairs = defaultdict(list)
    with PUBLISHED.open(newline="") as file:
        for row in csv.DictReader(file):
            emotion = "Helplessness" if row["emotion"] == "Hopelessness" else row["emotion"]
            pairs[emotion, row["path"]].append(row["value"] == "True")
    shown = {r[0]: r for r in tables.agreement_rows(binary.agreement_table(published)).rows}
    for name in NAMES:
        several = [v for (e, _), v in pairs.items() if e == name and len(v) > 1]
        agree = sum(len(set(v)) == 1 for v in several) / len(several)
        partial = sum(len(v) == 3 and len(set(v)) == 2 for v in several) / len(several)
        disagree = sum(len(v) == 2 and len(set(v)) == 2 for v in several) / len(several)
        assert shown[name][1] == len(several)
        np.testing.assert_allclose(shown[name][2:5], [agree, partial, disagree], atol=1e-6)
    assert shown["Helplessness"][1] > 0
    assert shown["all"][1] == 14670


def test_agreement_rules(answers):
    table = binary.agreement_table(answers)
    awe, helplessness = SLUGS.index("awe"), SLUGS.index("helplessness")
    assert [int(c[awe]) for c in table.values()][:4] == [4, 2, 1, 1]
    assert [int(c[helplessness]) for c in (table["pairs"], table["agreement"], table["other"])] == [2, 1, 1]
    assert list(binary.overall_shares(table).values())[:3] == [3 / 6, 1 / 6, 1 / 6]


def test_detection_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn (extra test) is not installed")
    rng = np.random.default_rng(0)
    n = 300
    total = rng.choice([1, 2, 3], n)
    yes = np.minimum(rng.integers(0, 4, n), total)
    scores = np.round(rng.normal(1, 1, (n, 40)) + yes[:, None], 1)
    made = annotations.Answers(
        "made up", tuple(annotations.ImageId(f"i{i}.png") for i in range(n)), np.arange(n),
        np.full(n, SLUGS.index("fear")), yes, total, int(total.sum()), 3,
    )  # fmt: skip
    got = binary.binary_figures(predictions(scores, [f"i{i}.png" for i in range(n)]), made, fixed=2.0, bootstraps=200)
    e = SLUGS.index("fear")
    triple = (total == 3) & (yes == 3)
    for found, use, positive in (
        (got.clear, triple | (yes == 0), triple),
        (got.all, np.ones(n, bool), 2 * yes > total),
    ):
        s, p = scores[use, e], positive[use]
        assert found.positives[e] == p.sum()
        assert found.negatives[e] == (~p).sum()
        assert found.value["auc"][e] == pytest.approx(sklearn.roc_auc_score(p, s), abs=SAME_FIGURE)
        ap = sklearn.average_precision_score(p, s)
        assert found.value["average_precision"][e] == pytest.approx(ap, abs=SAME_FIGURE)
        assert found.value["fixed_f1"][e] == pytest.approx(sklearn.f1_score(p, s >= 2.0), abs=SAME_FIGURE)
        best = max(sklearn.f1_score(p, s >= t) for t in np.unique(s))
        assert found.value["best_f1"][e] == pytest.approx(best, abs=SAME_FIGURE)
        assert sklearn.f1_score(p, s >= found.threshold[e]) == pytest.approx(best, abs=SAME_FIGURE)
        low, high = np.percentile(found.resampled["auc"][:, e], [2.5, 97.5])
        assert low < found.value["auc"][e] < high
    assert np.isnan(got.clear.value["auc"][0])
    assert got.ties == (2 * yes == total).sum()
    result = tables.binary_result(got, "made up")
    assert figure_of(result, "clear_auc").value == pytest.approx(got.clear.value["auc"][e])


def test_scores_that_are_the_answers_are_perfect(answers):
    scores = np.zeros((5, 40))
    scores[0] = 5.0
    found = predictions(scores, [f"x/{k}.jpg" for k in "abcde"])
    got = binary.binary_figures(found, answers, bootstraps=10)
    awe = SLUGS.index("awe")
    assert got.clear.value["auc"][awe] == 1
    assert got.clear.value["average_precision"][awe] == 1
    assert got.clear.value["best_f1"][awe] == 1
    assert got.clear.value["fixed_f1"][awe] == 1


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("a", "human-1", "maybe", "Awe"), "True or False"),
        (("a", "human-1", "True", "Joy"), "another taxonomy"),
        (("a", "human-1", "True", "Valence"), "no emotion"),
    ],
)
def test_bad_answers(tmp_path, row, words):
    with pytest.raises(DataError, match=words):
        annotations.binary_from_csv(write(tmp_path / "b.csv", [row]))


def test_repeated_answers_and_other_columns(tmp_path):
    row = ("a", "human-1", "True", "Awe")
    with pytest.raises(DataError, match="twice"):
        annotations.binary_from_csv(write(tmp_path / "b.csv", [row, row]))
    path = tmp_path / "c.csv"
    path.write_text("image,annotator\na,b\n")
    with pytest.raises(DataError, match=r"no column path, value, emotion.*image, annotator"):
        annotations.binary_from_csv(path)
    with pytest.raises(DataError, match="cannot be read as CSV"):
        annotations.binary_from_csv(tmp_path / "no.csv")
