"""Data sets in the published parquet layout, made small, and what a bulk run left in its folder."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from emonet_fast.bulk import job
from emonet_fast.bulk.settings import Settings
from emonet_fast.evaluate.predictions import NAMES
from emonet_fast.options import Options

from ..pictures import encoded

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
BAD = (b"", b"no picture", b"\xff\xd8\xff\xe0 cut off")


def jpeg(seed: int, side: int = 40) -> bytes:
    """A small JPEG of noise."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return encoded(pixels)


def table(path: Path, images: Sequence[bytes | None], *, group: int = 10, first: int = 0) -> Path:
    """One file as published: the image struct, and `emotion` as a class label."""
    features = {"emotion": {"names": list(NAMES), "_type": "ClassLabel"}, "image": {"_type": "Image"}}
    rows = pa.table(
        {
            "image": pa.array([{"bytes": b, "path": f"{first + i}.jpg"} for i, b in enumerate(images)], IMAGE),
            "emotion": pa.array([(first + i) % 41 - 1 for i in range(len(images))], pa.int64()),
            "score": pa.array([i / 7 for i in range(len(images))], pa.float64()),
        }
    )
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows.replace_schema_metadata(metadata), path, row_group_size=group)
    return path


def data_set(folder: Path, files: int, rows: int, *, group: int = 10, bad: float = 0.05) -> Path:
    """files x rows pictures, some of them bad."""
    rng = np.random.default_rng(files * rows)
    pictures = [jpeg(i) for i in range(64)]
    for f in range(files):
        images = [BAD[i % 3] if rng.random() < bad else pictures[int(rng.integers(64))] for i in range(rows)]
        table(folder / f"train-{f:05}-of-{files:05}.parquet", images, group=group, first=f * rows)
    return folder


def run(
    inputs: Path | str | Sequence[str], checkpoint: Path, output: Path, **settings
) -> tuple[job.BulkSummary, list[str]]:
    """A run in this process; its summary and what it said."""
    said: list[str] = []
    names = (str(inputs),) if isinstance(inputs, str | Path) else tuple(map(str, inputs))
    defaults = {"options": Options(batch_size=4, threads=1), "devices": "cpu"}
    found = job.run(
        Settings(inputs=names, checkpoint=str(checkpoint), output=output, **defaults | settings), said.append
    )
    return found, said


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.parquet"))


def rows(folder: Path) -> pa.Table:
    """Every row, shard by shard."""
    return pa.concat_tables([pq.read_table(p) for p in shards(folder)])


def contents(folder: Path) -> dict[str, bytes]:
    """The shards, byte for byte."""
    return {p.name: p.read_bytes() for p in shards(folder)}
