"""Embeddings as a NumPy file, read back by NumPy."""

import json

import numpy as np
import pytest

from emonet_fast.errors import EmonetError, OptionError
from emonet_fast.scores import Scores
from emonet_fast.sinks.apart import OutputsApart
from emonet_fast.sinks.npy import NpySink
from emonet_fast.sinks.tables import recover

from .rows import made


def test_reads_back_row_by_row_with_nan_where_there_are_no_scores(tmp_path):
    batches = [made(["a", "b"], bad={1}), made([]), made([str(i) for i in range(2000)], seed=1)]
    sink = NpySink(tmp_path / "e.npy", 6, {"a": "b"})
    for batch in batches:
        sink.write(batch)
    sink.close()
    found = np.load(tmp_path / "e.npy")
    expected = np.concatenate([batch.embeddings for batch in batches])
    expected[1] = np.nan
    assert (found.dtype, found.shape) == (np.float32, (2002, 6))
    np.testing.assert_array_equal(found, expected)
    assert np.load(tmp_path / "e.npy", mmap_mode="r").shape == (2002, 6)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.npy", "e.npy.meta.json"]
    assert json.loads((tmp_path / "e.npy.meta.json").read_text()) == {"a": "b", "emonet_fast.rows": "2002"}


def test_a_run_without_rows_gives_an_empty_array(tmp_path):
    NpySink(tmp_path / "e.npy", 6, {}).close()
    assert np.load(tmp_path / "e.npy").shape == (0, 6)


@pytest.mark.parametrize("cut", [0, 1, 24, 25])
def test_a_killed_run_is_recovered_up_to_its_last_whole_row(tmp_path, cut):
    sink = NpySink(tmp_path / "e.npy", 6, {"a": "b"}, tmp_path / "e.parquet")
    scores = made(["a", "b", "c"])
    sink.write(scores)
    sink.file.truncate(sink.file.tell() - cut)
    sink.file.close()
    rows = 3 - -(-cut // 24)  # a row has 24 bytes
    assert recover(tmp_path / "e.npy") == rows
    np.testing.assert_array_equal(np.load(tmp_path / "e.npy"), scores.embeddings[:rows])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["e.npy", "e.npy.meta.json"]
    facts = json.loads((tmp_path / "e.npy.meta.json").read_text())
    assert facts == {"a": "b", "emonet_fast.table": "e.parquet", "emonet_fast.rows": str(rows)}


def test_what_is_none_is_said_and_stays(tmp_path):
    (tmp_path / "e.npy.partial").write_bytes(b"not an array")
    with pytest.raises(EmonetError, match=r"e\.npy\.partial is damaged"):
        recover(tmp_path / "e.npy")
    assert (tmp_path / "e.npy.partial").exists()
    with pytest.raises(OptionError, match="these scores have none"):
        NpySink(tmp_path / "f.npy", 6, {}).write(Scores.from_raw([[1.0]], ["awe"]))


def test_an_early_end_leaves_the_older_file(tmp_path):
    NpySink(tmp_path / "e.npy", 6, {"run": "old"}).close()
    apart, sink = OutputsApart(), NpySink(tmp_path / "e.npy", 6, {"run": "new"})
    apart.add(sink, sink.write)
    apart.write(made(["a"]))
    apart.end_all(early=True, empty=False)
    assert np.load(tmp_path / "e.npy").shape == (0, 6)
    assert recover(tmp_path / "e.npy") == 1
    facts = json.loads((tmp_path / "e.npy.meta.json").read_text())
    assert facts == {"run": "new", "emonet_fast.rows": "1"}


def test_metadata_that_are_damaged_or_lost_are_not_an_older_files(tmp_path):
    for damage in (None, b"{", b"[]"):
        NpySink(tmp_path / "e.npy", 6, {"run": "old"}).close()
        sink = NpySink(tmp_path / "e.npy", 6, {"run": "new"})
        sink.file.close()
        kept = tmp_path / "e.npy.partial.meta.json"
        kept.unlink() if damage is None else kept.write_bytes(damage)
        if damage is None:
            assert recover(tmp_path / "e.npy") == 0
        else:
            with pytest.raises(EmonetError, match=r"e\.npy\.partial\.meta\.json is damaged"):
                recover(tmp_path / "e.npy")
        assert not (tmp_path / "e.npy.meta.json").exists()
        kept.unlink(missing_ok=True)
