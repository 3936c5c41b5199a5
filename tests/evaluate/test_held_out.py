"""Figures of held-out heads are those of scikit-learn and scipy; their intervals draw whole clusters."""

import numpy as np
import pytest

from emonet_fast.evaluate.held_out import held_out_figures

SCALES = ((0.0, 7.0), (0.0, 1.0))


def made(n=200):
    rng = np.random.default_rng(0)
    truth = rng.uniform(size=(n, 2))
    labels = np.stack([np.rint(7 * truth[:, 0]), (truth[:, 1] > 0.5).astype(float)], axis=1)
    labels[:20, 0] = np.nan
    scores = np.stack([7 * truth[:, 0], 4 * (truth[:, 1] - 0.5)], axis=1) + rng.normal(0, 0.7, (n, 2))
    return scores, labels, np.arange(n)


def test_figures_are_those_of_the_libraries():
    metrics = pytest.importorskip("sklearn.metrics")
    stats = pytest.importorskip("scipy.stats")
    scores, labels, clusters = made()
    figures, table = held_out_figures(("a", "b"), scores, labels, clusters, SCALES)
    a, b = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    known = slice(20, None)
    assert (a["rows"], b["rows"]) == (180, 200)
    assert a["Spearman"] == pytest.approx(stats.spearmanr(scores[known, 0], labels[known, 0]).statistic)
    assert a["mean absolute error"] == pytest.approx(metrics.mean_absolute_error(labels[known, 0], scores[known, 0]))
    assert a["calibration slope"] == pytest.approx(np.polyfit(scores[known, 0], labels[known, 0], 1)[0])
    levels = np.clip(np.floor(scores[known, 0] + 0.5), 0, 7)
    assert a["kappa"] == pytest.approx(metrics.cohen_kappa_score(levels, labels[known, 0], weights="quadratic"))
    assert b["AUC"] == pytest.approx(metrics.roc_auc_score(labels[:, 1], scores[:, 1]))
    assert np.isnan(a["AUC"])
    assert b["kappa"] == pytest.approx(metrics.cohen_kappa_score(scores[:, 1] >= 0.5, labels[:, 1]))
    by = {figure.slug: figure for figure in figures}
    assert by["Spearman"].value == pytest.approx((a["Spearman"] + b["Spearman"]) / 2)
    for row in (a, b):
        assert row["Spearman low"] < row["Spearman"] < row["Spearman high"]


def test_what_a_score_means_decides_the_figures():
    scores, labels, clusters = made()
    given = ("b",), scores[:, 1:], labels[:, 1:], clusters, SCALES[1:]
    odds = held_out_figures(*given, "log-odds")[1]
    order = held_out_figures(*given, "order")[1]
    share = 1 / (1 + np.exp(-scores[:, 1]))
    at = odds.columns.index("mean absolute error")
    assert odds.rows[0][at] == pytest.approx(np.abs(share - labels[:, 1]).mean())
    assert {name.removesuffix(" low").removesuffix(" high") for name in order.columns} == {
        "head", "rows", "Spearman", "AUC",
    }  # fmt: skip


def test_rows_that_are_alike_widen_intervals():
    scores, labels, _ = made(100)
    twice = np.concatenate([scores, scores]), np.concatenate([labels, labels])
    of_rows = held_out_figures(("a", "b"), *twice, np.arange(200), SCALES)[0][0]
    of_pairs = held_out_figures(("a", "b"), *twice, np.tile(np.arange(100), 2), SCALES)[0][0]
    alone = held_out_figures(("a", "b"), scores, labels, np.arange(100), SCALES)[0][0]
    assert of_pairs.value == pytest.approx(of_rows.value)
    assert of_pairs.interval == pytest.approx(alone.interval)
    width = [high - low for low, high in (of_rows.interval, of_pairs.interval)]
    assert width[0] < 0.85 * width[1]  # by a factor of about sqrt(2)


def test_a_head_without_labels_has_no_figures():
    scores, labels, clusters = made()
    labels[:, 1] = np.nan
    figures, table = held_out_figures(("a", "b"), scores, labels, clusters, SCALES)
    assert table.rows[1][1] == 0
    assert all(np.isnan(cell) for cell in table.rows[1][2:])
    assert figures[0].value == pytest.approx(table.rows[0][2])


def test_intervals_hold_no_figure_that_cannot_be():
    truth = np.arange(10.0) % 8
    scores = truth + np.random.default_rng(2).normal(0, 0.8, 10)
    table = held_out_figures(("a",), scores[:, None], truth[:, None], np.arange(10), SCALES[:1])[1]
    row = dict(zip(table.columns, table.rows[0], strict=True))
    for title, ends in (("Spearman", (-1, 1)), ("kappa", (-1, 1)), ("mean absolute error", (0, np.inf))):
        assert ends[0] <= row[f"{title} low"] < row[title] < row[f"{title} high"] <= ends[1], title
    assert row["Spearman high"] == 1.0  # the moved resamples reach 1.007
