"""What two parts share, of made embeddings whose duplicates and people are known."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from emonet_fast.commands.main import cli
from emonet_fast.compare import find_leaks
from emonet_fast.compare.leaks import LeakSide, leaks_between
from emonet_fast.errors import DataError, OptionError

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

WIDTH = 24


def vectors(seed, rows):
    return np.random.default_rng(seed).standard_normal((rows, WIDTH)).astype(np.float32)


def write(path, keys, values, encoder="sha256:one", **more):
    column = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), WIDTH)
    table = pa.table({"key": keys, **more, "embedding": column}).replace_schema_metadata({"encoder_hash": encoder})
    pq.write_table(table, path)
    return path


@pytest.fixture
def parts(tmp_path):
    train, test = vectors(1, 30), vectors(2, 10)
    test[3] = 2 * train[5]
    test[4] = train[5] + 0.02 * vectors(3, 1)[0]
    people = ["ann"] * 4 + ["bo"] * 6 + [None] * 20
    a = write(tmp_path / "train.parquet", [f"a{i}.jpg" for i in range(30)], train, person=people)
    names = ["a7.jpg", *(f"b{i}.jpg" for i in range(1, 10))]
    b = write(tmp_path / "test.parquet", names, test, person=["bo", "cy", "bo", *["dee"] * 6, ""])
    return a, b


def test_duplicates_keys_and_people_are_found(parts):
    result = find_leaks(*parts, by=["person"])
    assert {f.slug: f.value for f in result.figures} == {
        "same_keys": 1, "pairs": 2, "equal": 1, "b_rows": 2, "b_share": 0.2, "a_rows": 1, "person_rows": 2,
    }  # fmt: skip
    assert [(r["A"], r["B"]) for r in result.table("pairs").records()] == [("a5.jpg", "b3.jpg"), ("a5.jpg", "b4.jpg")]
    assert result.table("labels").records() == [{"column": "person", "label": "bo", "rows of A": 6, "rows of B": 2}]
    assert "9 that have one" in result.figure("person_rows").label


def test_only_the_most_similar_pairs_are_kept_and_all_are_counted():
    same = np.repeat(vectors(1, 1), 40, axis=0) + 1e-3 * vectors(2, 40)
    part = LeakSide("x", [str(i) for i in range(40)], same, {})
    found = leaks_between(part, part, 0.9)
    assert (found.pairs, len(found.worst)) == (1600, 1000)
    cosines = [c for _, _, c in found.worst]
    assert cosines == sorted(cosines, reverse=True)
    assert all(i == j for i, j, _ in found.worst[:2])


def test_the_command_says_and_writes_it(parts, tmp_path):
    words = ["evaluate", "leaks", *map(str, parts), "--group-by", "person", "--json", str(tmp_path / "l.json")]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 0, done.output
    assert "Rows of B with a near-duplicate in A" in done.output
    written = json.loads((tmp_path / "l.json").read_text("utf-8"))
    assert written["figures"]["pairs"]["value"] == 2


def test_bad_input_is_named(parts, tmp_path):
    other = write(tmp_path / "other.parquet", ["x"], vectors(4, 1), encoder="sha256:two")
    with pytest.raises(DataError, match="sha256:two"):
        find_leaks(parts[0], other)
    with pytest.raises(DataError, match="camera"):
        find_leaks(*parts, by=["camera"])
    with pytest.raises(OptionError, match="threshold"):
        find_leaks(*parts, threshold=0.0)
    with pytest.raises(OptionError, match=r"train\.parquet is in A and in B"):
        find_leaks(parts[0], parts[0])
    bad = write(tmp_path / "bad.parquet", ["x"], np.full((1, WIDTH), np.nan, np.float32))
    with pytest.raises(DataError, match="embedding"):
        find_leaks(parts[0], bad)
