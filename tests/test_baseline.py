"""z, percentiles and rankings against a baseline; its file; what is refused."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import emonet_fast as ef
from emonet_fast import taxonomy
from emonet_fast.baseline import FLOOR, PROBABILITIES
from emonet_fast.errors import DataError, OptionError
from emonet_fast.reliability import Agreement, record, reliability
from emonet_fast.scores import Scores

from .population.made import FREQUENT, METADATA, SLUGS, population, scores
from .tolerances import SAME_FIGURE


def firsts(rows: Scores, kind: str) -> Counter[str]:
    return Counter(top[0][0] for top in rows.top(1, kind))


def test_ranked_by_z_every_head_comes_first_somewhere():
    """The bar: raw, three heads take 85% of the first places; against the population, every head has some."""
    rows = scores(population(4000))
    plain = firsts(rows, "softmax")
    assert sum(plain[s] for s in FREQUENT) >= 0.85 * 4000
    assert sum(plain[s] for s in FREQUENT) < 0.9 * 4000
    assert len(plain) <= 15
    ranked = firsts(rows.against(rows.as_baseline()), "z")
    assert set(ranked) == set(SLUGS)
    assert sum(n for _, n in ranked.most_common(3)) < 0.25 * 4000


def test_z_is_value_less_median_over_the_spread():
    rows = scores(population(501))
    against = rows.against(rows.as_baseline())
    i = SLUGS.index("awe")
    values = rows.raw[:, i].astype(np.float64)
    middle = np.median(values)
    expected = (values - middle) / (1.4826 * np.median(np.abs(values - middle)))
    np.testing.assert_allclose(against.z[:, i], expected, rtol=0, atol=SAME_FIGURE)
    # The same from mean-subtracted scores.
    own = rows.score[:, i]
    same = (own - np.median(own)) / (1.4826 * np.median(np.abs(own - np.median(own))))
    np.testing.assert_allclose(against.z[:, i], same, rtol=0, atol=1e-9)  # the float64 mean moves last bits


def test_a_head_that_hardly_moves_has_its_groups_floor():
    base = scores(population(801, frozen=("sourness",))).as_baseline()
    group = [i for i, d in enumerate(taxonomy.EMOTIONS) if d.group == "Physical and Exhaustive States"]
    usual = np.median(1.4826 * base.mad[group])
    at = SLUGS.index("sourness")
    assert 1.4826 * base.mad[at] < 0.1 * usual
    assert base.spread[at] == FLOOR * usual
    assert base.spread[SLUGS.index("pain")] == 1.4826 * base.mad[SLUGS.index("pain")]


def test_where_a_group_never_moves_there_is_no_z():
    raw = population(9)
    raw[:, [SLUGS.index("concentration"), SLUGS.index("confusion")]] = 1.5
    rows = scores(raw)
    against = rows.against(rows.as_baseline())
    assert np.isnan(against.z[:, SLUGS.index("confusion")]).all()
    assert np.isfinite(against.z[:, SLUGS.index("awe")]).all()
    assert all(len(top) == 38 for top in against.top(40))
    assert against.to_arrow().column("z_confusion").null_count == 9


def test_percentiles():
    raw = np.arange(201, dtype=np.float32)[:, None] / 100
    base = ef.Baseline.of(raw, ["awe"], METADATA)
    came = base.percentile(np.array([[-1.0], [0.0], [0.5], [1.234], [2.0], [9.0], [np.nan]], np.float32))[:, 0]
    np.testing.assert_allclose(came, [0, 0, 25, 61.7, 100, 100, np.nan], rtol=0, atol=1e-5)  # 1.234 is a float32
    ties = ef.Baseline.of(np.float32([[0]] * 50 + [[1]] * 50), ["awe"], METADATA)
    np.testing.assert_allclose(ties.percentile(np.float32([[0], [1]]))[:, 0], [24.5, 75.5], rtol=0, atol=1)


def test_columns_come_at_the_end_and_are_null_for_rows_without_scores():
    rows = scores(population(8), bad=(2,))
    table = rows.against(rows.as_baseline()).to_arrow()
    before = rows.to_arrow().column_names
    added = [f"{kind}_{slug}" for kind in ("z", "percentile") for slug in SLUGS]
    assert table.column_names == [*before, *added]
    assert table.column("z_awe").null_count == table.column("percentile_awe").null_count == 1


def test_selected_and_joined_rows_keep_their_baseline():
    rows = scores(population(8))
    against = rows.against(rows.as_baseline())
    joined = Scores.concat([against.select([1]), against.select([0])])
    assert np.array_equal(joined.z, against.z[[1, 0]])
    with pytest.raises(OptionError, match="different baselines"):
        Scores.concat([against, rows])


def test_another_checkpoint_is_refused_with_both_names():
    base = scores(population(8)).as_baseline()
    other = scores(population(8), checkpoint_hash="sha256:bb")
    with pytest.raises(OptionError, match=r"checkpoint sha256:bb, and the baseline is of sha256:aa"):
        other.against(base)
    fewer = Scores.from_raw(np.ones((1, 1)), ["awe"], metadata=METADATA)
    with pytest.raises(OptionError, match="other heads"):
        fewer.against(base)


def test_the_name_of_a_file_is_no_baseline():
    with pytest.raises(OptionError, match=r"baseline is 'usual.json'; expected a Baseline, as ef.Baseline.read"):
        scores(population(8)).against("usual.json")


def test_notes_say_what_a_reader_must_know():
    base = scores(population(8)).as_baseline()
    notes = scores(population(8), precision="bf16").against(base).notes
    assert any("8 rows; z and percentiles are rough below 100" in note for note in notes)
    assert any("scored in fp32, these rows in bf16" in note for note in notes)


def test_the_file_gives_every_digit_back(tmp_path):
    base = scores(population(30)).as_baseline()
    path = tmp_path / "b.json"
    path.write_text(base.to_json(), "utf-8")
    again = ef.Baseline.read(path)
    assert again == base
    assert np.array_equal(again.quantiles, base.quantiles)
    assert again.facts == base.facts
    assert json.loads(base.to_json())["probabilities"] == list(PROBABILITIES)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "other"},
        {"version": 2},
        {"rows": 0},
        {"heads": {}},
        {"probabilities": [0, 1]},
        {"metadata": None},
    ],
)
def test_a_damaged_file_is_refused(tmp_path, change):
    facts = json.loads(scores(population(9)).as_baseline().to_json())
    path = tmp_path / "b.json"
    path.write_text(json.dumps(facts | change))
    with pytest.raises(DataError, match=r"b\.json"):
        ef.Baseline.read(path)
    path.write_text("{")
    with pytest.raises(DataError, match="not JSON"):
        ef.Baseline.read(path)
    with pytest.raises(DataError, match="cannot be read"):
        ef.Baseline.read(tmp_path / "missing.json")


def test_an_edited_median_is_refused(tmp_path):
    facts = json.loads(scores(population(9)).as_baseline().to_json())
    facts["heads"]["awe"]["median"] += 0.1
    path = tmp_path / "b.json"
    path.write_text(json.dumps(facts))
    with pytest.raises(DataError, match="figures that no population has"):
        ef.Baseline.read(path)


def test_a_single_row_has_no_deviation(tmp_path):
    rows = scores(population(1))
    base = rows.as_baseline()
    notes = "\n".join(rows.against(base).notes)
    assert "the baseline has 1 row; z and percentiles are rough" in notes
    assert "all rows of the baseline are alike, so there is no z" in notes
    assert json.loads(base.to_json())["heads"]["awe"]["deviation"] is None
    assert np.isnan(base.deviation).all()
    with pytest.raises(OptionError, match="at least one row"):
        scores(population(1), bad=(0,)).as_baseline()


def test_reliability_is_that_of_the_experts():
    known = reliability()
    assert list(known) == SLUGS
    counts = Counter(one.agreement for one in known.values())
    assert counts == {Agreement.AGREE: 5, Agreement.SOMEWHAT: 24, Agreement.NOT: 11}
    assert known["elation"].alpha == 0.5842
    assert known["jealousy_envy"].small_spearman is None
    assert known["thankfulness_gratitude"].agreement is Agreement.AGREE
    assert known["interest"].text.startswith("experts do not agree on this: alpha -0.08")
    assert "emonet-face-hq" in json.loads(record())["source"]


def test_rankings_leave_out_what_experts_do_not_agree_on():
    rows = scores(population(50))
    slugs, table = rows.ranking(min_reliability=0.3)
    assert set(slugs) == {"elation", "amusement", "anger", "astonishment_surprise", "thankfulness_gratitude"}
    assert table.shape == (50, 5)
    assert np.array_equal(table[:, 1], rows.softmax[:, SLUGS.index(slugs[1])])
    assert len(rows.top(40, "raw", 0.1)[0]) == 29
    with pytest.raises(OptionError, match=r"alpha is 0.58 at most"):
        rows.ranking(min_reliability=0.6)
    with pytest.raises(OptionError, match=r"no 'z'; expected one of raw, score, softmax"):
        rows.ranking("z")
    assert replace(rows, softmax=rows.softmax).value_kind == "softmax"
