"""Every figure beside pandas, numpy and scipy: irregular times, rows without scores, several files."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from emonet_fast.errors import DataError, OptionError
from emonet_fast.summaries import spool as spools
from emonet_fast.summaries import summarise
from emonet_fast.summaries.circumplex import COORDINATES
from emonet_fast.summaries.readings import bits
from emonet_fast.summaries.tables import t_quantile

from ..population.made import SLUGS, population
from ..tolerances import SAME_FIGURE
from .made import GROUPS, WORDS, frame, plain, strongest, transitions, weights, write


def same(summary, expected, dimension, by):
    """The figures of a dimension are those of `plain`."""
    rows = summary.figures.to_pandas().query("dimension == @dimension")
    found = {tuple(row[name] for name in by): row for row in rows.to_dict("records")}
    key = lambda labels: tuple("" if pd.isna(one) else str(one) for one in labels)  # noqa: E731
    found = {key(labels): row for labels, row in found.items()}
    assert set(found) == {key(labels) for labels in expected}
    for labels, figures in expected.items():
        for name, value in figures.items():
            got = found[key(labels)][name]
            assert got == pytest.approx(value, rel=SAME_FIGURE, abs=SAME_FIGURE, nan_ok=True), (labels, name)


@st.composite
def videos(draw):
    """Rows of some tracks of two videos, in the order of time, with people and phases of their own."""
    rng = np.random.default_rng(draw(st.integers(0, 1000)))
    parts = []
    for video in range(draw(st.integers(1, 2))):
        n = draw(st.integers(1, 30))
        times = np.cumsum(rng.choice([0.25, 0.5, 1.7, 6.0], n))
        tracks = rng.integers(0, draw(st.integers(1, 3)), n)
        raw = np.round(rng.normal(1, 1, (n, 40)), draw(st.sampled_from([0, 6])))
        bad = np.flatnonzero(rng.random(n) < 0.2)
        phase = np.where(rng.random(n) < 0.5, "rest", "task")
        parts.append(frame(raw, bad=bad, source=f"v{video}.mp4", seconds=times, track=tracks, phase=phase))
    table = pd.concat(parts, ignore_index=True)
    if not (table["status"] == "ok").any():
        table.loc[0, "status"] = "ok"
        table.loc[0, [f"raw_{slug}" for slug in SLUGS]] = 1.0
    return table


@settings(max_examples=12, deadline=None)
@given(
    table=videos(),
    by=st.sampled_from([None, (), ("source",), ("phase",)]),
    max_gap=st.sampled_from([math.inf, 1.0]),
    pieces=st.integers(1, 3),
)
def test_videos_beside_a_plain_implementation(tmp_path_factory, table, by, max_gap, pieces):
    folder = tmp_path_factory.mktemp("videos")
    summary = summarise(write(folder / "v.parquet", table, pieces), by, max_gap=max_gap, above=0.8)
    names = ("source", "track") if by is None else by
    unit = () if by is None else ("source", "track")
    for slug in ("amusement", "jealousy_envy"):
        same(summary, plain(table, names, unit, f"raw_{slug}", 0.8, max_gap=max_gap), slug, names)


def video(n=60):
    rng = np.random.default_rng(5)
    return frame(
        population(n, seed=2),
        bad=(4, 9),
        source=np.repeat(["a.mp4", "b.mp4"], n // 2),
        seconds=np.tile(np.cumsum(rng.choice([0.5, 1.5], n // 2)), 2),
        track=np.tile([0, 1, 0], n // 3),
    )


def test_groups_have_shares_entropy_and_transitions(tmp_path):
    table = video()
    (row,) = summarise(write(tmp_path / "v.parquet", table), []).groups.to_pylist()
    good = table[table["status"] == "ok"]
    pieces = [part for _, part in good.groupby(["source", "track"])]
    weight, names = np.concatenate([weights(p["seconds"].to_numpy()) for p in pieces]), strongest(pd.concat(pieces))
    shares = [weight[names == word].sum() / weight.sum() for word in WORDS]
    assert [row[f"share_{word}"] for word in WORDS] == pytest.approx(shares, abs=SAME_FIGURE)
    assert row["entropy"] == pytest.approx(stats.entropy(shares, base=2), abs=SAME_FIGURE)
    assert row["seconds"] == pytest.approx(weight.sum(), abs=SAME_FIGURE)
    assert (row["rows"], row["left_out"], row["units"]) == (58, 2, 4)
    counts = transitions(good, ("source", "track"))
    assert {(a, b): row[f"{a}_to_{b}"] for a, b in itertools.product(WORDS, WORDS)} == counts
    assert sum(counts.values()) == 58 - 4


def test_entropy_of_one_share_is_zero_without_a_sign():
    assert str(bits(np.eye(7)[:2]).tolist()) == "[0.0, 0.0]"
    assert bits(np.full((1, 8), 1 / 8)).tolist() == [3.0]


def test_entropy_and_derived_pair_by_hand(tmp_path):
    table = frame(population(9))
    figures = summarise(write(tmp_path / "p.parquet", table)).figures.to_pandas().set_index("dimension")
    assert figures.loc["entropy", "mean"] == pytest.approx(
        stats.entropy(table[[f"softmax_{s}" for s in SLUGS]].to_numpy(), base=2, axis=1).mean(), abs=SAME_FIGURE
    )
    powers = np.exp(table[[f"score_{slug}" for slug in COORDINATES]].to_numpy())
    for place, name in enumerate(("valence_derived", "arousal_derived")):
        at = np.array([one[place] for one in COORDINATES.values()])
        expected = ((powers * at).sum(axis=1) / powers.sum(axis=1)).mean()
        assert figures.loc[name, ["mean", "kind"]].tolist() == [pytest.approx(expected, abs=SAME_FIGURE), "derived"]
    # Kings of their corners: a face of anger alone is unpleasant and aroused, one of contentment pleasant and calm.
    raw = np.full((2, 40), -20, np.float32)
    raw[0, SLUGS.index("anger")], raw[1, SLUGS.index("contentment")] = 20, 20
    table = frame(raw, means=0.0, face=["angry", "content"])
    by = summarise(write(tmp_path / "q.parquet", table), ["face"]).figures.to_pandas().set_index(["face", "dimension"])
    pair = ["valence_derived", "arousal_derived"]
    assert by.loc["angry"].loc[pair, "mean"].tolist() == pytest.approx([-0.51, 0.59], abs=1e-6)
    assert by.loc["content"].loc[pair, "mean"].tolist() == pytest.approx([0.68, -0.46], abs=1e-6)


def test_a_checkpoint_with_valence_keeps_its_own(tmp_path):
    table = frame(population(5)).assign(raw_valence=np.arange(5, dtype=np.float32), score_valence=np.arange(5.0))
    names = summarise(write(tmp_path / "p.parquet", table)).figures.to_pandas()["dimension"].tolist()
    assert "valence" in names
    assert "arousal_derived" in names
    assert "valence_derived" not in names


def test_without_neutral_means_there_is_raw_alone(tmp_path):
    files = write(tmp_path / "p.parquet", frame(population(5), means=None))
    summary = summarise(files)
    assert set(summary.figures["kind"].to_pylist()) == {"raw"}
    assert summary.metadata["strongest_by"] == "raw"
    with pytest.raises(OptionError, match="no 'softmax'; expected one of raw"):
        summarise(files, kind="softmax")


@pytest.mark.parametrize("kind", ["score", "softmax", "z"])
def test_other_values_are_the_tables_own(tmp_path, kind):
    table = frame(population(150))
    usual = table[[f"raw_{s}" for s in SLUGS]].astype(np.float64)
    mad = 1.4826 * (usual - usual.median()).abs().median()
    if kind == "z":  # this head's spread is above the floor
        table["z_fear"] = (usual["raw_fear"] - usual["raw_fear"].median()) / mad["raw_fear"]
    files = write(tmp_path / "p.parquet", table)
    summary = summarise(files, kind=kind, above=0.02, baseline="self" if kind == "z" else None)
    same(summary, plain(table, (), (), f"{kind}_fear", 0.02), "fear", ())


def test_z_of_a_group_that_never_moves_is_null(tmp_path):
    raw = population(60)
    still = [i for i, group in enumerate(GROUPS) if group == "Longing & Lust"]
    raw[:, still] = 0.5
    summary = summarise(write(tmp_path / "p.parquet", frame(raw)), kind="z", baseline="self")
    figures = summary.figures.to_pandas().set_index("dimension")
    assert figures.loc["longing", ["mean", "sd", "median", "share_above", "low"]].isna().all()
    assert figures.loc["fear", ["mean", "sd", "median", "share_above", "low"]].notna().all()
    assert summary.groups["share_longing_lust"].to_pylist() == [0.0]


def test_large_groups_have_the_same_quantiles(tmp_path, monkeypatch):
    """Beyond what is looked at in memory, a group's are found digit by digit; small ones in several batches."""
    table = frame(population(400), who=["a"] * 300 + ["b", "c"] * 50)
    files = write(tmp_path / "p.parquet", table)
    expected = summarise(files, ["who"]).figures
    monkeypatch.setattr(spools.GroupSpool.__init__, "__defaults__", (70,))
    assert summarise(files, ["who"]).figures.equals(expected)
    same(summarise(files, ["who"]), plain(table, ("who",), (), "raw_fear", 1), "fear", ("who",))


