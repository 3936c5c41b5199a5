"""Score arithmetic against an independent computation in Python's own floats, and the table that users get."""

import itertools
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from emonet_fast import taxonomy
from emonet_fast.arithmetic import scaling_note, softmax
from emonet_fast.errors import OptionError
from emonet_fast.records import Status
from emonet_fast.scores import NO_BASELINE, Scores, distinct_notes
from emonet_fast.text import utf8_text

ALL = [d.name for d in taxonomy.DIMENSIONS]
FORTY = [d.name for d in taxonomy.EMOTIONS]
SLUGS = tuple(d.slug for d in taxonomy.DIMENSIONS)


def make(n=3, names=ALL, means=True, seed=0, **more):
    rng = np.random.default_rng(seed)
    raw = rng.gamma(0.5, 1.5, size=(n, len(names))).astype(np.float32)
    return Scores.from_raw(raw, names, {m: 0.01 * i for i, m in enumerate(names)} if means else None, **more)


finite_rows = hnp.arrays(
    np.float32, st.tuples(st.integers(0, 4), st.just(44)), elements=st.floats(-19, 19, width=32, allow_subnormal=False)
)


class TestArithmetic:
    @given(finite_rows, st.lists(st.floats(-5, 5), min_size=44, max_size=44))
    @settings(max_examples=50, deadline=None)
    def test_equals_an_independent_float64_computation(self, raw, means):
        scores = Scores.from_raw(raw, ALL, dict(zip(ALL, means, strict=True)))
        for r in range(len(raw)):
            subtracted = [float(raw[r, c]) - means[c] for c in range(44)]
            assert scores.score[r].tolist() == subtracted  # one IEEE subtraction each: equal to the last bit
            exact = [Decimal(v).exp() for v in subtracted[:40]]
            for mine, e in zip(scores.softmax[r], exact, strict=True):
                assert float(mine) == pytest.approx(float(e / sum(exact)), rel=1e-13)
            assert math.fsum(scores.softmax[r]) == pytest.approx(1.0, abs=1e-14)

    def test_softmax_leaves_the_extra_dimensions_out(self):
        base, other = np.ones((1, 44), np.float32), np.ones((1, 44), np.float32)
        other[:, 40:] = 6.0
        zero = dict.fromkeys(ALL, 0.0)
        assert np.array_equal(Scores.from_raw(base, ALL, zero).softmax, Scores.from_raw(other, ALL, zero).softmax)
        assert Scores.from_raw(base, ALL, zero).softmax[0].tolist() == pytest.approx([1 / 40] * 40)

    def test_softmax_does_not_overflow_and_rows_do_not_touch_each_other(self):
        values = np.array([[1e4, 0.0], [np.nan, 0.0], [np.inf, 0.0], [-1e4, -1e4]])
        out = softmax(values)
        assert out[0].tolist() == [1.0, 0.0]
        assert np.isnan(out[1:3]).all()
        assert out[3].tolist() == [0.5, 0.5]
        assert softmax(np.empty((2, 0))).shape == (2, 0)
        assert softmax(np.empty((0, 40))).shape == (0, 40)

    def test_a_rows_softmax_is_the_same_to_the_last_bit_alone_and_among_others(self):
        whole = make(300)
        means = {m: 0.01 * i for i, m in enumerate(ALL)}
        for n in (1, 2, 3, 7, 8, 64):
            for start in range(0, 300 - n, 29):
                part = Scores.from_raw(whole.raw[start : start + n], ALL, means)
                assert np.array_equal(part.softmax, whole.softmax[start : start + n])

    @given(st.permutations(range(44)), st.sampled_from(["name", "slug", "file_stem", "file"]))
    @settings(max_examples=25, deadline=None)
    def test_any_spelling_and_order_of_heads_gives_the_same_scores(self, order, spelling):
        def spelt(d):
            return d.file_stem + ".pth" if spelling == "file" else getattr(d, spelling)

        plain = make()
        names = [spelt(taxonomy.DIMENSIONS[i]) for i in order]
        means = {spelt(d): 0.01 * i for i, d in enumerate(taxonomy.DIMENSIONS)}
        mixed = Scores.from_raw(plain.raw[:, list(order)], names, means)
        assert mixed.names == tuple(SLUGS)
        for name in ("softmax", "raw", "score"):
            assert np.array_equal(getattr(mixed, name), getattr(plain, name))
        assert mixed.top(3) == plain.top(3)

    def test_names_and_softmax_begin_with_the_same_emotions_in_the_same_order(self):
        """Whoever zips `names` with a row of `softmax` gets each emotion's own value."""
        scores = make(names=ALL[::-1])
        assert scores.emotions == scores.names[:40] == tuple(SLUGS[:40])
        exact = np.exp(scores.score[:, :40])
        assert np.allclose(scores.softmax, exact / exact.sum(axis=1, keepdims=True), rtol=1e-13)
        strongest = max(zip(scores.emotions, scores.softmax[0], strict=True), key=lambda pair: pair[1])
        assert scores.top(1)[0] == [strongest]

    def test_an_emotion_without_a_head_is_named(self):
        assert make(names=[n for n in ALL if n not in ("Pride", "Sexual Lust")]).notes == (
            "no head for 2 of the 40 emotions (pride, sexual_lust): no softmax",
        )
        (note,) = make(names=ALL[:7]).notes
        assert note.startswith("no head for 33 of the 40 emotions (hope_enthusiasm_optimism, triumph, ")
        assert note.endswith("relief, longing and 23 more): no softmax")
        assert make(names=ALL[:40]).notes == ()

    @pytest.mark.parametrize("count", [7, 40, 43, 44])
    def test_softmax_needs_all_forty_emotions(self, count):
        scores = make(names=ALL[:count])
        assert scores.has_softmax == (count >= 40)
        assert np.isfinite(scores.softmax).all() == (count >= 40)
        assert scores.value_kind == ("softmax" if count >= 40 else "score")
        assert scores.score.shape == (3, count)

    def test_heads_outside_the_taxonomy_are_scored_and_do_not_enter_the_softmax(self):
        scores = make(names=[*ALL, "model_age_best.pth"])
        assert scores.names[-1] == "age"
        assert np.array_equal(scores.softmax, make().softmax) is False  # other random numbers
        assert np.allclose(scores.softmax.sum(axis=1), 1.0)
        assert "raw_age" in scores.columns()
        assert "softmax_age" not in scores.columns()


