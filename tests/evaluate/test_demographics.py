"""Demographics: groups that differ are found, groups that do not are left alone, p values are Holm's."""

import numpy as np
import pytest

from emonet_fast.datasets import Kind, open_dataset
from emonet_fast.errors import DataError
from emonet_fast.evaluate import demographics, tables

from .made import GENDERS, dataset, hq_label, parquet, predictions, table_of

pytest.importorskip("scipy", reason="scipy (extra eval) is not installed")
N = 240


@pytest.fixture(scope="module")
def hq(tmp_path_factory):
    """Experts rate everybody 3; ages, genders and ethnicities are drawn."""
    rng = np.random.default_rng(0)
    folder = tmp_path_factory.mktemp("hq")
    groups = [tuple(int(v) for v in row) for row in np.stack([rng.integers(0, k, N) for k in (7, 3, 3)], axis=1)]
    label = hq_label({"human-1": np.full(40, 3), "human-2": np.full(40, 3)})
    dataset(folder / "train.parquet", [label] * N, [f"mj_{i}.png" for i in range(N)], groups)
    return open_dataset(folder), np.array(groups)


def evaluate(hq, values):
    data, _ = hq
    return demographics.demographic_figures(
        predictions(values, [f"mj_{i}.jpg" for i in range(N)]), data, bootstraps=200
    )


def test_a_group_that_differs_is_found(hq):
    women = hq[1][:, 2] == GENDERS.index("woman")
    values = 3 + np.random.default_rng(1).normal(0, 0.2, (N, 40)) + 0.5 * women[:, None]
    got = evaluate(hq, values)
    by = {(g.column, g.value, g.measure): g for g in got.groups}
    woman, error = by["gender", "woman", "score"], by["gender", "woman", "error"]
    assert woman.n == women.sum()
    assert woman.mean == pytest.approx(values[women].mean())
    assert woman.difference == pytest.approx(values[women].mean() - values[~women].mean())
    low, high = woman.difference_interval
    assert low < 0.5 < high
    assert low > 0.4
    assert woman.p_holm < 1e-6
    assert error.mean == pytest.approx(np.abs(values[women] - 3).mean())
    assert error.p_holm < 1e-6
    found = [t for t in got.tests if t.p_holm < 0.05]
    assert {t.column for t in found} == {"gender"}
    assert sum(t.measure == "score" for t in found) == 40
    assert all(t.highest == "woman" for t in found if t.measure == "score")
    assert by["age", "20", "score"].p_holm > 0.05
    assert [g.value for g in got.groups if (g.column, g.measure) == ("age", "score")] == [
        "20",
        "30",
        "40",
        "50",
        "60",
        "70",
        "80",
    ]


def test_no_difference_is_no_finding(hq):
    got = evaluate(hq, 3 + np.random.default_rng(2).normal(0, 0.2, (N, 40)))
    assert all(g.p_holm > 0.05 for g in got.groups)
    assert all(t.p_holm > 0.05 for t in got.tests)


def test_constant_scores_are_undefined_not_wrong(hq):
    got = evaluate(hq, np.full((N, 40), 3.0))
    assert all(np.isnan(t.p) for t in got.tests)
    assert all(g.mean == 0 for g in got.groups if g.measure == "error")


def test_the_report_says_what_the_columns_are(hq):
    result = tables.demographics_result(evaluate(hq, np.full((N, 40), 3.0)), "p")
    assert "parameters of the prompts" in result.notes[0]
    assert "not measured attributes" in result.notes[0]
    assert all("not measured attributes" in table_of(result, t).lead for t in ("groups_score", "groups_error"))
    assert "experts' mean rating" in result.facts["an error is"]


def test_holm():
    """Worked by hand: 4 tests, the smallest times 4, then 3, 2, 1, never falling, at most 1."""
    got = demographics.holm([0.03, 0.01, float("nan"), 0.04, 0.005])
    np.testing.assert_allclose(got, [0.06, 0.03, float("nan"), 0.06, 0.02])
    assert demographics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert demographics.holm([]) == []


def test_binary_errors_are_wrong_decisions(tmp_path):
    labels = [repr([{"human-1": {"Awe": i < 6}}]) for i in range(12)]
    dataset(tmp_path / "t.parquet", labels, [f"{i:05}.jpg" for i in range(12)])
    values = np.zeros((12, 40))
    values[:5] = 4.0  # the sixth positive is missed by any threshold that spares the negatives
    got = demographics.demographic_figures(
        predictions(values, [f"t.parquet::{i}" for i in range(12)]), open_dataset(tmp_path), bootstraps=20
    )
    assert "best F1" in got.error_is
    errors = {g.value: g.mean for g in got.groups if (g.column, g.measure) == ("age", "error")}
    assert errors["70"] == 1.0  # image 5 alone has age class 5
    assert errors["20"] == 0.0


def test_big_has_scores_only(tmp_path):
    dataset(tmp_path / "t.parquet", ["joy"] * 12, [f"{i}.jpg" for i in range(12)])
    data = open_dataset(tmp_path, Kind.BIG)
    found = predictions(np.random.default_rng(0).normal(2, 1, (12, 40)), [f"{i}.jpg" for i in range(12)])
    got = demographics.demographic_figures(found, data, bootstraps=20)
    assert got.error_is == ""
    assert all(g.measure == "score" for g in got.groups)
    assert table_of(tables.demographics_result(got, "p"), "groups_score").rows


def test_scores_beside_the_shards_are_no_shard(tmp_path):
    """A table of ours, and one of pictures that says nothing of them; a damaged shard is still an error."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    dataset(tmp_path / "t.parquet", ["joy"] * 12, [f"{i}.jpg" for i in range(12)])
    values = np.random.default_rng(0).normal(2, 1, (12, 40))
    parquet(tmp_path / "scores.parquet", values, [f"{i}.jpg" for i in range(12)])
    pq.write_table(pa.table({"image": pa.array([b"x"], pa.binary()), "url": ["u"]}), tmp_path / "pictures.parquet")
    data = open_dataset(tmp_path, Kind.BIG)
    assert data.skipped == ("pictures.parquet", "scores.parquet")
    got = demographics.demographic_figures(predictions(values, [f"{i}.jpg" for i in range(12)]), data, bootstraps=20)
    assert got.images == 12
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"damaged\.parquet cannot be read as parquet"):
        list(open_dataset(tmp_path, Kind.BIG))


def test_a_data_set_without_the_columns(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    image = pa.array([{"bytes": b"x", "path": "a.png"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"path": image}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no column age, gender, ethnicity"):
        demographics.demographic_figures(predictions(np.zeros((1, 40)), ["a.png"]), open_dataset(tmp_path))
