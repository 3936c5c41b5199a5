"""HQ against a slow transcription of the published definitions, and against what theory says of made-up raters."""

import csv

import numpy as np
import pytest

from emonet_fast.errors import DataError
from emonet_fast.evaluate import agreement, annotations, hq, hq_tables, metrics

from ..tolerances import SAME_FIGURE
from .made import figure_of, hq_csv, interval_alpha, predictions, ratings, table_of

sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn (extra test) is not installed")
pytest.importorskip("scipy", reason="scipy (extra eval) is not installed")
NAN = float("nan")


def made(rng, raters=5, images=40, missing=0.4):
    """Raters of one truth with growing noise; some ratings missing, one model among the raters."""
    truth = np.clip(rng.gamma(0.8, 1.5, size=(images, 40)), 0, 7)
    values = np.clip(np.rint(truth + rng.normal(0, 1, size=(raters, images, 40))), 0, 7)
    values[rng.random((raters, images)) < missing] = NAN
    values[:, :2] = np.rint(truth[:2])  # everybody rates two images
    model = truth + rng.normal(0, 0.8, size=truth.shape) - 0.3
    return truth, values, model


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory):
    rng = np.random.default_rng(3)
    _, values, model = made(rng)
    given = ratings(values, [True] * 4 + [False], ["human-1", "human-2", "human-3", "human-4", "Other Model"])
    path = hq_csv(tmp_path_factory.mktemp("hq") / "hq.csv", given)
    read = annotations.hq_from_csv(path)
    return values, model, hq.hq_figures(predictions(model), read, bootstraps=50)


def slow_kappa(a, b):
    both = ~(np.isnan(a) | np.isnan(b))
    x, y = a[both].astype(int), b[both].astype(int)
    if len(x) < 2:
        return NAN
    return sklearn.cohen_kappa_score(x, y, weights="quadratic", labels=list(range(8)))


def rated_by_humans(values):
    return ~np.isnan(values[:4]).all(axis=(0, 2))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_kappa_is_the_notebooks(evaluated):
    """Mean over humans, then over emotions; a human's with the other humans."""
    values, model, got = evaluated
    use = rated_by_humans(values)
    rows = [*values[:, use], model[use]]
    names = got.ratings.raters
    assert names == ("human-1", "human-2", "human-3", "human-4", "Other Model", "predictions")
    want = np.array(
        [
            [np.nanmean([slow_kappa(rows[r][:, e], rows[h][:, e]) for h in range(4) if h != r]) for e in range(40)]
            for r in range(6)
        ]
    )
    np.testing.assert_allclose(got.agreement, want, atol=SAME_FIGURE, rtol=0)
    overall = got.overall_kappa()
    assert overall[0] == pytest.approx(np.nanmean(want[5]), abs=SAME_FIGURE)
    assert overall[1] == pytest.approx(np.nanmean(np.nanmean(want[:4], axis=0)), abs=SAME_FIGURE)
    heat = agreement.heat_map(got.kappa)
    pair = np.nanmean([slow_kappa(rows[0][:, e], rows[5][:, e]) for e in range(40)])
    assert heat[0, 5] == heat[5, 0] == pytest.approx(pair, abs=SAME_FIGURE)
    assert heat[2, 2] == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_spearman_and_alpha_are_the_notebooks_with_its_seed(evaluated):
    from scipy.stats import spearmanr

    values, model, got = evaluated
    use = rated_by_humans(values)
    humans = values[:4, use]
    median = np.nanmedian(humans, axis=0)
    rho = np.array([spearmanr(model[use, e], median[:, e]).statistic for e in range(40)])
    np.testing.assert_allclose(got.rho[5], rho, atol=SAME_FIGURE, rtol=0)
    rng = np.random.default_rng(42)
    boots = [rng.choice(rho, size=40, replace=True).mean() for _ in range(50)]
    low, high = metrics.mean_interval(rho, 50)
    np.testing.assert_allclose([low, high], np.percentile(boots, [2.5, 97.5]), atol=SAME_FIGURE, rtol=0)

    krippendorff = pytest.importorskip("krippendorff", reason="krippendorff (extra test) is not installed")
    rng = np.random.default_rng(42)  # one generator goes through all emotions
    for e in range(3):
        table = humans[:, :, e]
        alpha = krippendorff.alpha(reliability_data=table, level_of_measurement="interval")
        assert got.alpha[e] == pytest.approx(alpha, abs=SAME_FIGURE)
        for b in range(50):
            drawn = table[:, rng.choice(table.shape[1], size=table.shape[1], replace=True)]
            want = krippendorff.alpha(reliability_data=drawn, level_of_measurement="interval")
            assert got.alpha_b[b, e] == pytest.approx(want, abs=SAME_FIGURE)


