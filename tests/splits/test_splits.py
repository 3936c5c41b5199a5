"""Near-duplicates against the whole matrix of cosines, and splits against what must stay together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from emonet_fast.errors import DataError, OptionError
from emonet_fast.splits import alike, near_duplicates, similar_pairs, split_rows

WIDTH = 48


def embeddings(seed, rows, width=WIDTH, spread=2.0, copies=0.2):
    """Rows about one strong direction, as of an encoder, some of which are copies of others with a little noise."""
    rng = np.random.default_rng(seed)
    strength = 1.0 / np.arange(1, width + 1)
    values = strength[:1] + spread * rng.standard_normal((rows, width)) * strength
    again = rng.choice(rows, int(copies * rows), replace=False)
    values[again] = (
        values[rng.integers(0, rows, len(again))] + 0.01 * rng.standard_normal((len(again), width)) * strength
    )
    return (values * rng.uniform(0.5, 20, (rows, 1))).astype(np.float32)


def cosines(values, others=None):
    a, b = (v.astype(np.float64) / np.linalg.norm(v.astype(np.float64), axis=1, keepdims=True)
            for v in (values, values if others is None else others))  # fmt: skip
    return a @ b.T


def pairs_of(blocks):
    return {(int(i), int(j)): float(c) for b in blocks for i, j, c in zip(b.left, b.right, b.cosine, strict=True)}


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks and samples so small that a few hundred rows go through every branch."""
    monkeypatch.setattr(alike, "_ROWS", 64)
    monkeypatch.setattr(alike, "_SAMPLE", 50)
    monkeypatch.setattr(alike, "_PAIRS", 7)
    monkeypatch.setattr(alike, "_LOOK", 0)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("threshold", [0.5, 0.95, 0.999])
@pytest.mark.parametrize("crossed", [False, True])
def test_every_pair_is_found_as_in_the_whole_matrix(threshold, crossed):
    values, others = embeddings(1, 300), embeddings(2, 170) if crossed else None
    if crossed:
        others[:40] = values[100:140] * 3
    want = cosines(values, others)
    # 1e-6: how exact the cosines of float32 are said to be
    clear = np.abs(want - threshold) > 1e-6
    wanted = np.argwhere((want >= threshold) & clear & (True if crossed else np.triu(np.ones_like(want, bool), 1)))
    found = pairs_of(similar_pairs(values, threshold, others))
    assert {tuple(p) for p in wanted} == {p for p in found if clear[p]}
    assert all(found[p] == pytest.approx(want[p], abs=1e-6) for p in found)


@pytest.mark.usefixtures("small_blocks")
def test_a_sample_chooses_few_directions_where_that_pays_and_none_where_it_does_not():
    units = alike._Units(embeddings(3, 300, copies=0.0))
    chosen = alike._directions(units, units, 0.999)
    assert chosen is not None
    assert len(chosen) < WIDTH
    assert chosen @ chosen.T == pytest.approx(np.eye(len(chosen)), abs=1e-5)  # float32 rounding of a basis
    flat = alike._Units(np.random.default_rng(0).standard_normal((300, WIDTH)).astype(np.float32))
    assert alike._directions(flat, flat, 0.01) is None


@pytest.mark.usefixtures("small_blocks")
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.9, 0.98, 0.9999]))
@settings(max_examples=15, deadline=None)
def test_groups_are_the_connected_parts(seed, threshold):
    csgraph = pytest.importorskip("scipy.sparse.csgraph", reason="scipy (extra eval) is not installed")
    values = embeddings(seed, 150)
    want = cosines(values)
    if (np.abs(want - threshold) < 1e-6).any():
        return
    _, labels = csgraph.connected_components(want >= threshold, directed=False)
    firsts = np.array([np.flatnonzero(labels == one)[0] for one in labels])
    assert near_duplicates(values, threshold).tolist() == firsts.tolist()