class TestWithoutMeans:
    def test_only_raw_scores_and_a_note(self):
        scores = make(means=False)
        assert scores.notes == (NO_BASELINE,)
        assert (scores.has_score, scores.has_softmax, scores.value_kind) == (False, False, "raw")
        assert np.isnan(scores.score).all()
        assert np.isnan(scores.softmax).all()
        assert list(scores.columns()) == [
            "key",
            "status",
            "reason",
            *(f"raw_{s}" for s in SLUGS),
            "file_name",
            "dominant_emotion",
        ]

    def test_top_is_by_raw_score_among_emotions_only(self):
        raw = np.zeros((1, 44), np.float32)
        raw[0, 5], raw[0, 43] = 2.0, 9.0  # the last is Emotional Vulnerability
        assert Scores.from_raw(raw, ALL).top(1) == [[("affection", 2.0)]]


class TestTop:
    def test_ties_come_in_the_guides_order(self):
        scores = Scores.from_raw(np.ones((1, 44)), ALL[::-1], dict.fromkeys(ALL, 0.5))
        assert [s for s, _ in scores.top(4)[0]] == ["amusement", "elation", "pleasure_ecstasy", "contentment"]

    @given(finite_rows, st.integers(0, 50))
    @settings(max_examples=30, deadline=None)
    def test_is_sorted_and_takes_its_values_from_the_softmax(self, raw, k):
        scores = Scores.from_raw(raw, ALL, dict.fromkeys(ALL, 0.25))
        for row, probabilities in zip(scores.top(k), scores.softmax, strict=True):
            assert len(row) == min(k, 40)
            values = [v for _, v in row]
            assert values == sorted(probabilities.tolist(), reverse=True)[:k]
            assert all(probabilities[SLUGS.index(s)] == v for s, v in row)

    def test_fewer_than_forty_heads_are_ranked_by_score(self):
        scores = Scores.from_raw([[1.0, 3.0]], ["awe", "fear"], {"awe": 0.0, "fear": 2.5})
        assert scores.top(5) == [[("awe", 1.0), ("fear", 0.5)]]

    def test_bad_rows_have_none_and_a_negative_k_is_refused(self):
        scores = make(status=[Status.OK, Status.EMPTY, Status.OK])
        assert [len(r) for r in scores.top(2)] == [2, 0, 2]
        with pytest.raises(OptionError, match="-1"):
            scores.top(-1)


