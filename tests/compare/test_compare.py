"""Two sets of predictions beside a truth, against scipy, scikit-learn and what is known of made data."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from emonet_fast import taxonomy
from emonet_fast.commands.main import cli
from emonet_fast.compare import compare_predictions, paired
from emonet_fast.compare.paired import Draws
from emonet_fast.errors import DataError, OptionError
from emonet_fast.evaluate import charts
from emonet_fast.targets import Reading

pa = pytest.importorskip("pyarrow")
stats = pytest.importorskip("scipy.stats", reason="scipy (extra eval) is not installed")

SLUGS = [d.slug for d in taxonomy.EMOTIONS]
PICTURES = 60
EXACT = 1e-12


def table(values, keys=None, kind="raw_", **more):
    keys = [f"faces/{i}.jpg" for i in range(len(values))] if keys is None else keys
    columns = {f"{kind}{s}": values[:, i].astype(np.float32) for i, s in enumerate(SLUGS[: values.shape[1]])}
    return pa.table({"key": keys, **more, **columns})


@pytest.fixture(scope="module")
def made():
    """A is nearer to the truth than B, in every emotion."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 8, (PICTURES, 40)).astype(float)
    a = truth + 0.5 * rng.standard_normal(truth.shape)
    b = truth + 2.5 * rng.standard_normal(truth.shape)
    return a.astype(np.float32).astype(float), b.astype(np.float32).astype(float), truth


def compared(a, b, truth=None, **settings):
    return compare_predictions(
        table(a), table(b), None if truth is None else table(truth, kind=""), bootstraps=200, **settings
    )


def test_figures_are_those_of_scipy_and_sums(made):
    a, b, truth = made
    result = compared(a, b, truth)
    rho = [np.mean([stats.spearmanr(x[:, e], truth[:, e]).statistic for e in range(40)]) for x in (a, b)]
    assert result.figure("spearman_a").value == pytest.approx(rho[0], abs=EXACT)
    assert result.figure("spearman_difference").value == pytest.approx(rho[1] - rho[0], abs=EXACT)
    assert result.figure("mae_b").value == pytest.approx(np.abs(b - truth).mean(), abs=EXACT)
    between = np.mean([stats.spearmanr(a[:, e], b[:, e]).statistic for e in range(40)])
    assert result.figure("agreement_spearman").value == pytest.approx(between, abs=EXACT)
    assert result.figure("same_strongest").value == (a.argmax(axis=1) == b.argmax(axis=1)).mean()
    row = {r["head"]: r for r in result.table("heads_mae").records()}[taxonomy.EMOTIONS[4].name]
    assert row["B − A"] == pytest.approx(np.abs(b - truth)[:, 4].mean() - np.abs(a - truth)[:, 4].mean(), abs=EXACT)
    summary = {r["figure"]: r for r in result.table("summary").records()}
    # 60 pictures tell an error of 2 from one of 0.4 in each of 40 emotions
    assert (summary["Mean absolute error"]["A clearly better"], summary["Mean absolute error"]["B clearly better"]) == (
        40,
        0,
    )


def test_swapping_a_and_b_turns_the_sign(made):
    a, b, truth = made
    there, back = compared(a, b, truth), compared(b, a, truth)
    for slug in ("spearman", "mae", "kappa", "calibration_error"):
        one, other = there.figure(f"{slug}_difference"), back.figure(f"{slug}_difference")
        assert one.value == pytest.approx(-other.value, abs=EXACT)
        assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-9)


def test_equal_predictions_do_not_differ(made):
    a, _, truth = made
    result = compared(a, a, truth)
    assert result.figure("spearman_difference").value == 0
    assert result.figure("spearman_difference").interval == (0, 0)
    assert all(row["p"] is None for row in result.table("heads_spearman").records())
    assert result.figure("same_strongest").value == 1