@given(arrays(np.intp, st.integers(1, 40).map(lambda n: (2, n)), elements=st.integers(0, 19)))
def test_join_is_union_find(pairs):
    groups = np.arange(20)
    alike.join(groups, *pairs)
    want = list(range(20))
    for a, b in pairs.T:
        one, other = sorted((want[a], want[b]))
        want = [one if w == other else w for w in want]
    assert groups.tolist() == want


labels = st.lists(st.sampled_from(["a", "b", "c", None, "", float("nan")]), min_size=12, max_size=12)


@given(labels, labels, st.integers(0, 9), st.sampled_from([0.1, 0.3, 0.7]), st.sampled_from([None, 2, 3]))
def test_what_belongs_together_is_in_one_part(people, sources, seed, held_out, folds):
    values = np.eye(12, dtype=np.float32)
    values[5] = values[9] + 1e-3
    groups = {"person": people, "source": sources}
    try:
        split = split_rows(values, groups, held_out, folds, seed)
    except DataError as error:
        assert " of one person" in str(error)  # noqa: PT017 - the labels tell whether it comes
        return
    for names in (people, sources):
        for name in "abc":
            assert len({int(split.part[i]) for i in range(12) if names[i] == name}) <= 1
    assert split.part[5] == split.part[9]
    assert set(split.part.tolist()) == set(range(folds or 2))
    again = split_rows(values, groups, held_out, folds, seed)
    assert again.part.tolist() == split.part.tolist()
    largest = split.facts["rows of the largest cluster"]
    if folds:
        counts = np.bincount(split.part)
        assert counts.max() - counts.min() <= largest
    elif all(n > held_out * 12 for n in np.unique(split.cluster, return_counts=True)[1]):
        assert len(set(split.cluster[split.held_out].tolist())) == 1
    else:
        assert 0 < split.held_out.sum() <= held_out * 12


def test_the_facts_count_rows_and_clusters():
    split = split_rows(np.eye(6, dtype=np.float32)[[0, 0, 1, 2, 3, 4]], {"person": [1, 2, 2, None, None, 3]}, 0.5)
    assert dict(split.facts) == {
        "rows": 6,
        "rows with a near-duplicate": 2,
        "rows that share person": 2,
        "clusters": 4,
        "rows of the largest cluster": 3,
        "rows, training": int((split.part == 0).sum()),
        "rows, held out": int((split.part == 1).sum()),
    }
    assert split.cluster.tolist() == [0, 0, 0, 3, 4, 5]


def test_another_seed_is_another_split():
    parts = {tuple(split_rows(None, {"person": range(50)}, seed=seed).part.tolist()) for seed in range(5)}
    assert len(parts) == 5
    assert {sum(p) for p in parts} == {5}


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: split_rows(None, {}), DataError, "some"),
        (lambda: split_rows(np.eye(3), {"person": [1, 2]}), DataError, "as many of each"),
        (lambda: split_rows(np.eye(3), {"person": [1, 1, 1]}), DataError, "1 cluster "),
        (lambda: split_rows(np.empty((0, 4)), {}), DataError, "0 clusters"),
        (lambda: split_rows(np.eye(3), {}, folds=4), DataError, "at least 4"),
        (lambda: split_rows(np.eye(3), {}, folds=1), OptionError, "folds"),
        (lambda: split_rows(np.eye(3), {}, held_out=1.0), OptionError, "held_out"),
        (lambda: split_rows(np.eye(3), {}, threshold=1.5), OptionError, "threshold"),
        (lambda: near_duplicates(np.array([[1.0, 0.0], [np.nan, 0.0]])), DataError, "row 1"),
        (lambda: near_duplicates(np.zeros((2, 2))), DataError, "2 of 2"),
        (lambda: near_duplicates(np.zeros(3)), DataError, "shape"),
        (lambda: list(similar_pairs(np.eye(3), 0.9, np.eye(4))), DataError, "one encoder"),
    ],
)
def test_bad_input_is_named(call, error, text):
    with pytest.raises(error, match=text):
        call()