class TestRows:
    def test_rows_that_are_not_finite_fail_and_leave_their_neighbours_alone(self):
        clean = make(4)
        raw = clean.raw.copy()
        raw[1, 3], raw[2, 0] = np.nan, -np.inf
        scores = Scores.from_raw(raw, ALL, {m: 0.01 * i for i, m in enumerate(ALL)})
        assert scores.status == (Status.OK, Status.FAILED, Status.FAILED, Status.OK)
        assert scores.reason[1] == "the engine gave a value that is not finite"
        assert np.isnan(scores.raw[1:3]).all()
        assert np.isnan(scores.softmax[1:3]).all()
        assert np.array_equal(scores.softmax[[0, 3]], clean.softmax[[0, 3]])

    def test_an_ok_status_does_not_hide_a_nan(self):
        raw = np.array([[np.nan], [1.0]])
        scores = Scores.from_raw(raw, ["awe"], status=[Status.OK, Status.OK], reason=["turned upright", ""])
        assert scores.status == (Status.FAILED, Status.OK)
        assert scores.reason[0] == "turned upright; the engine gave a value that is not finite"

    def test_embeddings_that_are_not_finite_fail_their_row(self):
        vectors = np.zeros((2, 3), np.float32)
        vectors[1, 2] = np.inf
        scores = Scores.from_raw(np.ones((2, 1)), ["awe"], embeddings=vectors)
        assert scores.status == (Status.OK, Status.FAILED)
        assert scores.to_arrow()["embedding"].to_pylist() == [[0.0, 0.0, 0.0], None]

    def test_a_bad_status_keeps_its_reason_and_drops_its_numbers(self):
        scores = make(2, status=[Status.TRUNCATED, Status.OK], reason=["ends early", ""])
        assert scores.reason == ("ends early", "")
        assert np.isnan(scores.raw[0]).all()
        assert scores.ok.tolist() == [False, True]

    def test_a_value_beyond_float32_fails_without_a_warning(self):
        assert Scores.from_raw([[1e300]], ["awe"]).status == (Status.FAILED,)

    def test_no_rows_and_no_heads(self):
        empty = make(0)
        assert len(empty) == 0
        assert empty.top(5) == []
        assert empty.to_arrow().num_rows == 0
        assert empty.to_dicts() == []
        assert empty.has_softmax
        assert Scores.from_raw(np.empty((2, 0)), []).top(1) == [[], []]

    def test_the_callers_array_is_not_changed(self):
        raw = np.array([[np.nan, 1.0]], np.float32)
        Scores.from_raw(raw, ["awe", "fear"])
        assert raw[0, 1] == 1.0


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "text"),
        [
            ({"raw": np.ones((2, 3)), "names": ["awe"]}, r"\[N, 1\]"),
            ({"raw": np.ones(3), "names": ["awe"]}, r"\(3,\)"),
            ({"raw": np.ones((1, 2)), "names": ["Awe", "model_awe_best.pth"]}, "twice: .'awe'"),
            ({"raw": np.ones((1, 1)), "names": ["&"]}, "letters or digits"),
            ({"raw": np.ones((1, 2)), "names": ["awe", "fear"], "neutral_means": {"awe": 1}}, "lacks .'fear'"),
            ({"raw": np.ones((1, 1)), "names": ["awe"], "neutral_means": {"awe": math.nan}}, "finite"),
            ({"raw": np.ones((1, 1)), "names": ["awe"], "neutral_means": {"awe": 1, "model_awe_best": 2}}, "twice"),
            ({"raw": np.ones((2, 1)), "names": ["awe"], "keys": ["a"]}, "keys has 1 entries; expected 2"),
            ({"raw": np.ones((2, 1)), "names": ["awe"], "status": [Status.OK] * 3}, "status has 3"),
            ({"raw": np.ones((2, 1)), "names": ["awe"], "reason": []}, "reason has 0"),
            (
                {"raw": np.ones((2, 1)), "names": ["awe"], "embeddings": np.ones((1, 4))},
                r"embeddings has shape \(1, 4\)",
            ),
            ({"raw": np.ones((2, 1)), "names": ["awe"], "embeddings": np.ones(2)}, "embeddings has shape"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, arguments, text):
        with pytest.raises(OptionError, match=text):
            Scores.from_raw(**arguments)

    def test_a_mean_given_twice_alike_and_one_too_many_are_no_error(self):
        scores = Scores.from_raw([[2.0]], ["awe"], {"awe": 0.5, "model_awe_best": 0.5, "fear": 9.0})
        assert scores.score[0, 0] == 1.5


class TestNotes:
    def test_a_likely_scaling_fault_is_reported_with_count_and_worst_value(self):
        raw = np.ones((3, 44), np.float32)
        raw[1, 4], raw[2, 0] = 77.0, -20.5
        (note,) = Scores.from_raw(raw, ALL, dict.fromkeys(ALL, 0.0)).notes
        assert note.startswith("2 of 3 rows have raw scores outside -20..20 (worst 77): likely a scaling fault")

    def test_twenty_itself_is_no_fault(self):
        assert not scaling_note(np.array([[20.0], [-20.0]], np.float32))

    def test_notes_come_once_in_order(self):
        assert make(means=False, notes=["untrained", "untrained"]).notes == ("untrained", NO_BASELINE)

    def test_scaling_notes_of_many_batches_become_one(self):
        batches = [scaling_note(np.full((n, 1), 30.0, np.float32)) for n in (1, 2, 3)]
        (note,) = distinct_notes(n for notes in batches for n in notes)
        assert note.startswith("some rows have raw scores outside -20..20: likely a scaling fault")


class TestTables:
    def test_columns_are_in_the_documented_order(self):
        expected = ["key", "status", "reason"]
        expected += [f"raw_{s}" for s in SLUGS] + [f"score_{s}" for s in SLUGS] + [f"softmax_{s}" for s in SLUGS[:40]]
        expected += ["file_name", "dominant_emotion"]
        assert list(make().columns()) == expected
        assert make().to_arrow().column_names == expected

    def test_arrow_holds_the_same_numbers_and_null_in_bad_rows(self):
        import pyarrow as pa

        vectors = np.arange(12, dtype=np.float32).reshape(3, 4)
        scores = make(status=[Status.OK, Status.EMPTY, Status.OK], embeddings=vectors, metadata={"precision": "fp32"})
        table = scores.to_arrow()
        assert table.schema.metadata == {b"precision": b"fp32"}
        assert table.schema.field("raw_awe").type == pa.float32()
        assert table.schema.field("score_awe").type == table.schema.field("softmax_awe").type == pa.float64()
        assert table.schema.field("embedding").type.list_size == 4
        assert table["embedding"].to_pylist() == [[0, 1, 2, 3], None, [8, 9, 10, 11]]
        for name, values in scores.columns().items():
            column = table[name].to_pylist()
            if isinstance(values, np.ndarray):
                assert column == [float(values[0]), None, float(values[2])]
            else:
                assert column == list(values)

    def test_dicts_have_none_and_never_nan(self):
        first, second = make(2, status=[Status.OK, Status.UNREADABLE]).to_dicts()
        assert second["raw_awe"] is None
        assert second["status"] == "unreadable"
        assert not any(isinstance(v, float) and math.isnan(v) for row in (first, second) for v in row.values())

    def test_pandas_has_the_same_table(self):
        pytest.importorskip("pandas")
        frame = make(keys=["a", "b", "c"]).to_pandas()
        assert frame.shape == (3, 5 + 44 + 44 + 40)
        assert frame["key"].tolist() == ["a", "b", "c"]
        assert frame["raw_awe"].dtype == np.float32
        assert np.array_equal(frame["softmax_awe"], make().softmax[:, SLUGS.index("awe")])

    def test_keys_that_are_not_utf8_are_written_and_stay_as_they_are_in_memory(self):
        scores = make(1, keys=["caf\udce9\ud83d.jpg"])
        assert scores.keys == ("caf\udce9\ud83d.jpg",)
        assert scores.to_arrow()["key"].to_pylist() == [r"caf\xe9\ud83d.jpg"]
        assert utf8_text("日本 é \\ 😀") == "日本 é \\ 😀"


class TestConcat:
    @given(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    @settings(max_examples=20, deadline=None)
    def test_of_slices_is_the_whole(self, sizes):
        whole = make(sum(sizes), keys=[f"k{i}" for i in range(sum(sizes))])
        means = {m: 0.01 * i for i, m in enumerate(ALL)}
        ends = np.cumsum([0, *sizes])
        parts = [Scores.from_raw(whole.raw[a:b], ALL, means, keys=whole.keys[a:b]) for a, b in itertools.pairwise(ends)]
        joined = Scores.concat(parts)
        for attribute in ("raw", "score", "softmax"):
            assert np.array_equal(getattr(joined, attribute), getattr(whole, attribute))
        assert (joined.keys, joined.status, joined.names) == (whole.keys, whole.status, whole.names)

    def test_mixed_embeddings_are_refused_unless_the_rows_without_have_no_scores(self):
        vectors = np.ones((3, 4), np.float32)
        with pytest.raises(OptionError, match="embeddings"):
            Scores.concat([make(embeddings=vectors), make()])
        joined = Scores.concat([make(embeddings=vectors), make(2, status=[Status.EMPTY] * 2), make(0)])
        assert joined.embeddings.shape == (5, 4)
        assert np.isnan(joined.embeddings[3:]).all()
        assert Scores.concat([make(), make()]).embeddings is None

    def test_other_heads_another_baseline_or_nothing_are_refused(self):
        for parts in ([], [make(), make(names=FORTY)], [make(), make(means=False)]):
            with pytest.raises(OptionError, match=r"Scores\.concat"):
                Scores.concat(parts)

    def test_metadata_that_differs_is_kept_and_scaling_is_counted_anew(self):
        means = dict.fromkeys(FORTY, 0.0)
        one = Scores.from_raw([[30.0] * 40], FORTY, means, metadata={"backend": "cpu", "checkpoint": "x"}, notes=["n"])
        two = Scores.from_raw([[-40.0] * 40], FORTY, means, metadata={"backend": "cuda", "checkpoint": "x"})
        joined = Scores.concat([one, two])
        assert joined.metadata == {"backend": "cpu; cuda", "checkpoint": "x"}
        assert joined.notes[0] == "n"
        assert joined.notes[-1].startswith("2 of 2 rows")
        assert len(joined.notes) == 2
