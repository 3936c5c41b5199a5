"""Labels from tables and data sets: what the numbers become, how they are joined, and what is refused."""

import krippendorff
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.datasets import Kind, open_dataset
from emonet_fast.errors import DataError, OptionError
from emonet_fast.evaluate.predictions import SLUGS
from emonet_fast.targets import Reading, agreement, join, read_targets
from emonet_fast.text import listed_have

from ..conftest import SHARED_DATA
from ..evaluate.made import dataset, hq_csv, hq_label, ratings

NAN = float("nan")


def write(path, text):
    path.write_text(text, "utf-8")
    return path


def same(values, expected):
    np.testing.assert_array_equal(values, np.array(expected, np.float32))


def test_a_wide_table_has_a_column_for_each_head_in_any_spelling(tmp_path):
    path = write(tmp_path / "w.csv", "key,Jealousy & Envy,model_awe_best,note\na.jpg,7,0.5,x\n0012,,3,y\n")
    targets = read_targets(path)
    assert targets.keys == ("a.jpg", "0012")  # a name of digits stays a name
    assert targets.names == ("awe", "jealousy_envy")
    same(targets.values, [[0.5, 7], [3, NAN]])
    same(targets.weights, [[1, 1], [1, 0]])
    assert targets.scales == {"awe": (0, 7), "jealousy_envy": (0, 7)}
    assert targets.annotators is None
    assert agreement(targets) == {}
    assert "one annotator" in targets.notes[0]
    assert "note" in targets.notes[1]
    assert targets.counts == {"awe": 2, "jealousy_envy": 1}


def test_hopelessness_is_helplessness():
    table = pa.table({"path": ["a", "b"], "emotion": ["Hopelessness", "Helplessness"], "value": [1.0, 5.0]})
    targets = read_targets(table)
    assert targets.names == ("helplessness",)
    same(targets.values, [[1], [5]])


@pytest.mark.parametrize(("combine", "expected"), [("mean", [3, 2]), ("median", [2, 2]), ("share", [2 / 3, 1])])
def test_several_annotators(combine, expected):
    table = pd.DataFrame({"key": list("aaab"), "annotator": list("xyzx"), "awe": [0, 2, 7, 2]})
    targets = read_targets(table, Reading(combine=combine))
    np.testing.assert_allclose(targets.values[:, 0], expected)
    np.testing.assert_allclose(targets.weights[:, 0], [1.5, 0.5])  # 3 and 1 over their mean
    assert targets.annotators.number == 3
    assert targets.annotators.counts.tolist() == [[3], [1]]
    if combine != "share":
        np.testing.assert_allclose(targets.annotators.spread[:, 0], [np.std([0, 2, 7]), 0])


def test_yes_and_no_in_equal_number_weigh_half():
    table = pa.table(
        {"path": list("aabb"), "annotator": list("xyxy"), "emotion": ["Awe"] * 4, "value": [True, False] * 2}
    )
    targets = read_targets(table.set_column(3, "value", pa.array([True, False, True, True])))
    same(targets.values, [[0.5], [1]])
    same(targets.weights, [[0.5], [1]])
    assert targets.scales == {"awe": (0, 1)}
    assert not targets.is_binary("awe")


def test_a_class_becomes_a_head_of_0_and_1():
    table = pd.DataFrame(
        {"file": list("abcd"), "expression": ["happy", "Anger", None, "happy"], "person": list("ppqq")}
    )
    targets = read_targets(table)
    assert targets.names == ("anger", "happy")
    same(targets.values, [[0, 1], [1, 0], [NAN, NAN], [0, 1]])
    assert targets.scales == {"anger": (0, 1), "happy": (0, 1)}
    assert targets.groups == {"person": ("p", "p", "q", "q")}
    assert targets.is_binary("happy")


def test_numbers_may_be_codes_of_classes():
    table = pd.DataFrame({"key": list("abc"), "label": [2, 10, 2], "age": [30, 40, 50]})
    assert read_targets(table).names == ("label",)
    targets = read_targets(table, Reading(labels=("label",), classes=True))
    assert targets.names == ("10", "2")
    same(targets.values, [[0, 1], [1, 0], [0, 1]])


