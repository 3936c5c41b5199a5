"""The file of one shard: embeddings, kept columns, no rows at all, and nothing left after giving up."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emonet_fast import Scores, taxonomy
from emonet_fast.bulk.rows import Origin
from emonet_fast.bulk.shard_file import ShardFile
from emonet_fast.records import Status
from emonet_fast.text import duration

NAMES = [d.slug for d in taxonomy.DIMENSIONS]
MEANS = dict.fromkeys(NAMES, 0.5)


def scores(n: int, seed: int = 0, width: int = 6) -> Scores:
    rng = np.random.default_rng(seed)
    status = [Status.OK if i % 5 else Status.EMPTY for i in range(n)]
    vectors = rng.normal(size=(n, width)).astype(np.float32)
    if n > 2:
        vectors[2, 0] = 70000.0
    raw = rng.normal(size=(n, 44))
    keys = [f"k{i}" for i in range(n)]
    return Scores.from_raw(raw, NAMES, MEANS, keys=keys, status=status, embeddings=vectors)


def write(path, embeddings, parts, keep=None):
    file = ShardFile(path, keep or pa.schema([]), embeddings, {"precision": "fp32"})
    kept = () if keep is None else (None,) * len(keep)
    for part in parts:
        file.write(part, [Origin("s", i, kept) for i in range(len(part))])
    file.finish(scores(0))
    file.pending.publish()
    return pq.read_table(path)


@pytest.mark.parametrize("kind", ["fp16", "fp32"])
def test_embeddings(tmp_path, kind):
    given = scores(12)
    found = write(tmp_path / "a.parquet", kind, [given])
    field = found.schema.field("embedding").type
    assert field == pa.list_(pa.float16() if kind == "fp16" else pa.float32(), 6)
    cells = found.column("embedding").to_pylist()
    for i, cell in enumerate(cells):
        lost = i % 5 == 0 or (kind == "fp16" and i == 2)
        assert (cell is None) == lost
        if not lost:
            exact = given.embeddings[i].astype(np.float16) if kind == "fp16" else given.embeddings[i]
            np.testing.assert_array_equal(np.array(cell, exact.dtype), exact)


def test_bytes_do_not_depend_on_how_rows_came(tmp_path):
    """In one batch or in many, across the table's and the row group's size."""
    whole = scores(9001)
    places = [0, 1, 500, 511, 512, 4095, 4097, 9001]
    pick = {name: getattr(whole, name) for name in ("keys", "status", "reason")}
    parts = [
        Scores.from_raw(
            whole.raw[a:b], NAMES, MEANS, embeddings=whole.embeddings[a:b], **{n: v[a:b] for n, v in pick.items()}
        )
        for a, b in pairwise(places)
    ]
    first = write(tmp_path / "a.parquet", "none", [whole])
    second = write(tmp_path / "b.parquet", "none", parts)
    assert first.drop_columns(["row"]).equals(second.drop_columns(["row"]))
    assert [pq.ParquetFile(tmp_path / n).metadata.row_group(0).num_rows for n in ("a.parquet", "b.parquet")] == [
        4096,
        4096,
    ]
    assert "embedding" not in first.column_names


def test_no_rows(tmp_path):
    """The columns that every shard has: so that all of them can be read as one table."""
    keep = pa.schema([("age", pa.int64())])
    empty = write(tmp_path / "a.parquet", "fp16", [], keep)
    full = write(tmp_path / "b.parquet", "fp16", [scores(3)], keep)
    assert empty.num_rows == 0
    assert empty.schema.equals(full.schema)
    assert empty.column_names[:6] == ["key", "status", "reason", "source", "row", "keep_age"]


def test_giving_up_leaves_nothing(tmp_path):
    file = ShardFile(tmp_path / "a.parquet", pa.schema([]), "none", {})
    file.write(scores(600), [Origin("s", i) for i in range(600)])
    file.discard()
    assert not list(tmp_path.iterdir())


def test_durations():
    assert [duration(s) for s in (0.4, 59.6, 3599, 3600, 86400 * 3)] == ["0:00", "1:00", "59:59", "1:00:00", "72:00:00"]
