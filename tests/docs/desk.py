"""What the code of the documents finds: files, the weights and data of the hub, variables."""

import csv
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import constants
from PIL import Image

import emonet_fast as ef
from emonet_fast import taxonomy
from emonet_fast.faces import finder

from ..checkpoint.hub import hub_cache
from ..commanding import run
from ..evaluate.made import dataset, hq_csv, hq_label, ratings
from ..pictures import photographs
from ..video.making import write_clip

pd = pytest.importorskip("pandas", reason="pandas (extra pandas) is not installed")

PICTURES = ("a.jpg", "b.png", "face.jpg", "other.png", "party.jpg")
FOLDERS = ("photos", "pictures", "faces", "new", "more", "others")
KEYS = [f"{i:02}.jpg" for i in range(10)]
WIDTH = 48  # of the tiny checkpoint's embeddings


@contextmanager
def hub(root: Path, detector: Path | None) -> Iterator[None]:
    """The hub meanwhile, for this process and those that it starts: a cache folder, and no connection."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_CACHE", str(root))
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        patch.setenv("HF_HUB_CACHE", str(root))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("EMONET_FAST_CACHE", str(root.parent / "cache"))  # which notes the commits that `large` means
        if detector is not None:
            patch.setattr(finder, "known_model", lambda checkpoint: detector.read_bytes())
        yield


def make(folder: Path, tiny_folder: Path) -> None:
    """The desk, and beside it the hub's cache with a tiny `large` and the data set HQ."""
    hub_cache(folder / "hub", tiny_folder, "large", ("a" * 40, "b" * 40))
    with hub(folder / "hub", None):
        fill(folder / "desk")
    for name in ("hq", "big"):
        base = folder / "hub" / f"datasets--laion--emonet-face-{name}"
        shutil.copytree(folder / "desk" / "emonet-face-hq", base / "snapshots" / ("c" * 40))
        (base / "refs").mkdir()
        (base / "refs" / "main").write_text("c" * 40)


def fill(desk: Path) -> None:
    """Lay the files out in a new folder: pictures, a video, scores, annotations, labels, people."""
    desk.mkdir()
    face = Image.fromarray(photographs()[0][:260, 90:350]).resize((96, 96))  # an astronaut
    for path in [desk / name for name in PICTURES] + [desk / "photos" / "empty.jpg"]:
        path.parent.mkdir(exist_ok=True)
        face.save(path)
    (desk / "photos" / "empty.jpg").write_bytes(b"")
    others = [face, *(Image.fromarray(rgb).resize((96, 96)) for rgb in photographs()[1:])]
    others.insert(3, face.transpose(Image.Transpose.FLIP_LEFT_RIGHT))  # pages look at the fourth row
    for folder in FOLDERS:
        (desk / folder).mkdir(exist_ok=True)
        for i, key in enumerate(KEYS):
            others[i % len(others)].rotate(90 * (i // len(others))).save(desk / folder / key)
    pixels = np.asarray(face)
    write_clip(desk / "talk.mp4", range(0, 4000, 250), rate=4, picture=lambda _: pixels)
    _scores(desk)
    _annotations(desk)
    _labels(desk)


def _scores(desk: Path) -> None:
    """Scores of photos/ with embeddings, as other names too, and what is usual in them."""
    names = [desk / f"{name}.parquet" for name in ("scores", "a", "b", "train", "test")]
    run("score", desk / "photos", "-c", "large", "-o", names[0], "--embeddings", "--precision", "fp32")
    laion = ("-o", desk / "scores.jsonl", "--format", "laion")
    run("score", desk / "new", "-c", "large", *laion, "--precision", "fp32")
    lines = (desk / "scores.jsonl").read_text("utf-8")  # FERD's file names hold the class
    (desk / "scores.jsonl").write_text(re.sub(r"/(0\d)\.jpg", r"/\1_Happy.jpg", lines), "utf-8")
    run("bulk", desk / "photos", "-c", "large", "-o", desk / "scores", "--embeddings", "fp32")
    table = pq.read_table(names[0])
    for name in names[1:]:
        pq.write_table(table.append_column("person", pa.array([f"p{i % 5}" for i in range(len(table))])), name)
    run("baseline", names[0], "-o", desk / "usual.json")
    table = table.drop_columns(["embedding"])
    times = {"source": table["key"].to_pylist(), "seconds": np.arange(len(table)) / 2.0, "track": [0] * len(table)}
    for name, values in times.items():
        table = table.append_column(name, pa.array(values))
    pq.write_table(table, desk / "video.parquet")


def _annotations(desk: Path) -> None:
    values = np.random.default_rng(0).integers(0, 8, (3, len(KEYS), 40)).astype(float)
    given = ratings(values)
    hq_csv(desk / "hq.csv", given)
    text = (desk / "hq.csv").read_text("utf-8")
    for i, key in enumerate(KEYS):
        text = text.replace(f"a{i:04}.png", key)
    (desk / "hq.csv").write_text(text, "utf-8")
    (desk / "emonet-face-hq").mkdir()
    labels = [hq_label({f"human-{r}": values[r, i] for r in range(3)}) for i in range(len(KEYS))]
    shard = dataset(desk / "emonet-face-hq" / "train-00000-of-00001.parquet", labels, KEYS)
    table = pq.read_table(shard)
    images = [{"bytes": (desk / "photos" / key).read_bytes(), "path": key} for key in KEYS]
    pq.write_table(table.set_column(0, "path", pa.array(images, table.schema.field("path").type)), shard)
    with (desk / "binary.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "annotator", "value", "emotion"])
        rows.writerows(
            [Path(key).stem, f"human-{r}", (i + r + j) % 3 > 0, emotion.name]
            for i, key in enumerate(KEYS) for r in range(2) for j, emotion in enumerate(taxonomy.EMOTIONS[:4])
        )  # fmt: skip


def _labels(desk: Path) -> None:
    table = pd.DataFrame({"key": KEYS, "person": [f"p{i % 5}" for i in range(len(KEYS))]})
    table["awe"], table["anger"] = np.arange(10) % 7, np.arange(10)[::-1] % 4
    table.to_csv(desk / "labels.csv", index=False)
    table[["key", "person"]].assign(participant=table.person, condition=["task", "rest"] * 5).to_csv(
        desk / "people.csv", index=False
    )
    tasks = [{"image": f"/data/local-files/?d=faces/{key}", "awe": i % 7, "annotator": 1} for i, key in enumerate(KEYS)]
    (desk / "export.json").write_text(json.dumps(tasks), "utf-8")


def given(desk: Path) -> dict[str, Any]:
    """The variables that the code takes as given."""
    rng = np.random.default_rng(0)
    rgb = np.asarray(Image.open(desk / "a.jpg"))
    table = pq.read_table(desk / "scores.parquet")
    names = [name.removeprefix("raw_") for name in table.column_names if name.startswith("raw_")]
    raw = np.stack([table[f"raw_{name}"].to_numpy().astype(np.float32) for name in names], axis=1)
    means = dict.fromkeys(names, 0.5)
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    status = table["status"].to_pylist()
    return {
        "ef": ef, "pandas": pd, "Path": Path, "json": json,
        "rgb_array": rgb, "pil_image": Image.open(desk / "b.png"), "array": rng.normal(size=(len(names), WIDTH)),
        "raw": raw, "names": names, "neutral_means": means,
        "scores": ef.Scores.from_raw(raw, names, means, keys=table["key"].to_pylist(), status=status, metadata=facts),
        "embeddings": rng.normal(size=(8, WIDTH)), "people": [f"p{i}" for i in range(8)],
    }  # fmt: skip
