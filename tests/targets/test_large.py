"""Labels in linear time: the matrix, and sums over cells, say what pandas' groups say."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.errors import DataError
from emonet_fast.evaluate.predictions import SLUGS
from emonet_fast.sources.keys import Names
from emonet_fast.targets import Reading, join, read_targets
from emonet_fast.targets import tables as labels_in_tables
from emonet_fast.targets.opened import read_table
from emonet_fast.targets.rows import LabelMatrix, LabelRows

CELL = st.tuples(st.integers(0, 4), st.sampled_from("xyz"), st.sampled_from(["awe", "pride", "mine"]))
COMBINE = st.sampled_from(["mean", "median", "share"])
VALUE = st.one_of(st.none(), st.integers(0, 7), st.floats(0, 7, width=32))
POOL = pa.proxy_memory_pool(pa.default_memory_pool())  # must live longer than what it holds


def of_pandas(frame, combine):
    """(values, means, counts, spread) by picture and name, one label of each annotator."""
    each = frame.dropna(subset="value").astype({"value": float})
    if combine == "share":
        each["value"] = (each["value"] > 0).astype(float)
    each = each.groupby(["key", "annotator", "emotion"])["value"].mean().reset_index()
    groups = each.groupby(["key", "emotion"])["value"]
    middle = groups.median() if combine == "median" else groups.mean()
    return middle, groups.mean(), groups.count(), groups.std(ddof=0)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(CELL, VALUE), min_size=1, max_size=60),
    st.sampled_from(["mean", "median", "share"]),
    st.booleans(),
)
def test_annotators_are_combined_as_by_pandas(labels, combine, wide):
    frame = pd.DataFrame(
        [(f"p{k}", a, n, v) for (k, a, n), v in labels], columns=["key", "annotator", "emotion", "value"]
    )
    frame["value"] = frame["value"].astype(float)
    table = frame
    if wide:  # a row for each label, with the others' cells empty
        table = frame[["key", "annotator"]].copy()
        for name in frame["emotion"].unique():
            table[name] = frame["value"].where(frame["emotion"] == name)
    how = Reading(combine=combine, labels=tuple(frame["emotion"].unique()) if wide else (), scale=(0, 7))
    if frame["value"].isna().all():
        with pytest.raises(DataError, match="has no labels"):
            read_targets(table, how)
        return
    if set(frame["value"].dropna()) <= {0, 1}:
        how = replace(how, scale=None)  # yes and no
    targets = read_targets(table, how)
    middle, means, counts, spread = of_pandas(frame, combine)
    for (key, name), expected in middle.items():
        at = targets.keys.index(key), targets.names.index(name)
        assert targets.values[at] == pytest.approx(expected, abs=1e-6)  # float32 of 0..7
        tie = means[key, name] == 0.5 and counts[key, name] > 1 and targets.scales[name] == (0, 1)
        weight = counts[key, name] / counts.mean() * (0.5 if tie else 1)
        assert targets.weights[at] == pytest.approx(weight, rel=1e-6)
        if targets.annotators is not None:
            assert targets.annotators.counts[at] == counts[key, name]
            assert targets.annotators.spread[at] == pytest.approx(spread[key, name], abs=1e-6)
    assert np.isfinite(targets.values).sum() == len(middle)
    assert (targets.weights > 0).sum() == len(middle)
    assert (targets.annotators is None) == (counts.max() == 1)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=30), COMBINE)
def test_one_row_a_picture_is_read_as_one_label_a_row_is(rows, combine):
    """The matrix and the list are two ways to the same labels, to the last bit."""
    frame = pd.DataFrame(rows, columns=["awe", "pride"], dtype=float)
    frame.insert(0, "key", [f"p{i}" for i in range(len(frame))])
    long = frame.melt("key", ["awe", "pride"], "emotion", "value").astype({"value": float})
    how = Reading(combine=combine)
    if frame[["awe", "pride"]].isna().all(axis=None):
        for table in (frame, long):
            with pytest.raises(DataError, match="has no labels"):
                read_targets(table, how)
        return
    wide, listed = read_targets(frame, how), read_targets(long, how)
    assert (wide.keys, wide.names, wide.scales) == (listed.keys, listed.names, listed.scales)
    assert wide.notes == listed.notes
    np.testing.assert_array_equal(wide.values, listed.values)
    np.testing.assert_array_equal(wide.weights, listed.weights)
    assert wide.annotators is None
    assert listed.annotators is None


def test_a_label_outside_the_scale_is_named_the_same_in_both():
    frame = pd.DataFrame({"key": ["a", "b", "c"], "awe": [1.0, 9.0, 8.0]})
    long = frame.melt("key", ["awe"], "emotion", "value")
    said = []
    for table in (frame, long):
        with pytest.raises(DataError, match=r"2 labels of awe outside 0\.\.7, such as 9 of b") as caught:
            read_targets(table)
        said.append(str(caught.value))
    assert said[0] == said[1]


def test_one_row_a_picture_never_goes_long():
    frame = pd.DataFrame({"key": ["a", "b"], "awe": [1.0, 2.0]})
    assert isinstance(labels_in_tables.table_rows(pa.table(frame), "t", Reading()), LabelMatrix)
    twice = pd.concat([frame, frame])
    assert isinstance(labels_in_tables.table_rows(pa.table(twice), "t", Reading()), LabelRows)


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1", " 2.5 ", ""], [1, 2.5, np.nan]),
        (["yes", "no", ""], [1, 0, np.nan]),
        (["1", "n/a", "3"], [1, np.nan, 3]),
        (["+1", "1e0", "nan"], [1, 1, np.nan]),
    ],
)
def test_cells_of_a_csv_are_numbers_or_words(tmp_path, cells, expected):
    """A column that is not numbers alone is read as texts, with the others."""
    path = tmp_path / "t.csv"
    path.write_text("key,person,awe\n" + "".join(f"00{i},07,{cell}\n" for i, cell in enumerate(cells)), "utf-8")
    targets = read_targets(path)
    np.testing.assert_array_equal(targets.values[:, 0], np.array(expected, np.float32))
    assert targets.keys == ("000", "001", "002")
    assert targets.groups == {"person": ("07",) * 3}


def test_columns_of_names_and_classes_stay_texts(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("key,valence,age\na,01,2\nb,02,10\n", "utf-8")
    targets = read_targets(path, Reading(labels=("age",), groups=("valence",), classes=True))
    assert targets.names == ("10", "2")
    assert read_targets(path, Reading(labels=("age",), groups=("valence",))).groups == {"valence": ("01", "02")}


def test_equal_keys_are_joined_without_tails():
    names = Names([f"p/{i}.jpg" for i in range(100)])
    assert [names.find(f"p/{i}.jpg") for i in range(100)] == [f"p/{i}.jpg" for i in range(100)]
    assert "_sorted" not in vars(names)
    assert names.find("data/p/7.jpg") == "p/7.jpg"
    targets = read_targets(pd.DataFrame({"key": ["a.jpg", "b.jpg"], "awe": [1, 2]}))
    assert join(targets, ["b.jpg", "x/a.jpg"]).rows.tolist() == [1, 0]


def test_a_table_is_read_column_by_column(tmp_path):
    """As Arrow counts it: all columns at once took 1.8 times the table."""
    numbers = np.random.default_rng(0).integers(0, 8, (20_000, 40)).astype(float)
    table = pa.table({"key": [f"{i}.jpg" for i in range(len(numbers))]} | dict(zip(SLUGS, numbers.T, strict=True)))
    pq.write_table(table, tmp_path / "t.parquet")
    before = pa.default_memory_pool()
    pa.set_memory_pool(POOL)
    try:
        found = read_table(tmp_path / "t.parquet", Reading())
    finally:
        pa.set_memory_pool(before)
    assert found.equals(table)
    assert POOL.max_memory() < 1.3 * table.nbytes
