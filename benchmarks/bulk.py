"""Bulk scoring on the CPU: overhead, memory, exactly once, planning, Ray.

    python -m benchmarks.bulk [PART...]          parts: repeat overhead memory rows plan ray (all without one)

Two checkpoints, made here: `shallow`, 2 layers of the real width with the Large heads, and `tiny`, of a few hundred
kilobytes, where only our own work is left. Contestants take turns in one run; figures are medians and ratios of those.
The other parts' figures stay. Needs the extras reference (for the checkpoints) and ray.
"""

import json
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from multiprocessing import active_children
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import measurements
from benchmarks.pictures import encoded, photograph
from emonet_fast import Scorer
from emonet_fast.bulk import job
from emonet_fast.bulk.folder import Folder
from emonet_fast.bulk.local import run_local
from emonet_fast.bulk.progress import BulkProgress
from emonet_fast.bulk.settings import Settings
from emonet_fast.decoders.flow import by_pillow, resized
from emonet_fast.options import Options
from emonet_fast.records import Picture

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ROUNDS = 5


# -- inputs ------------------------------------------------------------------------------------------------------


def jpegs(count: int, side: int) -> list[bytes]:
    """Photographs of side x side."""
    return [encoded(photograph(side, side, i), quality=80) for i in range(count)]


def data_set(
    folder: Path, files: int, rows: int, pictures: Sequence[bytes], *, bad: float = 0.0, group: int = 100
) -> Path:
    """The published parquet layout: image struct with `bytes` and `path`, class labels, text."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    features = {"image": {"_type": "Image"}, "emotion": {"names": [f"e{i}" for i in range(40)], "_type": "ClassLabel"}}
    for f in range(files):
        chosen = rng.integers(0, len(pictures), rows)
        broken = rng.random(rows) < bad
        images = [b"\xff\xd8\xff\xe0" if b else pictures[c] for b, c in zip(broken, chosen, strict=True)]
        table = pa.table(
            {
                "image": pa.array([{"bytes": b, "path": f"{f}_{i}.jpg"} for i, b in enumerate(images)], IMAGE),
                "emotion": pa.array(rng.integers(0, 40, rows), pa.int64()),
                "prompt": [f"a portrait {i}" for i in range(rows)],
            }
        ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
        pq.write_table(table, folder / f"train-{f:05}-of-{files:05}.parquet", row_group_size=group)
    return folder


def checkpoints(folder: Path) -> tuple[Path, Path]:
    """(shallow, tiny)."""
    from emonet_fast.testing.synthetic import write_synthetic
    from tests.tiny import write_tiny

    write_synthetic(folder / "shallow", heads="large", layers=2, seed=0)
    return folder / "shallow", write_tiny(folder / "tiny")


def settings(inputs: Path, checkpoint: Path, output: Path, **more: Any) -> Settings:
    return Settings(inputs=(str(inputs),), checkpoint=str(checkpoint), output=output, **{"devices": "cpu", **more})


class Watch(BulkProgress):
    """Notes when shards were done, and memory beside it. stop_at: raises KeyboardInterrupt after so many rows."""

    def __init__(self, stop_at: int | None = None) -> None:
        super().__init__(lambda text: None, terminal=False)
        self.opened: float | None = None
        self.times: list[tuple[float, int]] = []
        self.worker: list[float] = []
        self.coordinator: list[float] = []
        self.advanced = 0
        self._stop_at = stop_at

    def ready(self) -> None:
        super().ready()
        self.opened = self.opened or sum(_anonymous_mb(child.pid) for child in active_children())

    def advance(self, shard: int, rows: int, bad: int) -> None:
        super().advance(shard, rows, bad)
        self.advanced += rows
        if self._stop_at is not None and self.advanced >= self._stop_at:
            raise KeyboardInterrupt

    def done(self, marker: Mapping[str, Any]) -> None:
        super().done(marker)
        self.times.append((time.perf_counter(), marker["rows"]))
        self.worker.append(sum(_anonymous_mb(child.pid) for child in active_children()))
        self.coordinator.append(_anonymous_mb("self"))

    def until_last(self) -> float:
        """Seconds from the open engine to the last shard's marker."""
        assert self.began is not None
        return self.times[-1][0] - self.began

    def steady(self) -> float:
        """Rows a second between the first and the last shard that were done: without the start of processes."""
        return sum(rows for _, rows in self.times[1:]) / (self.times[-1][0] - self.times[0][0])