def test_own_names_have_the_scale_of_their_labels():
    table = pd.DataFrame({"key": list("abc"), "Liking": [-2.0, 3, 1], "age": [30, 40, 50]})
    targets = read_targets(table, Reading(labels=("Liking",)))
    assert targets.names == ("liking",)
    assert targets.scales == {"liking": (-2, 3)}
    assert read_targets(table, Reading(labels=("Liking",), scale=(-5, 5))).scales == {"liking": (-5, 5)}
    assert read_targets(table).names == ("age", "liking")


def test_labels_of_one_annotator_are_averaged_before_those_of_others_count():
    table = pd.DataFrame({"key": list("aaa"), "annotator": list("xxy"), "awe": [0, 2, 3]})
    targets = read_targets(table)
    same(targets.values, [[2]])
    assert targets.annotators.counts.tolist() == [[2]]
    assert any("1 label came several times" in note for note in targets.notes)


def test_alpha_is_that_of_krippendorff():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 8, 60)
    votes = np.clip(truth + rng.integers(-2, 3, (4, 60)), 0, 7).astype(float)
    votes[rng.random(votes.shape) < 0.3] = NAN
    who, what = np.nonzero(~np.isnan(votes))
    table = pd.DataFrame({"key": [f"p{i}" for i in what], "annotator": who, "awe": votes[who, what]})
    ((alpha, (low, high)),) = agreement(read_targets(table), 200).values()
    assert alpha == pytest.approx(krippendorff.alpha(votes, level_of_measurement="interval"), abs=1e-12)
    assert low < alpha < high


def test_binary_gives_the_share_of_yes():
    if not SHARED_DATA.is_dir():
        pytest.skip("../shared/data is not beside this checkout")
    targets = read_targets(SHARED_DATA / "binary.csv")
    frame = pd.read_csv(SHARED_DATA / "binary.csv", dtype={"path": str})
    expected = frame.groupby(["path", "emotion"])["value"].mean()
    for key, emotion in (
        ("00000", "Anger"),
        ("00000", "Contentment"),
        ("04217", frame.emotion[frame.path == "04217"].iloc[0]),
    ):
        slug = emotion.lower().replace("hopelessness", "helplessness")
        value = targets.values[targets.keys.index(key), targets.names.index(slug.replace("/", "_").replace(" ", "_"))]
        assert value == pytest.approx(expected[key, emotion])
    assert np.isfinite(targets.values).sum() == len(expected)
    assert targets.annotators.counts.sum() == len(frame)


def test_hq_is_the_mean_or_median_of_the_humans(tmp_path):
    values = np.random.default_rng(0).integers(0, 8, (4, 5, 40)).astype(float)
    path = hq_csv(tmp_path / "hq.csv", ratings(values, [True, True, True, False]))
    targets = read_targets(path, Reading(combine="median"))
    order = [targets.names.index(s) for s in SLUGS]
    same(targets.values[:, order], np.median(values[:3], axis=0))
    assert targets.annotators.number == 3


def test_data_sets(tmp_path):
    label = hq_label({"human-0": np.arange(40) % 8, "human-1": np.arange(40) % 8})
    dataset(tmp_path / "train-0.parquet", [label, label], ["a.png", "b.png"])
    targets = read_targets(tmp_path)
    assert targets.keys == ("train-0.parquet::0", "train-0.parquet::1")
    same(targets.values[1], np.arange(40) % 8)
    binary = tmp_path / "binary" / "train-0.parquet"
    binary.parent.mkdir()
    dataset(binary, ["[{'h': {'Awe': True}}, {'i': {'Awe': False, 'Hopelessness': True}}]"], ["a.png"])
    targets = read_targets(binary)
    assert targets.names == ("awe", "helplessness")
    same(targets.values, [[0.5, 1]])


@pytest.mark.parametrize("cell", ["{'Awe': 6.5, 'Fear': None}", "[{'gemini': {'Awe': 6.5}}]"])
def test_labels_of_big(tmp_path, cell):
    dataset(tmp_path / "train-0.parquet", [cell], ["a.png"])
    targets = read_targets(open_dataset(tmp_path, Kind.BIG))
    assert targets.names == ("awe",)
    same(targets.values, [[6.5]])
    assert targets.scales == {"awe": (0, 7)}


