"""Figures of stored scores: equal to numpy's by hand, in memory and in streams, from every kind of file."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emonet_fast.baseline import PROBABILITIES, Baseline
from emonet_fast.errors import DataError
from emonet_fast.population import baseline_of
from emonet_fast.population.measure import measure

from ..tolerances import SAME_FIGURE
from .made import METADATA, SLUGS, population, scores, written


def by_hand(raw):
    """The figures of [N] values, each by its definition."""
    values = sorted(map(float, raw))
    n = len(values)

    def quantile(p):
        at = p * (n - 1)
        below, above = values[int(at)], values[min(int(at) + 1, n - 1)]
        return below + (above - below) * (at - int(at))

    middle = quantile(0.5)
    far = sorted(abs(v - middle) for v in values)
    mean = sum(values) / n
    return {
        "median": middle,
        "mad": (far[(n - 1) // 2] + far[n // 2]) / 2,
        "mean": mean,
        "deviation": (sum((v - mean) ** 2 for v in values) / (n - 1)) ** 0.5,
        "quantiles": [quantile(p) for p in PROBABILITIES],
    }


@pytest.mark.parametrize("in_memory", [10_000, 10], ids=["in memory", "in streams"])
@pytest.mark.parametrize("rows", [11, 12, 1500])
def test_figures_are_those_by_hand(rows, in_memory):
    raw = population(rows)
    made = measure(lambda: (raw[i : i + 700] for i in range(0, rows, 700)), SLUGS, METADATA, in_memory=in_memory)
    assert made.rows == rows
    for i in range(0, 40, 7):
        for name, value in by_hand(raw[:, i]).items():
            np.testing.assert_allclose(getattr(made, name)[i], value, rtol=0, atol=SAME_FIGURE, err_msg=name)


@given(hnp.arrays(np.float32, st.integers(2, 40), elements=st.floats(-(2.0**20), 2.0**20, width=32)))
@settings(max_examples=40, deadline=None)
def test_streams_give_the_same_order_statistics_as_memory(values):
    """Ties, both zeros, subnormal numbers, an even and an odd number of rows."""
    raw = values[:, None]
    streamed = measure(lambda: (raw[i : i + 5] for i in range(0, len(raw), 5)), ["awe"], {}, in_memory=1)
    whole = Baseline.of(raw, ["awe"], {})
    # The order statistics are the same numbers; two lines between them may differ in their last bit.
    for name in ("median", "mad", "quantiles"):
        np.testing.assert_allclose(getattr(streamed, name), getattr(whole, name), rtol=1e-15, atol=0, err_msg=name)
    np.testing.assert_allclose(streamed.mean, whole.mean, rtol=SAME_FIGURE, atol=1e-9)


@pytest.mark.parametrize("name", ["s.parquet", "s.csv", "s.jsonl", "laion.jsonl"])
def test_every_kind_of_file_gives_the_figures_of_its_rows(tmp_path, name):
    raw = population(60)
    path = written(tmp_path / name, scores(raw, bad=(3, 4)), "laion" if name == "laion.jsonl" else "default")
    made = baseline_of([path])
    kept = np.delete(raw, [3, 4], axis=0)
    assert (made.rows, made.left_out, made.names) == (58, {"no_face": 2}, tuple(SLUGS))
    assert made == Baseline.read(_file(tmp_path, made))
    np.testing.assert_allclose(made.median, np.median(kept.astype(np.float64), axis=0), rtol=0, atol=SAME_FIGURE)
    np.testing.assert_allclose(made.neutral_mean, 0.25 + 0.01 * np.arange(40), rtol=0, atol=1e-6)  # float32's step at 4
    assert made.metadata == METADATA


def test_a_published_row_without_results_has_no_scores(tmp_path):
    path = written(tmp_path / "laion.jsonl", scores(population(3)), "laion")
    with path.open("a") as file:
        file.write('{"image_path": "z.png", "results": null}\n')
    made = baseline_of([path])
    assert (made.rows, made.left_out) == (3, {"failed": 1})


@pytest.mark.parametrize(("cell", "words"), [('"1.5"', "expected a number or null"), ("true", "is True")])
def test_a_score_is_a_number(tmp_path, cell, words):
    path = written(tmp_path / "s.jsonl", scores(population(2)))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines, '{"key": "z", "raw_awe": ' + cell + "}"]))
    with pytest.raises(DataError, match=f"line 3: awe .*{words}"):
        baseline_of([path])


def _file(folder, made):
    path = folder / "b.json"
    path.write_text(made.to_json(), "utf-8")
    return path


def test_several_files_are_one_population(tmp_path):
    raw = population(90)
    paths = [written(tmp_path / f"{i}.parquet", scores(raw[i::3])) for i in range(3)]
    made = baseline_of([*paths[:1], *paths[1:]])
    assert made.rows == 90
    np.testing.assert_allclose(made.mad, Baseline.of(raw, SLUGS, {}).mad, rtol=0, atol=SAME_FIGURE)


def test_a_file_counts_once(tmp_path):
    path = written(tmp_path / "a.parquet", scores(population(5)))
    (tmp_path / "b.parquet").symlink_to(path)
    for places in ([path, path], [path, tmp_path / "b.parquet"], [tmp_path]):
        with pytest.raises(DataError, match="count twice; name each file once"):
            baseline_of(places)


def test_a_folder_is_its_finished_shards(tmp_path):
    raw = population(40)
    for i in range(2):
        written(tmp_path / f"0000{i}.parquet", scores(raw[i::2]))
    assert baseline_of([tmp_path]).rows == 40
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(DataError, match="no finished parquet files"):
        baseline_of([tmp_path])
    (tmp_path / "00001.json").write_text("{}")
    assert baseline_of([tmp_path]).rows == 20


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"checkpoint_hash": "sha256:bb"}, "checkpoint_hash sha256:bb, .* has sha256:aa"),
        ({"checkpoint_hash": ""}, "does not say which checkpoint"),
        ({"precision": "bf16"}, "precision bf16, .* has fp32"),
        ({"means": 0.5}, r"another neutral mean than .* \(amusement: 0.5, 0.25\)"),
    ],
)
def test_what_is_of_another_kind_is_refused(tmp_path, other, words):
    first = written(tmp_path / "a.parquet", scores(population(5)))
    second = written(tmp_path / "b.csv", scores(population(5), **other))
    with pytest.raises(DataError, match=words):
        baseline_of([first, second])


def test_what_is_no_scores_is_refused(tmp_path):
    for name, text in {"a.csv": "key,status\na,ok\n", "a.jsonl": "[]\n", "a.txt": "", "a.parquet": "PAR1"}.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(DataError, match=r"expected|cannot be read"):
            baseline_of([tmp_path / name])
    empty = written(tmp_path / "none.parquet", scores(population(2), bad=(0, 1)))
    with pytest.raises(DataError, match=r"no row of .* has scores"):
        baseline_of([empty])
    path = written(tmp_path / "b.parquet", scores(population(3)))
    table = pq.read_table(path)
    at = table.column_names.index("raw_awe")
    pq.write_table(table.set_column(at, table.field(at), pa.array([None, 1.0, 1.0], pa.float32())), path)
    with pytest.raises(DataError, match="missing raw scores in rows that say they are ok"):
        baseline_of([path])


def test_progress_counts_the_rows_of_every_pass(tmp_path):
    seen = []
    baseline_of([written(tmp_path / "a.csv", scores(population(30)))], seen.append)
    assert sum(seen) == 30


def test_metadata_beside_a_text_that_is_none_is_as_if_absent(tmp_path):
    path = written(tmp_path / "a.csv", scores(population(3)))
    (tmp_path / "a.csv.meta.json").write_text(json.dumps([1]))
    with pytest.raises(DataError, match=r"beside texts as a\.csv\.meta\.json"):
        baseline_of([path])