def _anonymous_mb(process: int | str | None) -> float:
    """A process' memory without file pages; 0 once it has ended."""
    try:
        status = Path(f"/proc/{process}/status").read_text("utf-8")
    except OSError:
        return 0.0
    line = next((line for line in status.splitlines() if line.startswith("RssAnon")), "RssAnon: 0 kB")
    return int(line.split()[1]) * 1024 / 1e6


def run(job_settings: Settings, watch: Watch) -> None:
    """As job.run, with a listener of our own, from an empty folder or from where it was stopped."""
    folder = Folder(job_settings.output)
    plan, fresh = job._plan(job_settings, folder, lambda text: None)
    todo = [s for s, f in folder.look(plan, range(len(plan.shards))).items() if f.state == "todo"]
    if fresh:
        todo = list(range(len(plan.shards)))

    def settle(fingerprint: Mapping[str, str]) -> list[int]:
        if fresh:
            folder.keep_plan(replace(plan, fingerprint=fingerprint))
        return todo

    watch.begin(plan, todo)
    if job_settings.engine == "ray":
        from emonet_fast.bulk.ray import run_ray

        run_ray(job_settings, folder, settle, watch)
    else:
        run_local(job_settings, folder, len(todo), settle, watch)


# -- parts -------------------------------------------------------------------------------------------------------


def overhead(where: Path, shallow: Path, tiny: Path) -> dict[str, Any]:
    """An image's time: the engine alone, a plain loop that also decodes, bulk; the same images in turns.

    Wall-clock time, and processor time, which other work on the machine disturbs less; bulk's without what its
    processes take for one row, which is their start.
    """
    pictures = jpegs(16, 1024)
    rows = 48
    data = data_set(where / "overhead", 1, rows, pictures, group=16)
    single = data_set(where / "overhead-start", 1, 1, pictures)
    images = [r["image"]["bytes"] for f in sorted(data.iterdir()) for r in pq.read_table(f).to_pylist()]
    wall: dict[str, list[float]] = {"engine": [], "loop": [], "bulk": []}
    busy: dict[str, list[float]] = {"engine": [], "loop": [], "bulk": []}
    with Scorer(shallow, device="cpu") as scorer:
        scorer.open()
        spec = scorer.checkpoint.preprocess

        def decoded(image: bytes) -> Any:
            (row,) = resized(by_pillow(Picture("", image), scorer.options), spec, scorer.options, False)
            return row[1][None]

        ready = [decoded(image) for image in images]

        def engine() -> None:
            for pixels in ready:
                scorer.backend.run(pixels)

        def loop() -> None:
            for image in images:
                scorer.backend.run(decoded(image))

        def bulk(inputs: Path, name: str) -> tuple[float, float]:
            """Seconds from the open engine to the last marker, and of the processor in all."""
            watch, before = Watch(), _processor()
            run(settings(inputs, shallow, where / name, shard_size=rows), watch)
            return watch.until_last(), _processor() - before

        engine()
        for turn in range(ROUNDS):
            for name, work in (("engine", engine), ("loop", loop)):
                began, before = time.perf_counter(), _processor()
                work()
                wall[name].append((time.perf_counter() - began) / rows)
                busy[name].append((_processor() - before) / rows)
            _, start = bulk(single, f"overhead-start-{turn}")
            seconds, processor = bulk(data, f"overhead-out-{turn}")
            wall["bulk"].append(seconds / rows)
            busy["bulk"].append((processor - start) / (rows - 1))

    def ratio(taken: dict[str, list[float]], one: str, other: str) -> float:
        return statistics.median(a / b for a, b in zip(taken[one], taken[other], strict=True))

    return {
        "rows": rows,
        "bytes_each": statistics.mean(map(len, images)),
        "wall_seconds_each": wall,
        "processor_seconds_each": busy,
        "bulk_to_loop": ratio(wall, "bulk", "loop"),
        "bulk_to_engine": ratio(wall, "bulk", "engine"),
        "loop_to_engine": ratio(wall, "loop", "engine"),
        "processor_bulk_to_loop": ratio(busy, "bulk", "loop"),
        "load": os.getloadavg()[0],
    }


