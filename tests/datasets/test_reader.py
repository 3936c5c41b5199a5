"""Data sets in the published layout, from disk and hub; made here, as the hub's are not at hand."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from emonet_fast.datasets import Demographics, Kind, open_dataset
from emonet_fast.datasets.labels import annotations
from emonet_fast.errors import DataError
from emonet_fast.evaluate.predictions import SLUGS
from emonet_fast.sources import pages

from ..checkpoint.hub import Hub
from ..evaluate.made import dataset, hq_label

BINARY = "[{'human-1': {'Awe': True}}, {'human-2': {'Awe': False, 'Hopelessness': True}}]"


@pytest.fixture
def hq(tmp_path):
    rng = np.random.default_rng(0)
    labels = [hq_label({f"human-{r}": rng.integers(0, 8, 40) for r in range(2)}) for _ in range(12)]
    folder = tmp_path / "hq" / "data"
    folder.mkdir(parents=True)
    dataset(folder / "train-00000-of-00002.parquet", labels[:7], [f"mj_{i}.png" for i in range(7)])
    dataset(folder / "train-00001-of-00002.parquet", labels[7:], [f"mj_{i}.png" for i in range(7, 12)])
    return tmp_path / "hq"


def test_records(hq):
    data = open_dataset(hq)
    assert len(data) == 12
    assert data.kind == Kind.HQ
    records = list(data)
    assert [r.row for r in records] == list(range(12))
    assert records[8].key == "train-00001-of-00002.parquet::1"
    assert records[8].file_name == "mj_8.png"
    assert records[8].image == b"\xff\xd8\x01"
    assert records[8].prompt == "a close-up photo 1"
    assert records[8].demographics == Demographics(age="30", gender="non-binary", ethnicity="Black or African American")
    assert records[8].emotion == "Elation"
    assert records[8].subset == "mj"
    assert set(records[8].annotations) == {"human-0", "human-1"}
    assert set(records[8].annotations["human-0"]) == set(SLUGS)
    assert records[8].extras == {}


def test_images_stay_in_the_file_unless_asked_for(hq):
    record = next(open_dataset(hq).records(images=False))
    assert record.image is None
    assert record.file_name == "mj_0.png"
    assert record.annotations


def test_reading_is_lazy(hq):
    """The first record comes although a later shard is damaged; reaching it raises."""
    second = hq / "data" / "train-00001-of-00002.parquet"
    second.write_bytes(second.read_bytes()[:-300])
    rows = open_dataset(hq).records()
    assert next(rows).row == 0
    with pytest.raises(DataError, match="train-00001"):
        list(rows)


def test_rows_that_unpack_to_far_too_much_are_refused(tmp_path, monkeypatch):
    """A few kB whose rows refer to one value of 5 MB, as an image or as a text; 4 MB are free here, not 64."""
    monkeypatch.setattr(pages, "_FREE", 4 << 20)
    rows, size = pa.array([0] * 300, pa.int32()), 5 << 20
    image, text = (pa.DictionaryArray.from_arrays(rows, pa.array([value])) for value in (bytes(size), " " * size))
    for name, columns in {"image": {"image": image}, "text": {"image": [b"1"] * 300, "prompt": text}}.items():
        path = tmp_path / name / "train-00000-of-00001.parquet"
        path.parent.mkdir()
        pq.write_table(pa.table(columns), path, compression="zstd", store_schema=False)
        assert path.stat().st_size < 10_000
        before = pa.total_allocated_bytes()
        with pytest.raises(DataError, match=r"row group 0: a page that unpacks to 5,24"):
            list(open_dataset(path.parent).records())
        assert pa.total_allocated_bytes() - before < size


def test_binary(tmp_path):
    path = dataset(tmp_path / "train.parquet", [BINARY, None, "[]"], ["00000.jpg", None, "00002.jpg"])
    data = open_dataset(path, Kind.BINARY)
    first, second, third = data
    assert first.annotations == {"human-1": {"awe": 1.0}, "human-2": {"awe": 0.0, "helplessness": 1.0}}
    assert second.annotations == {}
    assert second.file_name == ""
    assert third.annotations == {}


def test_big_keeps_machine_labels_aside(tmp_path):
    path = dataset(tmp_path / "train.parquet", ["joy 0.7", "fear 0.2"], ["a.jpg", "b.jpg"])
    data = open_dataset(path, Kind.BIG)
    assert data.kind == Kind.BIG
    assert [r.extras["label"] for r in data] == ["joy 0.7", "fear 0.2"]
    assert [r.demographics.age for r in data] == ["20", "30"]
    with pytest.raises(DataError, match=r"train.parquet::0, column label.*not a list or dict"):
        _ = open_dataset(path).kind


def test_plain_columns_and_no_metadata(tmp_path):
    """Class names may be missing: numbers stay numbers; so may every column but the image."""
    image = pa.array([{"bytes": b"x", "path": "dir/a.png"}], pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
    pq.write_table(pa.table({"image": image, "age": [40], "weak": [0.5]}), tmp_path / "a.parquet")
    (record,) = open_dataset(tmp_path)
    assert record.demographics == Demographics(age="40")
    assert record.file_name == "dir/a.png"
    assert record.extras == {"weak": 0.5}
    pq.write_table(pa.table({"image": image}), tmp_path / "a.parquet")
    (record,) = open_dataset(tmp_path).records(images=False)
    assert record.key == "a.parquet::0"


def test_no_class_label_is_empty(tmp_path):
    path = dataset(tmp_path / "t.parquet", [BINARY], ["a"], demographics=[(-1, 1, 2)])
    assert next(iter(open_dataset(path))).demographics.age == ""
    path = dataset(tmp_path / "t.parquet", [BINARY], ["a"], demographics=[(99, 1, 2)])
    with pytest.raises(DataError, match="age is class 99; expected 0 to 6"):
        next(iter(open_dataset(path)))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[{'human-1': {'Joy': True}}]", "another taxonomy"),
        ("[{'human-1': {'Awe': True}}, {'human-1': {'Awe': False}}]", "rates awe twice"),
        ("[{'human-1': {'Awe': True, 'Fear': 3}}, {'human-2': {'Awe': True}}]", "mixes"),
        ("[{'human-1': {'Helplessness': 1, 'Hopelessness': 2}}]", "twice"),
        ("[1]", "expected {annotator"),
        ("__import__('os').system('true')", "not a list or dict"),
        ("[" * 5000, "not a list or dict"),
        ("[{'human-1': {'Awe': 1e999}}]", "expected a number"),
    ],
)
def test_bad_labels(text, words):
    with pytest.raises(DataError, match=words):
        annotations(text, "here")


def test_places_that_are_no_data_set(tmp_path, hq):
    (tmp_path / "empty").mkdir()
    for place, words in (
        (tmp_path / "empty", "no .parquet file"),
        (tmp_path / "nowhere", "neither a folder"),
        ("x.parquet", "neither a folder"),
    ):
        with pytest.raises(DataError, match=words):
            open_dataset(place)
    with pytest.raises(DataError, match="kind hq by its annotations; expected binary"):
        open_dataset(hq, Kind.BINARY)
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no column known to hold images"):
        next(iter(open_dataset(tmp_path / "t.parquet")))
    (hq / "again").mkdir()
    (hq / "again" / "train-00000-of-00002.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="two shards of the name"):
        open_dataset(hq)


_OPEN = """
import json, sys
from pathlib import Path
from emonet_fast.datasets import open_dataset
from emonet_fast.errors import DataError
name, cache, *revisions = sys.argv[1:]
found = []
for revision in revisions:
    try:
        data = open_dataset(name, revision=revision or None, cache_dir=Path(cache))
        found.append(sorted(next(iter(data)).annotations["human-1"]))
    except DataError as error:
        found.append(str(error))
