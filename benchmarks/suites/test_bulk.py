"""Bulk: a parquet table of JPEGs in, a table of scores out, as `emonet-fast bulk` does it beside plain ways.

Baseline: a loop of one's own over the table with a Scorer, all in memory, no resuming. bulk starts a process, which
opens its own engine: on a short table that start is part of its time, as it is for its users.
"""

import importlib.util
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import fairness
from benchmarks.harness import Case, Run
from benchmarks.workshop import Workshop

# On the 0..7 scale: gate_fp32's bar for scores; it is the same engine.
SCORE = 1e-3
# A short run of a deep tower, or a long one of a shallow.
FEW, MANY = 4, 48


def cases(shop: Workshop) -> Iterator[Case]:
    if importlib.util.find_spec("emonet_fast.bulk") is None:
        return
    heads = next(iter(shop.checkpoints))
    backend, precision = shop.engines()[-1]
    count = FEW if shop.deep(heads) else MANY // (8 if shop.quick else 1)
    yield Case(
        group=f"bulk: {heads}, {count} JPEGs of a parquet table",
        inputs=lambda: [table(shop, count)],
        sides={
            f"a loop, {precision}": lambda: loop(shop, heads, backend, precision),
            f"bulk, {precision}": lambda: bulk(shop, heads, backend, precision),
        },
        judge=lambda outputs: fairness.values(outputs, SCORE, "scores"),
        images=count,
        check=1,
        process=True,
        rounds=2 if shop.quick or shop.deep(heads) else 5,
        info={"heads": heads},
    )


def test_bulk(side: Any) -> None:
    side()


def table(shop: Workshop, count: int) -> bytes:
    """A parquet file in the layout of the published data sets."""
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    files = shop.portraits(8)
    rows = [{"bytes": files[i % len(files)], "path": f"{i:05}.jpg"} for i in range(count)]
    out = io.BytesIO()
    pq.write_table(pa.table({"image": pa.array(rows, image)}), out, row_group_size=16)
    return out.getvalue()


def loop(shop: Workshop, heads: str, backend: str, precision: str) -> Run:
    scorer = shop.scorer(heads, backend, precision)

    def run(data: bytes) -> Any:
        files = pq.read_table(io.BytesIO(data)).column("image").to_pylist()
        scores = scorer([one["bytes"] for one in files])
        with tempfile.TemporaryDirectory(prefix="emonet-fast-bench-") as folder:
            pq.write_table(scores.to_arrow(), Path(folder) / "scores.parquet")
        return scores.raw

    return run


def bulk(shop: Workshop, heads: str, backend: str, precision: str) -> Run:
    from emonet_fast.bulk import job
    from emonet_fast.bulk.settings import Settings
    from emonet_fast.options import Options

    names = shop.checkpoint(heads).names

    def run(data: bytes) -> Any:
        with tempfile.TemporaryDirectory(prefix="emonet-fast-bench-") as name:
            folder = Path(name)
            (folder / "in.parquet").write_bytes(data)
            settings = Settings(
                (str(folder / "in.parquet"),),
                shop.checkpoints[heads],
                folder / "out",
                devices=str(shop.device),
                options=Options(precision=precision, backend=backend),
            )
            job.run(settings, lambda text: None)
            written = [pq.ParquetFile(path).read() for path in sorted((folder / "out").rglob("*.parquet"))]
            columns = [[part.column(f"raw_{slug}").to_numpy() for slug in names] for part in written]
        return np.concatenate([np.stack(part, axis=1) for part in columns])

    return run
