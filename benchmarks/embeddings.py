"""Rescoring stored embeddings: rows a second, memory by the number of rows, what float16 costs in the scores.

    python -m benchmarks.embeddings FOLDER [--heads large] [--rows 20000 100000]
    python -m benchmarks.embeddings FOLDER --beside CHECKPOINT [--pictures 16]

Writes a checkpoint of one layer and .npy files below FOLDER (4.6 kB a row), and prints figures. The rows are those of
drawn pictures with noise, as far from each other as the pictures are. Each size is scored by the command, in a process
of its own; beside it stands what the machine's float32 allows, by NumPy's matrix product. --beside times drawn pictures
through a whole checkpoint, encoder and all, and their embeddings through its heads, in one run.
"""

import argparse
import itertools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from emonet_fast import Scorer
from emonet_fast.engines.drawing import calibration_pictures
from emonet_fast.testing.synthetic import write_synthetic

# Runs the command, and says the peak of its memory at its end: of itself alone (Linux), as getrusage also counts that
# of whoever started it.
_COMMAND = """
import resource, sys
from emonet_fast.commands import main
sys.argv = ["emonet-fast", *sys.argv[1:]]
status = main._run()
peak = int(open("/proc/self/status").read().partition("VmHWM:")[2].split()[0]) // 1024
used = resource.getrusage(resource.RUSAGE_SELF)
print("peak", peak, round(used.ru_utime + used.ru_stime))
sys.exit(status)
"""


def vectors(base: np.ndarray, rows: int, seed: int) -> np.ndarray:
    """[rows, width] float32 around the pictures' embeddings."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((rows, base.shape[1]), np.float32) * base.std(axis=0)
    return base[rng.integers(0, len(base), rows)] + noise


def write(path: Path, base: np.ndarray, rows: int) -> None:
    """A .npy file, block by block."""
    with path.open("wb") as file:
        shape = (rows, base.shape[1])
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": shape})
        block = vectors(base, min(10_000, rows), 0)
        for start in range(0, rows, 10_000):  # longer each time: a million rows are drawn quickly
            (block[: rows - start] * np.float32(1 + start / rows)).tofile(file)


def float32_limit() -> float:
    """GFLOP/s of the best of five float32 matrix products."""
    a = np.random.default_rng(0).standard_normal((4096, 4096), np.float32)
    times = []
    for _ in range(5):
        began = time.perf_counter()
        a @ a
        times.append(time.perf_counter() - began)
    return 2 * 4096**3 / min(times) / 1e9


def beside(checkpoint: str, cache: Path, pictures: int) -> None:
    """Seconds a picture, and a stored embedding, of one checkpoint in one run: wall and processor."""
    drawn = calibration_pictures(pictures, 5)
    with Scorer(checkpoint, cache_dir=cache) as scorer:
        scores = scorer(drawn[:2], embeddings=True, progress=False)
        assert scores.embeddings is not None
        rows = np.tile(scores.embeddings, (1024, 1))
        scorer.score_embeddings(rows[:256], progress=False)
        costs = []
        for name, count, work in (
            ("pictures", len(drawn), lambda: scorer(drawn, progress=False)),
            ("embeddings", len(rows), lambda: scorer.score_embeddings(rows, progress=False)),
        ):
            wall, used = time.perf_counter(), time.process_time()
            work()
            wall, used = time.perf_counter() - wall, time.process_time() - used
            costs.append((wall / count, used / count))
            print(f"{name}: {count / wall:,.2f} a second, {used / count * 1000:,.3f} ms of processor for each")
        factors = [a / b for a, b in zip(*costs, strict=True)]
    print(f"embeddings are {factors[0]:,.0f} times as fast, by processor time {factors[1]:,.0f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--heads", choices=["large", "small"], default="large")
    parser.add_argument("--rows", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--beside", metavar="CHECKPOINT")
    parser.add_argument("--pictures", type=int, default=16)
    given = parser.parse_args()
    folder: Path = given.folder
    checkpoint, cache = folder / f"{given.heads}-1", folder / "cache"
    if given.beside:
        beside(given.beside, cache, given.pictures)
        return
    if not checkpoint.exists():
        write_synthetic(checkpoint, heads=given.heads, layers=1)
    with Scorer(checkpoint, cache_dir=cache) as scorer:
        base = scorer(calibration_pictures(24, 5), embeddings=True, progress=False).embeddings
        assert base is not None
        sample = vectors(base, 2048, 1)
        full = scorer.score_embeddings(sample, progress=False)
        began = time.perf_counter()
        full = scorer.score_embeddings(sample, progress=False)
        seconds = time.perf_counter() - began
        half = scorer.score_embeddings(sample.astype(np.float16), progress=False)
        widths, names = scorer.checkpoint.head_widths, scorer.checkpoint.names
    work = 2 * len(names) * sum(a * b for a, b in itertools.pairwise(widths)) / 1e9
    limit = float32_limit()
    error = np.abs(half.raw - full.raw)
    first = np.mean([a == b for a, b in zip(half.dominant, full.dominant, strict=True)])
    print(f"{len(names)} {given.heads} heads: {work:.4f} GFLOP a row")
    print(f"float32 by NumPy: {limit:.0f} GFLOP/s, which allows {limit / work:,.0f} rows/s")
    print(f"in memory: {len(sample) / seconds:,.0f} rows/s")
    print(
        f"float16: largest error of a raw score {error.max():.2e}, mean {error.mean():.1e}, spread of a head "
        f"{full.raw.std(axis=0).mean():.2f}; first emotion the same in {first:.2%} of the rows"
    )
    for rows in given.rows:
        path, out = folder / f"{rows}.npy", folder / f"{rows}.parquet"
        if not path.exists():
            write(path, base, rows)
        out.unlink(missing_ok=True)
        command = [sys.executable, "-c", _COMMAND, "score", path, "-c", checkpoint, "--cache-dir", cache, "-o", out]
        began = time.perf_counter()
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, env=os.environ)
        seconds = time.perf_counter() - began
        peak, processor = done.stdout.split("peak ")[1].split()[:2]
        print(
            f"{rows:,} rows by the command: {rows / seconds:,.0f} rows/s with its start, {seconds:.0f} s and "
            f"{processor} s of processor, peak memory {peak} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