def test_kappa_resamples_are_kappas_of_resamples(evaluated):
    values, model, got = evaluated
    use = rated_by_humans(values)
    levels = metrics.truncated(np.concatenate([values[:, use], model[None, use]]))
    rng = np.random.default_rng(42)
    drawn = rng.integers(0, use.sum(), size=(50, use.sum()))
    for b in (0, 17):
        for e in (0, 25):
            part = levels[:, drawn[b], e]
            mine = [slow_kappa(part[5], part[h]) for h in range(4)]
            assert got.kappa_b[b, e] == pytest.approx(np.nanmean(mine), abs=SAME_FIGURE)
            among = [np.nanmean([slow_kappa(part[a], part[h]) for h in range(4) if h != a]) for a in range(4)]
            assert got.human_kappa_b[b, e] == pytest.approx(np.nanmean(among), abs=SAME_FIGURE)


def test_comparison_is_the_notebooks(evaluated):
    """Mann-Whitney and its bootstrap: the model's pairs, human by human, against the humans' pairs."""
    from scipy.stats import mannwhitneyu

    _, _, got = evaluated
    kappa = got.kappa
    mine = np.array([kappa[e, 5, h] for h in range(4) for e in range(40)])
    theirs = np.array([kappa[e, a, b] for a in range(4) for b in range(a + 1, 4) for e in range(40)])
    mine, theirs = mine[~np.isnan(mine)], theirs[~np.isnan(theirs)]
    rng = np.random.default_rng(42)
    boots = []
    for _ in range(50):
        first = rng.choice(mine, size=len(mine), replace=True).mean()
        boots.append(first - rng.choice(theirs, size=len(theirs), replace=True).mean())
    (found,) = [c for c in got.comparisons if c.rater == "predictions"]
    assert found.p == mannwhitneyu(mine, theirs, alternative="two-sided").pvalue
    assert found.difference == pytest.approx(mine.mean() - theirs.mean(), abs=SAME_FIGURE)
    np.testing.assert_allclose(found.interval, np.percentile(boots, [2.5, 97.5]), atol=SAME_FIGURE, rtol=0)


def test_one_call_draws_what_a_thousand_draw():
    """The generator's stream does not depend on how many resamples are asked for at once."""
    one, many = np.random.default_rng(42), np.random.default_rng(42)
    (whole,) = metrics.count_chunks(one, 37, 20)
    for row in whole:
        values = np.arange(37)
        np.testing.assert_array_equal(row, np.bincount(many.choice(values, 37, replace=True), minlength=37))
    np.testing.assert_array_equal(one.integers(0, 9, 5), many.integers(0, 9, 5))


IMAGES = 4000