def _processor() -> float:
    """Processor seconds of this process and of its children that have ended."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def memory(where: Path, shallow: Path, tiny: Path) -> dict[str, Any]:
    """Anonymous memory over 200 shards, and above the open model's with portraits, whose bytes fill the queues."""
    data = data_set(where / "memory", 4, 5000, jpegs(64, 64), bad=0.01)
    watch = Watch()
    run(settings(data, tiny, where / "memory-out", shard_size=100), watch)
    fifth = len(watch.worker) // 5
    portraits = data_set(where / "portraits", 1, 1200, jpegs(16, 1024), group=100)
    default = Watch()
    run(settings(portraits, tiny, where / "portraits-out", embeddings="fp32", shard_size=300), default)
    return {
        "shards": len(watch.worker),
        "worker_mb": {
            "second_fifth": statistics.median(watch.worker[fifth : 2 * fifth]),
            "last_fifth": statistics.median(watch.worker[-fifth:]),
        },
        "coordinator_mb": {
            "second_fifth": statistics.median(watch.coordinator[fifth : 2 * fifth]),
            "last_fifth": statistics.median(watch.coordinator[-fifth:]),
        },
        "above_the_open_model_mb": {
            "pictures of 64 pixels": max(watch.worker) - (watch.opened or 0.0),
            "portraits, float32 embeddings": max(default.worker) - (default.opened or 0.0),
        },
    }


def rows(where: Path, shallow: Path, tiny: Path) -> dict[str, Any]:
    """20,000 rows, 1% bad: stopped at random moments and gone on with; what that cost, and that every row is there."""
    data = data_set(where / "rows", 10, 2000, jpegs(64, 64), bad=0.01)
    output, size = where / "rows-out", 1000
    rng = random.Random(0)  # noqa: S311 - no secret
    lost, before = [], 0
    began = time.perf_counter()
    for _ in range(6):
        watch = Watch(stop_at=rng.randrange(200, 4000))
        try:
            run(settings(data, tiny, output, shard_size=size, options=Options(batch_size=8)), watch)
        except KeyboardInterrupt:
            kept = sum(f.marker["rows"] for f in _found(output) if f.marker and f.state == "done")
            lost.append(watch.advanced - (kept - before))
            before = kept
    watch = Watch()
    run(settings(data, tiny, output, shard_size=size, options=Options(batch_size=8)), watch)
    table = pa.concat_tables([pq.read_table(p, columns=["key", "status"]) for p in sorted(output.glob("0*.parquet"))])
    keys = table.column("key").to_pylist()
    counts = {s["values"]: s["counts"] for s in table.column("status").value_counts().to_pylist()}
    assert len(keys) == len(set(keys)) == 20_000
    return {
        "rows": len(keys),
        "counts": counts,
        "stops": len(lost),
        "shard_size": size,
        "rows_scored_again_after_a_stop": lost,
        "seconds_in_all": time.perf_counter() - began,
        "steady_rows_per_second": watch.steady(),
    }


def _found(output: Path) -> Any:
    folder = Folder(output)
    plan = folder.read_plan()
    return folder.look(plan, range(len(plan.shards))).values() if plan is not None else []