BAD = {
    "no column of pictures": "name,awe\na,1\n",
    "outside 0..7": "key,awe\na,8\n",
    "both numbers and texts (oops)": "key,awe\na,1\nb,oops\n",
    "is infinite": "key,awe\na,inf\n",
    "has no labels": "key,awe\na,\n",
    "has no labels;": "key\na\n",
    "has no key": "key,awe\n,1\n",
    "1 different text, x": "key,label\na,x\n",
    "two persons of a": "key,person,awe\na,p,1\na,q,2\n",
    "gives the same column": "key,jealousy envy,Jealousy & Envy\na,1,2\n",
    "no letter a-z": "key,幸福\na,1\n",
    "cannot be read": "key,awe\na,1,2\n",
    "has 300 letters": f"key,{'x' * 300}\na,1\n",
    "mixes numbers with yes and no": "key,awe,fear\na,1.5,yes\nb,2,no\n",
    "column 'awe' twice": "key,awe,awe\na,1,2\n",
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_refused(tmp_path, fault):
    with pytest.raises(DataError) as error:
        read_targets(write(tmp_path / "bad.csv", BAD[fault]))
    assert fault in str(error.value)


def test_a_text_of_any_length_may_stand_beside_the_labels(tmp_path):
    rows = "".join(f"{name},{i},{'y' * 3_000_000}\n" for i, name in enumerate("abc"))
    assert read_targets(write(tmp_path / "notes.csv", "key,awe,note\n" + rows)).values[:, 0].tolist() == [0, 1, 2]


def test_files_that_are_none(tmp_path):
    for name in ("none.csv", "none", "a/b/c", "x.txt"):
        with pytest.raises(DataError):
            read_targets(tmp_path / name)
    with pytest.raises(OptionError):
        Reading(combine="mode")
    with pytest.raises(OptionError):
        Reading(scale=(1, 1))


def test_keys_join_by_the_tail_of_a_path_where_one_fits():
    table = pd.DataFrame({"key": ["anna/1.jpg", "cleo/1.jpg", "2", "face.jpg::box1"], "awe": [1.0, 2, 3, 4]})
    targets = read_targets(table)
    keys = ["/data/anna/1.jpg", "1.jpg", "x/2.png", "face.jpg::box0", "face.jpg::box1", "5.jpg"]
    joined = join(targets, keys)
    assert joined.rows.tolist() == [0, -1, 2, -1, 3, -1]
    assert [note[:40] for note in joined.notes] == [
        "1 key fits several labelled pictures: '1",
        "2 rows of the embeddings have no label: ",
        "1 labelled picture is not in the embeddi",
    ]
    with pytest.raises(DataError, match="none of the 1 key of"):
        join(targets, ["other.jpg"])


def test_faces_of_a_picture_that_was_labelled_once_have_no_label():
    targets = read_targets(pd.DataFrame({"key": ["a.jpg", "b.jpg"], "awe": [1.0, 2]}))
    assert join(targets, ["a.jpg::box0", "a.jpg::box1", "b.jpg::box0"]).rows.tolist() == [-1, -1, 1]


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from(["awe", "fear"]), st.integers(0, 7)),
        min_size=1,
        max_size=30,
        unique_by=lambda row: row[:3],
    )
)
def test_wide_and_long_tables_say_the_same(rows):
    frame = pd.DataFrame(rows, columns=["key", "annotator", "name", "value"])
    wide = frame.pivot_table(index=["key", "annotator"], columns="name", values="value", aggfunc="first").reset_index()
    long, other = read_targets(frame), read_targets(wide)
    order = [other.keys.index(key) for key in long.keys]
    assert long.names == other.names
    same(long.values, other.values[order])
    same(long.weights, other.weights[order])
    for key, name, votes in ((k, n, g["value"]) for (k, n), g in frame.groupby(["key", "name"])):
        got = long.values[long.keys.index(key), long.names.index(name)]
        assert got == pytest.approx(votes.mean(), rel=1e-6)


def test_notes_of_one_are_in_the_singular(tmp_path):
    (tmp_path / "l.csv").write_text("key,awe,fear,mood\na.jpg,1,,x\na.jpg,2,,x\nb.jpg,,,x\nc.jpg,1,3,x\n")
    notes = read_targets(tmp_path / "l.csv").notes
    assert "not read as labels: 1 other column, mood" in notes
    assert listed_have(["anger"]) == "anger has"
    assert listed_have(["anger", "awe"]) == "anger, awe have"