@pytest.fixture(scope="module")
def known():
    """Levels of a rater, its copy, a random one, another and that one shifted by a level; their kappas."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 8, size=(IMAGES, 40)).astype(float)
    low = rng.integers(0, 7, size=(IMAGES, 40)).astype(float)
    noise = rng.integers(0, 8, size=(IMAGES, 40)).astype(float)
    levels = metrics.truncated(np.stack([base, base, noise, low, low + 1]))
    return levels, agreement.pairwise_kappa(levels)


class TestTruth:
    """Raters whose agreement theory knows."""

    def test_a_copy_agrees_wholly(self, known):
        levels, kappa = known
        assert (kappa[:, 0, 1] == 1).all()
        assert metrics.spearman(levels[0, :, 0], levels[1, :, 0]) == pytest.approx(1, abs=SAME_FIGURE)
        assert interval_alpha(levels[:2, :, 0]) == pytest.approx(1, abs=SAME_FIGURE)

    def test_a_random_rater_does_not_agree(self, known):
        """Kappa and alpha have the mean 0 and, for independent ratings, a deviation of 1 / sqrt(N): 5 of them."""
        levels, kappa = known
        assert np.abs(kappa[:, 0, 2]).max() < 5 / np.sqrt(IMAGES)
        alphas = [interval_alpha(levels[[0, 2], :, e]) for e in range(40)]
        assert np.abs(alphas).max() < 5 / np.sqrt(IMAGES)

    def test_a_shift_by_one_level_costs_what_theory_says(self, known):
        """b = a + 1: kappa = 1 - 1 / (2 var a + 1), Spearman 1, alpha = 1 - (2N - 1) / (2N) / (2 var a + 1/2)."""
        levels, kappa = known
        variance = levels[3].var(axis=0)
        np.testing.assert_allclose(kappa[:, 3, 4], 1 - 1 / (2 * variance + 1), atol=SAME_FIGURE, rtol=0)
        assert metrics.spearman(levels[3, :, 0], levels[4, :, 0]) == pytest.approx(1, abs=SAME_FIGURE)
        n = 2 * IMAGES
        want = 1 - (n - 1) / n / (2 * variance[0] + 0.5)
        assert interval_alpha(levels[3:, :, 0]) == pytest.approx(want, abs=SAME_FIGURE)

    def test_the_whole_evaluation_sees_them(self):
        rng = np.random.default_rng(1)
        human = rng.integers(0, 8, size=(300, 40)).astype(float)
        given = ratings(np.stack([human, human, human]))
        copy = hq.hq_figures(predictions(human), given, bootstraps=20)
        assert copy.overall_kappa() == (1, 1, 1)
        result = hq_tables.hq_result(copy, "made up")
        assert figure_of(result, "kappa").interval == (1, 1)
        assert figure_of(result, "spearman").value == pytest.approx(1, abs=SAME_FIGURE)
        assert figure_of(result, "alpha").value == pytest.approx(1, abs=SAME_FIGURE)
        assert figure_of(result, "kappa_calibrated").value > 0.98  # quantiles of four fifths, so not exactly 1
        assert figure_of(result, "dropped").value == 0
        chance = hq.hq_figures(predictions(rng.uniform(0, 7.99, size=(300, 40))), given, bootstraps=20)
        result = hq_tables.hq_result(chance, "made up")
        # 40 emotions of 300 images: a deviation of 1 / sqrt(12000), five of them
        for slug in ("kappa", "kappa_rounded", "kappa_calibrated", "spearman"):
            assert abs(figure_of(result, slug).value) < 5 / np.sqrt(12000), slug


def test_truncation_drops_what_is_counted():
    human = np.tile(np.arange(8.0), 5)[:, None] * np.ones(40)
    model = human.copy()
    model[:10] = -1.5  # a quarter of the images has no level after truncation
    model[10:20] += 0.9  # truncated back; rounded to the next level
    got = hq.hq_figures(predictions(model), ratings(np.stack([human, human])), bootstraps=5)
    np.testing.assert_allclose(got.dropped, 0.25)
    assert (got.agreement[2] == 1).all()
    assert (got.rounded < 1).all()
    assert not np.isnan(metrics.rounded(got.ratings.values)).any()  # of all 40 images


class TestCalibration:
    def test_shares_of_levels_are_those_of_the_experts(self):
        rng = np.random.default_rng(0)
        levels = rng.choice(8, p=[0.5, 0.2, 0.1, 0.08, 0.05, 0.04, 0.02, 0.01], size=(3, 5000)).astype(float)
        scores = rng.normal(0, 1, 5000)
        cuts = agreement.thresholds(scores, levels)
        for k in range(1, 8):
            assert (scores >= cuts[k - 1]).mean() == pytest.approx((levels >= k).mean(), abs=1 / 5000)

    def test_levels_that_no_expert_uses_are_never_given(self):
        cuts = agreement.thresholds(np.arange(10.0), np.full((2, 10), 3.0))
        np.testing.assert_array_equal(cuts, [-np.inf] * 3 + [np.inf] * 4)

    def test_a_fold_never_sees_its_own_experts(self):
        """Other ratings and other scores in a fold leave the thresholds that its images are cut by as they were."""
        rng = np.random.default_rng(0)
        scores, levels = rng.normal(0, 1, 200), rng.integers(0, 8, size=(3, 200)).astype(float)
        fold = agreement.folds(200)
        assert np.bincount(fold).tolist() == [40] * 5
        before = agreement.held_out_levels(scores, levels, fold)
        for k in range(5):
            changed = levels.copy()
            changed[:, fold == k] = rng.integers(0, 8, size=(3, 40))
            after = agreement.held_out_levels(scores, changed, fold)
            np.testing.assert_array_equal(after[fold == k], before[fold == k])
            moved = scores.copy()
            moved[np.flatnonzero(fold == k)[0]] = 99.0
            np.testing.assert_array_equal(
                agreement.held_out_levels(moved, levels, fold)[fold == k][1:], before[fold == k][1:]
            )

    def test_a_shifted_and_scaled_model_is_put_right(self):
        rng = np.random.default_rng(0)
        truth = rng.integers(0, 8, size=(400, 40)).astype(float)
        given = ratings(np.stack([truth, truth]))
        model = (truth + rng.uniform(-0.3, 0.3, truth.shape)) / 10 - 3
        got = hq.hq_figures(predictions(model), given, bootstraps=5)
        assert np.isnan(got.overall_kappa()[0])  # every score truncates to a level below 0
        assert np.nanmean(got.calibrated) > 0.98


def test_csv_rules_of_the_notebook(tmp_path):
    """A missing emotion is 0, repeated rows are averaged, Hume's scores are multiplied by 7."""
    path = tmp_path / "hq.csv"
    every = {f"G|{n}": 1 for n in annotations.SLUGS}
    rows = [
        ("b.png", "human-1", True, every),
        ("a.png", "human-1", True, {"G|Awe": 4}),
        ("a.png", "human-1", True, {"G|Awe": 5, "G|Fear": 1}),
        ("a.png", "Hume Face*", False, {"G|Awe": 0.5}),
    ]
    lines = [f'{i},{a},{h},"{d}"' for i, a, h, d in rows]
    path.write_text("image,annotator,human,annotations\n" + "\n".join(lines) + "\n")
    read = annotations.hq_from_csv(path)
    assert read.raters == ("human-1", "Hume Face*")
    assert [str(i) for i in read.images] == ["b.png", "a.png"]
    awe, fear = annotations.SLUGS.index("awe"), annotations.SLUGS.index("fear")
    assert read.values[0, 1, awe] == 4.5
    assert read.values[0, 1, fear] == 0.5
    assert read.values[0, 1].sum() == 5.0
    assert read.values[1, 1, awe] == 3.5
    assert np.isnan(read.values[1, 0]).all()
    assert any("1 repeated" in n for n in read.notes)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.png,h,True,{'Joy': 3}", "another taxonomy"),
        ("a.png,h,True,nonsense(", "not a list or dict"),
        ("a.png,h,True,{'Awe': 'x'}", "expected a number"),
        ("a.png,h,maybe,{'Awe': 3}", "True or False"),
        ("a.png,h,True,{'Awe': 3}", "39 of 40 emotions are never rated"),
        ("a.png,h,False,{'Awe': 3}", "emotions are never rated"),
    ],
)
def test_bad_annotations(tmp_path, row, words):
    path = tmp_path / "hq.csv"
    path.write_text("image,annotator,human,annotations\n" + row.replace("{", '"{').replace("}", '}"') + "\n")
    limit = csv.field_size_limit()
    with pytest.raises(DataError, match=words):
        annotations.hq_from_csv(path)
    assert csv.field_size_limit() == limit  # a setting of the whole process is put back


def test_reliability_groups_are_by_alpha(evaluated):
    _, _, got = evaluated
    table = table_of(hq_tables.hq_result(got, "made up"), "reliability")
    counts = [row[1] for row in table.rows]
    alpha = got.alpha
    assert counts == [(alpha >= 0.3).sum(), ((alpha >= 0.1) & (alpha < 0.3)).sum(), (alpha < 0.1).sum()]
    assert sum(counts) == 40


def test_one_image_and_one_human_are_undefined_not_wrong():
    got = hq.hq_figures(predictions(np.ones((1, 40))), ratings(np.ones((1, 1, 40))), bootstraps=3)
    result = hq_tables.hq_result(got, "made up")
    for slug in ("kappa", "spearman", "alpha", "kappa_humans", "mann_whitney_p"):
        assert np.isnan(figure_of(result, slug).value), slug
    assert result.as_dict()["figures"]["kappa"]["value"] is None