print(json.dumps(found))
"""


def test_from_the_hub_and_pinned(tmp_path):
    """Downloaded once, pinned to the commit first found, used without a connection afterwards.

    In processes of their own, as huggingface_hub reads its environment when it is imported.
    """
    repository = "laion/emonet-face-binary"
    for commit, label in (("a" * 40, BINARY), ("b" * 40, BINARY.replace("Awe", "Fear"))):
        folder = tmp_path / commit
        folder.mkdir()
        dataset(folder / "train.parquet", [label], ["00000.jpg"])
        (folder / "README.md").write_text("not needed")
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    env |= {"HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*"}
    env |= {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}

    def opened(*revisions, name=repository, **environment):
        command = [sys.executable, "-c", _OPEN, name, str(tmp_path / "cache"), *revisions]
        done = subprocess.run(command, env=env | environment, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    with Hub() as hub:
        hub.publish(repository, tmp_path / ("a" * 40), "a" * 40)
        assert opened("", HF_ENDPOINT=hub.address) == [["awe"]]
        assert hub.requested == ["train.parquet"]
        hub.publish(repository, tmp_path / ("b" * 40), "b" * 40)
        assert opened("", "b" * 40, HF_ENDPOINT=hub.address) == [["awe"], ["fear"]]
    first, bad = opened("", "../x", HF_HUB_OFFLINE="1")
    assert first == ["awe"]
    assert "revision is" in bad
    cut = tmp_path / "cut" / "datasets--laion--emonet-face-binary"  # as an interrupted download leaves it
    (cut / "snapshots" / ("a" * 40)).mkdir(parents=True)
    (cut / "refs").mkdir()
    (cut / "refs" / "main").write_text("a" * 40)
    shutil.copy(
        tmp_path / ("a" * 40) / "train.parquet", cut / "snapshots" / ("a" * 40) / "train-00000-of-00003.parquet"
    )
    (error,) = opened("", HF_HUB_OFFLINE="1", HF_HUB_CACHE=str(tmp_path / "cut"))
    assert "1 of 3 shards" in error
    (error,) = opened("", name="laion/emonet-face-hq", HF_HUB_OFFLINE="1")
    assert "laion/emonet-face-hq" in error
    assert "a folder that holds the data set's parquet shards" in error