def plan(where: Path, shallow: Path, tiny: Path) -> dict[str, Any]:
    """400,000 rows in 100 files: seconds, and how much of the files was read."""
    data = data_set(where / "plan", 100, 4000, [bytes([i]) * 400 for i in range(64)], group=100)
    size = sum(f.stat().st_size for f in data.iterdir())
    taken, read = [], 0
    for turn in range(ROUNDS):
        folder = Folder(where / f"plan-out-{turn}")
        job_settings = settings(data, tiny, folder.path, keep=("emotion",))
        before, began = _bytes_read(), time.perf_counter()
        made, _ = job._plan(job_settings, folder, lambda text: None)
        folder.keep_plan(made)
        taken.append(time.perf_counter() - began)
        read = _bytes_read() - before
    assert made.rows(range(len(made.shards))) == 400_000
    return {
        "rows": 400_000,
        "files": 100,
        "row_groups": 4000,
        "seconds": statistics.median(taken),
        "bytes_of_files": size,
        "bytes_read": read,
    }


def _bytes_read() -> int:
    """By this process, from anywhere, the page cache too."""
    fields = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(fields["rchar"])


def ray(where: Path, shallow: Path, tiny: Path) -> dict[str, Any]:
    """2 actors beside 2 processes, one thread each, in turns: rows a second once all are at work."""
    data = data_set(where / "ray", 1, 240, jpegs(16, 512), group=10)
    taken: dict[str, list[float]] = {"local": [], "ray": []}
    for turn in range(3):
        for engine, rates in taken.items():
            watch = Watch()
            output = where / f"ray-out-{engine}-{turn}"
            job_settings = settings(
                data, shallow, output, devices="cpu,cpu", options=Options(threads=1), shard_size=10, engine=engine
            )
            run(job_settings, watch)
            rates.append(watch.steady())
    same = all(
        p.read_bytes() == (where / "ray-out-ray-0" / p.name).read_bytes()
        for p in sorted((where / "ray-out-local-0").glob("0*.parquet"))
    )
    import ray as package

    return {
        "rows": 240,
        "rows_per_second": {name: statistics.median(values) for name, values in taken.items()},
        "rounds": taken,
        "ray_to_local": statistics.median(r / a for a, r in zip(taken["local"], taken["ray"], strict=True)),
        "same_bytes": same,
        "version": package.__version__,
    }


def repeat(where: Path, shallow: Path, tiny: Path) -> dict[str, Any]:
    """How often the engine gives another last bit for the same picture, by model, precision and threads."""
    noise = np.random.default_rng(0).integers(0, 256, (1, 3, 384, 384), np.uint8)
    counts: dict[str, Any] = {}
    for name, model, runs in (("tiny", tiny, 400), ("shallow", shallow, 40)):
        for precision in ("bf16", "fp32"):
            for threads in (1, 2):
                with Scorer(model, device="cpu", precision=precision, threads=threads) as scorer:
                    side = scorer.checkpoint.vision.image_size
                    pixels = np.ascontiguousarray(noise[:, :, :side, :side])
                    outputs = [scorer.backend.run(pixels).raw.tobytes() for _ in range(runs)]
                usual = max(set(outputs), key=outputs.count)
                others = sum(o != usual for o in outputs)
                counts[f"{name}, {precision}, {threads} threads"] = {"runs": runs, "others": others}
    return counts | {"load": os.getloadavg()[0]}


PARTS = {"repeat": repeat, "overhead": overhead, "memory": memory, "rows": rows, "plan": plan, "ray": ray}


def main() -> None:
    chosen = sys.argv[1:] or list(PARTS)
    unknown = set(chosen) - set(PARTS)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; expected some of {', '.join(PARTS)}")
    where = Path(tempfile.mkdtemp(prefix="emonet-fast-bulk-"))
    os.environ.setdefault("EMONET_FAST_CACHE", str(where / "cache"))
    try:
        models = checkpoints(where)
        for name in chosen:
            began = time.perf_counter()
            figures = PARTS[name](where, *models)
            print(f"{name}: {time.perf_counter() - began:.0f} s\n{json.dumps(figures, indent=1)}", flush=True)
            measurements.keep("bulk", {name: figures})
    finally:
        shutil.rmtree(where)


if __name__ == "__main__":
    main()
