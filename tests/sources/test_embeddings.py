"""Stored embeddings: every file that we write gives back its vectors, keys and statuses; others are checked."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emonet_fast.errors import DataError, InputError
from emonet_fast.records import Status
from emonet_fast.sinks import open_sink
from emonet_fast.sinks.encoders import file_metadata
from emonet_fast.sinks.npy import NpySink
from emonet_fast.sources.embeddings import Embeddings
from emonet_fast.sources.embeddings.vectors import NoEmbeddingError
from emonet_fast.sources.keys import unnumbered

from ..sinks.rows import HOSTILE, made

FACTS = {"encoder_hash": "sha256:" + "a" * 64, "checkpoint_hash": "sha256:" + "b" * 64}


def listed(values, kind=None):
    return pa.array(values, kind or pa.list_(pa.float32()))


def write(path, column, metadata=None, **more):
    pq.write_table(pa.table({"embedding": column, **more}).replace_schema_metadata(metadata), path)
    return path


def only(path, **options):
    (batch,) = Embeddings(path, **options).batches()
    return batch


def test_our_table_gives_back_vectors_keys_and_statuses(tmp_path):
    scores = made(HOSTILE, bad={1, 4})
    sink = open_sink(tmp_path / "s.parquet", metadata=FACTS, embeddings=True)
    sink.write(scores)
    sink.close()
    found = Embeddings(tmp_path / "s.parquet")
    assert (found.rows, found.width, found.dtype, found.encoder) == (18, 6, "float32", FACTS["encoder_hash"])
    assert found.notes == ()
    assert not found.normalized
    (batch,) = found.batches()
    assert batch.keys == scores.to_arrow().column("key").to_pylist()
    assert batch.status == list(scores.status)
    assert batch.reason == list(scores.reason)
    np.testing.assert_array_equal(batch.ok, scores.ok)
    expected = np.where(scores.ok[:, None], scores.embeddings, np.float32(np.nan))
    np.testing.assert_array_equal(batch.values, expected)
    np.testing.assert_array_equal(found.array(), expected)


@pytest.mark.parametrize("table", ["s.parquet", "s.csv", "s.jsonl"])
def test_a_numpy_file_has_the_keys_of_the_table_of_its_run(tmp_path, table):
    scores = made(["a.jpg", "two\nlines.jpg", "c,d.jpg"], bad={1})
    sink = open_sink(tmp_path / table, metadata=FACTS)
    npy = NpySink(tmp_path / "e.npy", 6, file_metadata(FACTS), tmp_path / table)
    for one in (sink, npy):
        one.write(scores)
        one.close()
    found = Embeddings(tmp_path / "e.npy")
    assert (found.encoder, found.notes) == (FACTS["encoder_hash"], ())
    batches = list(found.batches(2))
    assert [len(b) for b in batches] == [2, 1]
    assert [k for b in batches for k in b.keys] == list(scores.keys)
    assert [s for b in batches for s in b.status] == list(scores.status)
    assert batches[0].reason == ["", "ends after 12 bytes"]
    np.testing.assert_array_equal(batches[1].values, scores.embeddings[2:])


def test_a_table_of_another_run_names_no_rows(tmp_path):
    npy = NpySink(tmp_path / "e.npy", 6, {}, tmp_path / "s.parquet")
    npy.write(made(["a", "b"]))
    npy.close()
    found = Embeddings(tmp_path / "e.npy")
    assert "row numbers" in found.notes[1]  # the table is not there
    assert next(iter(found.batches())).keys == [f"{tmp_path}/e.npy::0", f"{tmp_path}/e.npy::1"]
    for keys in (["a"], ["a", "b", "c"]):
        sink = open_sink(tmp_path / "s.parquet", metadata={})
        sink.write(made(keys))
        sink.close()
        with pytest.raises(DataError, match=r"has 2 rows, and .*s\.parquet.* do not belong together"):
            list(Embeddings(tmp_path / "e.npy").batches())
    (tmp_path / "e.npy.meta.json").write_text(json.dumps({"emonet_fast.rows": "3"}))
    with pytest.raises(DataError, match=r"has 2 rows, and e\.npy\.meta\.json is of one with 3"):
        Embeddings(tmp_path / "e.npy")


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_plain_numpy_file_has_row_numbers_as_keys(tmp_path, dtype):
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(dtype)
    np.save(tmp_path / "e.npy", values)
    found = Embeddings([tmp_path / "e.npy"])
    assert (found.rows, found.width, found.dtype, found.encoder) == (5, 7, dtype, None)
    batches = list(found.batches(3))
    assert [k.rpartition("::")[2] for b in batches for k in b.keys] == ["0", "1", "2", "3", "4"]
    np.testing.assert_array_equal(np.concatenate([b.values for b in batches]), values.astype(np.float32))
    assert [note[:40] for note in found.notes] == [
        "the embeddings do not say which encoder ",
        "a .npy file without the table of its run",
    ]


@pytest.mark.parametrize(
    "column",
    [
        pa.FixedSizeListArray.from_arrays(pa.array(np.arange(1, 13, dtype=np.float16)), 3),
        pa.FixedSizeListArray.from_arrays(pa.array(np.arange(1, 13, dtype=np.float64)), 3),
        listed([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]]),
        listed([[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12]], pa.large_list(pa.float64())),
    ],
    ids=["fixed float16", "fixed float64", "list", "large list"],
)
def test_every_kind_of_list_of_floats_is_read(tmp_path, column):
    write(tmp_path / "e.parquet", column, label=pa.array(["w", "x", None, "z"]))
    found = Embeddings(tmp_path / "e.parquet", ["label"])
    batches = list(found.batches(3))
    assert [len(b) for b in batches] == [3, 1]
    np.testing.assert_array_equal(np.concatenate([b.values for b in batches]), np.arange(1, 13).reshape(4, 3))
    assert batches[0].columns.to_pydict() == {"label": ["w", "x", None]}
    assert batches[1].columns.to_pydict() == {"label": ["z"]}
    assert batches[1].keys == [f"{tmp_path}/e.parquet::3"]


def test_each_row_that_cannot_be_used_says_why(tmp_path):
    column = listed([[1, 2], None, [1, 2, 3], [], [0, 0], [np.nan, 1], [np.inf, 1], [None, 1], [3, 4]])
    batch = only(write(tmp_path / "e.parquet", column, key=pa.array([*"abcdefg", None, "i"])))
    assert batch.keys == [*"abcdefg", f"{tmp_path}/e.parquet::7", "i"]
    assert batch.status == [Status.OK, *[Status.BAD_INPUT] * 7, Status.OK]
    assert batch.reason == [
        "",
        "no embedding in the row",
        "an embedding of 3 numbers; expected 2",
        "an embedding of 0 numbers; expected 2",
        "an embedding of zeros only",
        "an embedding that is not finite",
        "an embedding that is not finite",
        "an embedding that is not finite",
        "",
    ]
    np.testing.assert_array_equal(batch.values[[0, 8]], [[1, 2], [3, 4]])
    assert np.isnan(batch.values[1:8]).all()


def test_a_status_of_others_is_not_ours(tmp_path):
    column = listed([[1.0], [2.0]])
    status, ours = pa.array(["active", "no_face"]), {"emonet_fast.schema_version": "2"}
    assert only(write(tmp_path / "a.parquet", column, status=status)).status == [Status.OK, Status.OK]
    assert only(write(tmp_path / "b.parquet", column, ours, status=status)).status == [Status.FAILED, Status.NO_FACE]


def test_a_folder_of_bulk_gives_its_finished_shards_in_order(tmp_path):
    for i in (1, 0, 2):
        write(tmp_path / f"{i:05d}.parquet", listed([[i + 1.0]]))
        (tmp_path / f"{i:05d}.json").write_text("{}")
    (tmp_path / "plan.json").write_text("{}")
    (tmp_path / "00002.json").unlink()
    found = Embeddings(tmp_path)
    np.testing.assert_array_equal(found.array(), [[1], [2]])
    assert [b.keys for b in found.batches()] == [[f"{tmp_path}/0000{i}.parquet::0"] for i in (0, 1)]


def test_the_column_is_embedding_or_the_only_one_or_the_named_one(tmp_path):
    a, b = listed([[1.0, 2.0]]), listed([[3.0, 4.0]])
    pq.write_table(pa.table({"x": a, "n": [1]}), tmp_path / "one.parquet")
    pq.write_table(pa.table({"x": a, "y": b}), tmp_path / "two.parquet")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "none.parquet")
    assert only(write(tmp_path / "e.parquet", b, x=a)).values.tolist() == [[3, 4]]
    assert only(tmp_path / "e.parquet", column="x").values.tolist() == [[1, 2]]
    assert only(tmp_path / "one.parquet").values.tolist() == [[1, 2]]
    assert only(tmp_path / "two.parquet", column="y").values.tolist() == [[3, 4]]
    with pytest.raises(InputError, match=r"several columns that may be embeddings \(x, y\)"):
        Embeddings(tmp_path / "two.parquet")
    for options in ({}, {"column": "x"}, {"column": "y"}):
        with pytest.raises(NoEmbeddingError, match=r"none\.parquet has no"):
            Embeddings(tmp_path / "none.parquet", **options)
    with pytest.raises(DataError, match="has no column 'label'; its columns are: embedding, x"):
        Embeddings(tmp_path / "e.parquet", ["label"])


def test_files_of_other_encoders_or_widths_are_refused_by_name(tmp_path):
    a = write(tmp_path / "a.parquet", listed([[1.0, 2.0]]), {"encoder_hash": "sha256:1"})
    b = write(tmp_path / "b.parquet", listed([[1.0, 2.0]]), {"encoder_hash": "sha256:2"})
    c = write(tmp_path / "c.parquet", listed([[1.0]]))
    d = write(tmp_path / "d.parquet", listed([[1.0, 2.0]]))
    with pytest.raises(DataError, match=r"b\.parquet has embeddings of the encoder sha256:2, .*a\.parquet of sha256:1"):
        Embeddings([a, b])
    with pytest.raises(DataError, match=r"c\.parquet has embeddings of 1 numbers, .*a\.parquet of 2"):
        Embeddings([a, c])
    assert Embeddings([a, d]).encoder is None
    Embeddings(a).check("sha256:1", 2)
    Embeddings(d).check("sha256:1", 2)
    with pytest.raises(DataError, match=r"encoder sha256:1; the checkpoint's encoder is sha256:2"):
        Embeddings([d, a]).check("sha256:2", 2)
    with pytest.raises(DataError, match="of 2 numbers; the checkpoint's encoder gives 3"):
        Embeddings(d).check("sha256:2", 3)


def test_what_is_no_embeddings_is_an_error_that_names_the_file(tmp_path):
    np.save(tmp_path / "flat.npy", np.ones(3, np.float32))
    np.save(tmp_path / "whole.npy", np.ones((3, 2), np.int64))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(np.ones((3, 2), np.float32)))
    np.save(tmp_path / "object.npy", np.array([[{}]], object), allow_pickle=True)
    np.save(tmp_path / "cut.npy", np.ones((3, 2), np.float32))
    (tmp_path / "cut.npy").write_bytes((tmp_path / "cut.npy").read_bytes()[:-1])
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "empty.npy").touch()
    (tmp_path / "text.parquet").write_text("no table")
    write(tmp_path / "nulls.parquet", listed([None, None]))
    names = ["flat.npy", "whole.npy", "fortran.npy", "object.npy", "cut.npy", "text.npy", "empty.npy", "text.parquet"]
    for name in [*names, "nulls.parquet", "missing.npy", "missing.parquet"]:
        with pytest.raises(DataError, match=name):
            Embeddings(tmp_path / name)
    with pytest.raises(DataError, match=r"expected a \.parquet table, a folder of them, or a \.npy file"):
        Embeddings(tmp_path / "e.txt")
    with pytest.raises(DataError, match="no embeddings were named"):
        Embeddings([])


def test_a_damaged_row_group_loses_its_own_rows_alone(tmp_path):
    table = pa.table(
        {"embedding": listed(np.random.default_rng(0).normal(size=(30, 4)).tolist()), "n": list(range(30))}
    )
    path = tmp_path / "e.parquet"
    pq.write_table(table, path, row_group_size=10, compression="zstd")
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)
    batches = list(Embeddings(path, ["n"]).batches(7))
    status = [s for b in batches for s in b.status]
    assert status == [Status.OK] * 10 + [Status.UNREADABLE] * 10 + [Status.OK] * 10
    assert [k.rpartition("::")[2] for b in batches for k in b.keys] == [str(i) for i in range(30)]
    assert [n for b in batches for n in b.columns.column("n").to_pylist()][20:] == list(range(20, 30))
    assert Embeddings(path).array().shape == (30, 4)


def test_whether_vectors_have_norm_1_is_seen(tmp_path):
    values = np.random.default_rng(0).normal(size=(50, 32)).astype(np.float32)
    units = values / np.linalg.norm(values, axis=1, keepdims=True)
    for name, array, expected in (("a", values, False), ("b", units, True), ("c", units.astype(np.float16), True)):
        np.save(tmp_path / f"{name}.npy", array)
        assert Embeddings(tmp_path / f"{name}.npy").normalized is expected


@settings(max_examples=40)
@given(st.lists(st.none() | st.lists(st.floats(width=32, allow_nan=True), max_size=4), max_size=12), st.integers(1, 5))
def test_rows_come_one_for_one_whatever_they_hold(tmp_path_factory, cells, size):
    path = tmp_path_factory.mktemp("e") / "e.parquet"
    write(path, listed(cells))
    try:
        found = Embeddings(path)
    except DataError:
        assert not any(cells)
        return
    batches = list(found.batches(size))
    assert found.width == len(next(c for c in cells if c is not None and len(c)))
    assert all(len(b) <= size for b in batches)
    values, status = np.concatenate([b.values for b in batches]), [s for b in batches for s in b.status]
    assert len(values) == len(status) == len(cells)
    for cell, row, one in zip(cells, values, status, strict=True):
        fine = cell is not None and len(cell) == found.width and np.isfinite(cell).all() and any(cell)
        assert (one == Status.OK) == fine
        if fine:
            np.testing.assert_array_equal(row, np.float32(cell))


def test_a_file_that_comes_again_has_the_keys_that_pictures_have(tmp_path):
    keys = ["x/a.jpg", "t.tar::b.jpg", "c.jpg::box1"]
    path = write(tmp_path / "e.parquet", listed([[1.0], [2.0], [3.0]]), key=keys)
    link = tmp_path / "link.parquet"
    link.symlink_to(path)
    found = Embeddings([path, link])
    came = [key for batch in found.batches() for key in batch.keys]
    assert came == [*keys, "x/a.jpg#2", "t.tar#2::b.jpg", "c.jpg#2::box1"]
    assert [unnumbered(key) for key in came[3:]] == keys
    assert [picture.key for picture in found.with_columns(["key"]).pictures()] == came
    once = Embeddings([path, link], once=True)
    assert (once.rows, only([path, link], once=True).keys) == (3, keys)
    assert f"embeddings that came again count once: {link.name}" in once.notes