def test_the_interval_of_a_mean_error_is_that_of_scipys_bootstrap(made):
    a, b, truth = made
    gap = np.abs(b - truth)[:, 0] - np.abs(a - truth)[:, 0]
    row = {r["head"]: r for r in compared(a, b, truth).table("heads_mae").records()}[taxonomy.EMOTIONS[0].name]
    want = stats.bootstrap((gap,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(0))
    width = want.confidence_interval.high - want.confidence_interval.low
    # 200 resamples know a percentile of 2.5 to some 10% of the width
    assert (row["low"], row["high"]) == pytest.approx(want.confidence_interval, abs=0.15 * width)
    # z of the mean of 60 is all but normal
    assert row["p"] == pytest.approx(2 * stats.norm.sf(gap.mean() / stats.sem(gap)), rel=2)


def test_yes_and_no_have_an_auc(made):
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn (extra test) is not installed")
    a, b, truth = made
    yes = (truth > 3).astype(float)
    result = compared(a, b, yes)
    want = np.mean([sklearn.roc_auc_score(yes[:, e], a[:, e]) for e in range(40)])
    assert result.figure("auc_a").value == pytest.approx(want, abs=EXACT)
    with pytest.raises(OptionError):
        result.figure("mae_a")  # an error of 0..7 beside 0 and 1 says nothing


def test_people_are_drawn_whole():
    rng = np.random.default_rng(0)
    unit = np.repeat(np.arange(20), 10)
    column = rng.standard_normal(20)[unit]  # ten equal pictures of each person
    every = np.ones(200, dtype=bool)
    people, pictures = (Draws(u, 400).means(every, column).std() for u in (unit, np.arange(200)))
    assert people == pytest.approx(np.sqrt(10) * pictures, rel=0.2)


def test_a_column_of_people_is_found_in_the_truth(made):
    a, b, truth = made
    told = table(truth, kind="", person=[f"p{i // 4}" for i in range(PICTURES)])
    result = compare_predictions(table(a), table(b), told, bootstraps=50)
    assert result.facts["drawn in a resample"] == f"{PICTURES // 4} of person"
    plain = compare_predictions(table(a), table(b), told, bootstraps=50, unit="picture")
    assert plain.facts["drawn in a resample"] == f"{PICTURES} of picture"
    with pytest.raises(OptionError, match="person"):
        compare_predictions(table(a), table(b), told, unit="camera")


@pytest.mark.parametrize("kind", [paired.SPEARMAN, paired.AUC])
def test_many_pictures_have_the_intervals_of_few(monkeypatch, kind):
    """The way for many rows, taken for 1500, beside new ranks in each resample."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal(1500)
    t = (x + rng.standard_normal(1500) > 0).astype(float) if kind is paired.AUC else x + rng.standard_normal(1500)
    every = np.ones(1500, dtype=bool)
    exact = kind.measure(x, t, every, Draws(np.arange(1500), 400))
    monkeypatch.setattr(paired, "MOST", 500)
    few = Draws(np.arange(1500), 400)
    assert not few.exact
    value, drawn = kind.measure(x, t, every, few)
    assert value == exact[0]
    # the deviation of 400 resamples is known to 1 / sqrt(800), that of 500 groups to 1 / sqrt(1000); twice both
    assert drawn.std() == pytest.approx(exact[1].std(), rel=0.12)


def test_rows_are_joined_by_key_and_what_does_not_join_is_counted(made):
    a, b, truth = made
    order = np.random.default_rng(0).permutation(PICTURES)[:50]
    other = table(b[order], keys=[f"/elsewhere/faces/{i}.jpg" for i in order], status=["ok"] * 49 + ["truncated"])
    result = compare_predictions(table(a), other, table(truth, kind=""), bootstraps=20)
    at = np.sort(order[:49])
    assert result.figure("mae_b").value == pytest.approx(np.abs(b - truth)[at].mean(), abs=EXACT)
    assert result.facts["pictures"] == "49"
    notes = "; ".join(result.notes)
    assert "10 pictures are in A alone" in notes
    assert "1 picture in both without scores in one of them" in notes


def test_the_picture_that_differs_most_comes_first(made):
    a, _, _ = made
    b = a.copy()
    b[7, 3] += 6
    result = compared(a, b)
    worst = result.table("pictures").records()[0]
    assert (worst["picture"], worst["head"]) == ("faces/7.jpg", taxonomy.EMOTIONS[3].name)
    assert result.galleries[0].cards[0][0] == ("faces/7.jpg",)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda t: compare_predictions(t, table(np.ones((2, 40)), keys=["x", "y"])), DataError, "none of the 2 keys"),
        (lambda t: compare_predictions(t, t, values="softmax"), OptionError, "softmax"),
        (lambda t: compare_predictions(t, t, values="score"), DataError, "no columns score_"),
        (lambda t: compare_predictions(t, t, unit="person"), OptionError, "truth"),
        (lambda t: compare_predictions(t, t, bootstraps=1), OptionError, "bootstraps"),
        (lambda t: compare_predictions(t, t, bootstraps=20_000), OptionError, "10000"),
        (
            lambda t: compare_predictions(t, t, pa.table({"key": ["faces/0.jpg"], "my_own": [1.0]})),
            DataError,
            "none of the heads",
        ),
    ],
)
def test_bad_input_is_named(made, call, error, text):
    with pytest.raises(error, match=text):
        call(table(made[0]))


def test_the_command_writes_figures_and_a_page_with_pictures(made, tmp_path, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    image = pytest.importorskip("PIL.Image")
    monkeypatch.chdir(tmp_path)
    a, b, truth = (part[:, :2] for part in made)
    (tmp_path / "faces").mkdir()
    image.new("RGB", (40, 30), "red").save("faces/7.jpg")
    b = a.copy()
    b[7] += 5
    for name, values, kind in (("a", a, "raw_"), ("b", b, "raw_"), ("t", truth, "")):
        pq.write_table(table(values, kind=kind), f"{name}.parquet")
    call = "evaluate compare a.parquet b.parquet --truth t.parquet --bootstraps 20 --report c.html --json c.json"
    done = CliRunner().invoke(cli, call.split())
    assert done.exit_code == 0, done.output
    assert "A: a.parquet" in done.output
    figures = json.loads((tmp_path / "c.json").read_text("utf-8"))["figures"]
    assert figures["mae_a"]["value"] == pytest.approx(np.abs(a - truth).mean(), abs=1e-6)  # truth is float32
    page = (tmp_path / "c.html").read_text("utf-8")
    assert page.count("data:image/jpeg;base64,") == 1
    assert page.count("no file here") == 23
    assert "Pictures that disagree most" in page


def test_heads_of_any_names_are_compared_the_taxonomys_first(made):
    """Probes, trained heads and extra dimensions; Holm counts every name; nobody is the strongest of a few."""
    a, b, truth = (part[:, :3] for part in made)
    a = truth + (a - truth) * [1, 4, 4]  # as B is, but in the first
    names = ["my_mood", "awe", "valence"]

    def named(values, prefix, **more):
        return pa.table({"key": [f"{i}.jpg" for i in range(PICTURES)], **more} | {
            f"{prefix}{name}": values[:, i] for i, name in enumerate(names)
        })  # fmt: skip

    told = named(truth * [100, 1, 0.5] - [0, 0, 1.5], "")
    only_b = {"raw_other": np.ones(PICTURES), "raw_my_mood2": np.ones(PICTURES)}
    result = compare_predictions(
        named(a * [100, 1, 1], "raw_"), named(b * [100, 1, 1], "raw_", **only_b), told,
        how=Reading(labels=("my_mood", "awe", "valence"), scale=(-10, 1000)), bootstraps=300,
    )  # fmt: skip
    agreed = {row["head"]: row for row in result.table("agreement").records()}
    assert set(agreed) == {"Awe", "Valence", "my_mood"}
    assert result.facts["heads"] == "3"
    assert "in B alone: 2 heads, my_mood2, other" in result.notes
    assert result.galleries[0].cards[0][1].keys() >= {"picture", "difference"}
    assert "strongest" not in result.galleries[0].cards[0][1]
    with pytest.raises(OptionError, match="same_strongest"):
        result.figure("same_strongest")
    rows = {row["head"]: row for row in result.table("heads_spearman").records()}
    for i, name in enumerate(("my_mood", "Awe", "Valence")):
        assert rows[name]["A"] == pytest.approx(stats.spearmanr(a[:, i], truth[:, i]).statistic, abs=EXACT)
    ordered = sorted(rows.values(), key=lambda row: row["p"])
    assert ordered[0]["head"] == "my_mood"
    assert ordered[0]["p corrected"] == pytest.approx(3 * ordered[0]["p"])


def test_other_heads_beside_the_forty_change_no_strongest_emotion(made):
    a, b, _ = made
    own = {"raw_arousal": np.full(PICTURES, 9.0), "raw_zest": np.full(PICTURES, 1000.0)}  # no scale bounds one's own
    result = compare_predictions(table(a, **own), table(b, **own), bootstraps=20)
    assert result.facts["heads"] == "42"
    assert result.figure("same_strongest").value == (a.argmax(axis=1) == b.argmax(axis=1)).mean()


def test_heads_without_a_name_in_common_are_refused(made):
    one, other = (pa.table({"key": ["x.jpg"], f"raw_{name}": [1.0]}) for name in ("mine", "yours"))
    with pytest.raises(DataError, match=r"heads of mine.*of yours"):
        compare_predictions(one, other)


@pytest.mark.parametrize(("other", "alike"), [("awe", True), ("zest", False)])
def test_heads_of_ones_own_have_panels_of_their_own_ends(monkeypatch, other, alike):
    pytest.importorskip("matplotlib", reason="matplotlib (extra eval) is not installed")
    drawn = []
    monkeypatch.setattr(charts, "_png", lambda figure: drawn.append(figure) or (b"", b""))
    values = np.linspace(0, 7, 20)
    given = pa.table({"key": [f"{i}.jpg" for i in range(20)], "raw_fear": values / 10, f"raw_{other}": values})
    result = compare_predictions(given, given, bootstraps=2)
    next(chart for chart in result.charts if chart.slug == "scatter").draw()
    (narrow, wide) = sorted(axes.get_xlim()[1] for axes in drawn[0].axes)
    assert wide == pytest.approx(7 * 1.04)
    assert narrow == pytest.approx(wide if alike else 0.7 * 1.04)
