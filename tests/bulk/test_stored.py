"""Bulk over stored embeddings: planned, resumed, changed files noticed; the rows are those of the pictures' run."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emonet_fast.errors import DataError, OptionError
from emonet_fast.options import FaceOptions
from emonet_fast.ray_scorer import EmoNetScorer

from ..tiny import write_tiny
from .made import rows, run, shards
from .test_ray import ONE_THREAD


@pytest.fixture(scope="module")
def stored(tiny, faces_set, tmp_path_factory):
    """A finished run of 240 rows in 2 shards, with embeddings."""
    folder = tmp_path_factory.mktemp("stored") / "e"
    run(faces_set, tiny, folder, shard_size=120, keep=("emotion",), embeddings="fp32")
    return folder


def values(table):
    left_out = ("source", "row", "embedding")
    return table.select([n for n in table.column_names if n not in left_out and not n.startswith("keep_")])


def test_rows_are_those_of_the_pictures_run_and_missing_shards_are_made_again(stored, tiny, tmp_path):
    before, out = rows(stored), tmp_path / "again"
    summary, _ = run(stored, tiny, out, shard_size=50, keep=("keep_emotion",), embeddings="fp16")
    assert summary.done == summary.shards == 6
    after = rows(out)
    assert values(after).equals(values(before))
    assert after.column("keep_keep_emotion").equals(before.column("keep_emotion"))
    assert after.column("source").to_pylist() == [str(p) for p in shards(stored) for _ in range(120)]
    assert after.column("row").to_pylist() == [*range(120)] * 2
    facts = pq.read_schema(shards(out)[0]).metadata
    was = pq.read_schema(shards(stored)[0]).metadata
    assert facts[b"precision"] == was[b"precision"]
    assert facts[b"embedding_source"].decode() == ", ".join(map(str, shards(stored)))
    lost = shards(out)[1]
    content = lost.read_bytes()
    lost.unlink()
    run(stored, tiny, out, shard_size=50, keep=("keep_emotion",), embeddings="fp16")
    assert lost.read_bytes() == content
    # float16 keeps 11 bits of each number of an embedding.
    third = tmp_path / "third"
    run(out, tiny, third)
    ok = np.array(before.column("status").to_pylist()) == "ok"
    half, full = (np.asarray(t.column("raw_awe"))[ok] for t in (rows(third), before))
    assert 0 < np.abs(half - full).max() < 1e-2 * full.std()


def test_a_file_that_changes_and_a_numpy_file_are_rows_too(tiny, tmp_path):
    vectors = np.random.default_rng(0).normal(size=(30, 48)).astype(np.float32)
    np.save(tmp_path / "a.npy", vectors)
    pq.write_table(pa.table({"embedding": list(vectors)}), tmp_path / "b.parquet")
    out = tmp_path / "out"
    run([tmp_path / "a.npy", tmp_path / "b.parquet"], tiny, out, shard_size=20)
    found = rows(out)
    assert found.column("status").to_pylist() == ["ok"] * 60
    raw = np.asarray(found.column("raw_awe"))
    np.testing.assert_array_equal(raw[:30], raw[30:])
    shards(out)[0].unlink()
    np.save(tmp_path / "a.npy", vectors[:29])
    run([tmp_path / "a.npy", tmp_path / "b.parquet"], tiny, out, shard_size=20)
    assert rows(out).column("status").to_pylist() == ["changed"] * 20 + ["ok"] * 40


def test_heads_of_another_encoder_and_faces_are_refused(stored, tiny, tmp_path):
    other = write_tiny(tmp_path / "other", seed=5)
    with pytest.raises(DataError, match="has embeddings of the encoder sha256:"):
        run(stored, other, tmp_path / "o")
    with pytest.raises(OptionError, match="no pictures to find faces in"):
        run(stored, tiny, tmp_path / "o", faces=FaceOptions(faces="detect"))


def test_ray_scores_a_column_of_embeddings(tiny):
    vectors = np.random.default_rng(0).normal(size=(3, 48)).astype(np.float32)
    scorer = EmoNetScorer(tiny, embedding_column="embedding", embeddings=True, options=ONE_THREAD)
    found = scorer({"embedding": vectors, "id": np.arange(3)})
    assert found["id"].tolist() == [0, 1, 2]
    assert found["status"].tolist() == ["ok"] * 3
    np.testing.assert_array_equal(found["embedding"], vectors)
    cells = np.array([vectors[0].tolist(), None, vectors[2][:5]], dtype=object)
    again = scorer({"embedding": cells})
    assert again["reason"].tolist() == ["", "no embedding in the row", "an embedding of 5 numbers; expected 48"]
    assert again["raw_awe"][0] == found["raw_awe"][0]


def test_a_file_given_again_has_the_keys_that_pictures_have(tiny, tmp_path):
    table, out = tmp_path / "e.parquet", tmp_path / "out"
    vectors = list(np.random.default_rng(0).normal(size=(3, 48)).astype(np.float32))
    pq.write_table(pa.table({"key": ["a.jpg", "t.tar::b.jpg", "c.jpg"], "embedding": vectors}), table)
    run([str(table), str(table)], tiny, out)
    assert rows(out).column("key").to_pylist() == [
        "a.jpg", "t.tar::b.jpg", "c.jpg", "a.jpg#2", "t.tar#2::b.jpg", "c.jpg#2",
    ]  # fmt: skip