def test_one_row_and_no_times(tmp_path):
    table = frame(population(1), seconds=[3.0], source=["a.mp4"], track=[0])
    summary = summarise(write(tmp_path / "v.parquet", table))
    row = summary.figures.to_pandas().set_index("dimension").loc["fear"]
    assert row["mean"] == row["median"] == row["time_mean"] == row["unit_mean"] == table["raw_fear"][0]
    assert row[["sd", "slope", "mean_abs_difference", "low", "high"]].isna().all()
    assert summary.groups["seconds"].to_pylist() == [None]
    pictures = summarise(write(tmp_path / "p.parquet", frame(population(4)))).figures.to_pandas()
    assert pictures[["time_mean", "slope", "mean_abs_difference"]].isna().all().all()
    assert pictures["low"].notna().all()


def test_faces_without_a_track_at_one_time_do_not_follow_each_other(tmp_path):
    table = frame(population(4), source="a.mp4", seconds=[0.0, 0.0, 1.0, 1.0], track=pd.array([None] * 4, "Int64"))
    row = summarise(write(tmp_path / "v.parquet", table)).figures.to_pandas().set_index("dimension").loc["fear"]
    fear = table["raw_fear"].to_numpy(np.float64)
    assert row["mean_abs_difference"] == pytest.approx(abs(fear[2] - fear[1]), abs=SAME_FIGURE)
    assert row["time_mean"] == pytest.approx(fear.mean(), abs=SAME_FIGURE)  # all weigh the one gap of a second


def test_times_that_go_back_are_refused(tmp_path):
    table = frame(population(3), source="a.mp4", seconds=[0.0, 2.0, 1.0], track=0)
    with pytest.raises(DataError, match="row at 1 seconds comes after a later one"):
        summarise(write(tmp_path / "v.parquet", table))
    with pytest.raises(DataError, match="comes after a later one"):
        summarise(write(tmp_path / "v.parquet", table.assign(seconds=[0.0, 2.0, 1.0]), pieces=3))
    with pytest.raises(DataError, match="rows with scores have no seconds"):
        summarise(write(tmp_path / "v.parquet", table.assign(seconds=[0.0, np.nan, 1.0])))


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 30, 999, 10_000, 10_001, 10**9])
def test_the_quantile_of_student(freedom):
    # scipy inverts an incomplete beta function, whose own error is some 1e-13 for few degrees of freedom.
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=SAME_FIGURE)


def test_no_student_without_freedom():
    assert math.isnan(t_quantile(0))
    assert math.isnan(t_quantile(-1))
