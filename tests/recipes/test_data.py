"""The blocks of docs/scaling.md for Spark and Hugging Face `datasets`, as far as those packages are installed."""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from emonet_fast import Scorer

from .conftest import block


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A folder with a table of six pictures, and the pictures."""
    rng = np.random.default_rng(11)
    pictures = []
    for _ in range(6):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(file, "PNG")
        pictures.append(file.getvalue())
    folder = tmp_path_factory.mktemp("data")
    rows = [{"image": {"bytes": data, "path": f"{i}.png"}, "id": i} for i, data in enumerate(pictures)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "train.parquet")
    return folder, pictures


def scored(pictures, tiny_folder, cache_dir):
    with Scorer(tiny_folder, device="cpu", precision="fp32", cache_dir=cache_dir) as scorer:
        scores = scorer(pictures)
    return dict(zip(scores.names, scores.raw.T, strict=True))


def changed(code, *pairs):
    for old, new in pairs:
        assert old in code
        code = code.replace(old, new)
    return code


def test_datasets_map(table, tiny_folder, cache_dir, tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    folder, pictures = table
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path))
    code = changed(
        block("load_dataset", "scaling.md"),
        ('load_dataset("laion/emonet-face-hq", split="train")',
         f'load_dataset("parquet", data_files="{folder}/train.parquet", split="train", cache_dir="{tmp_path}")'),
        ('EmoNetScorer("large")', f'EmoNetScorer({str(tiny_folder)!r}, options=ef.Options(precision="fp32"))'),
    )  # fmt: skip
    monkeypatch.setenv("EMONET_FAST_CACHE", str(cache_dir))
    names = {"ef": __import__("emonet_fast")}
    exec(code, names)  # noqa: S102 - our own page
    got, want = names["scored"], scored(pictures, tiny_folder, cache_dir)
    assert got["id"] == list(range(6))
    assert "image" not in got.column_names
    assert set(got["status"]) == {"ok"}
    for name in ("elation", "anger"):
        np.testing.assert_array_equal(np.asarray(got[f"raw_{name}"], np.float32), want[name])


def test_spark(table, tiny_folder, cache_dir, monkeypatch):
    sql = pytest.importorskip("pyspark.sql", reason="PySpark is not installed")
    folder, pictures = table
    monkeypatch.setenv("EMONET_FAST_CACHE", str(cache_dir))
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    code = changed(
        block("predict_batch_udf", "scaling.md"),
        ('EmoNetScorer("large", options=Options(device="cuda"))',
         f'EmoNetScorer({str(tiny_folder)!r}, options=Options(device="cpu", precision="fp32"))'),
        ("/data/big", str(folder)),
    )  # fmt: skip
    settings = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    builder = sql.SparkSession.builder.master("local[2]")
    for name, value in settings.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        names = {"spark": spark, "__name__": "__main__"}
        exec(code, names)  # noqa: S102 - our own page
        rows = names["scored"].orderBy("id").collect()
    finally:
        spark.stop()
    want = scored(pictures, tiny_folder, cache_dir)
    got = np.array([row["scores"] for row in rows], np.float32)
    np.testing.assert_array_equal(got, np.stack([want["elation"], want["anger"]], axis=1))
