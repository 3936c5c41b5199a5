"""Cold and warm start: a fresh process from its first line to its first score, and what memory it then holds.

Baseline: `published` in a fresh process. cold: nothing compiled yet, weights packed. warm: the engine is in the cache.
Every round starts new processes; a time ends when the process has its score.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import fairness
from benchmarks.harness import Case, Run
from benchmarks.workshop import Workshop
from emonet_fast.backends.base import Outputs
from emonet_fast.options import default_cache_dir

ROOT = Path(__file__).parents[2]
_PUBLISHED = """
import json, sys
from pathlib import Path
from benchmarks.baselines.alone import gpu_memory
from benchmarks.baselines.published import Published
from emonet_fast.process import memory_mb
scores = Published(sys.argv[1], sys.argv[2]).scores([Path(sys.argv[3]).read_bytes()])
print(json.dumps({"embedding": scores.embedding.tolist(), "raw": scores.raw.tolist(), **memory_mb(), **gpu_memory()}))
"""
_OURS = """
import json, sys
from pathlib import Path
import emonet_fast
from emonet_fast.process import memory_mb
with emonet_fast.Scorer(sys.argv[1], device=sys.argv[2], backend=sys.argv[4], precision=sys.argv[5]) as scorer:
    scores = scorer([Path(sys.argv[3]).read_bytes()], embeddings=True)
    print(json.dumps({"embedding": scores.embeddings.tolist(), "raw": scores.raw.tolist(), **memory_mb()}))
"""


def cases(shop: Workshop) -> Iterator[Case]:
    heads = next(iter(shop.checkpoints))
    precisions = {"published": "fp32"}
    # Filled while the processes run: resident memory after the first score, by the side's arguments.
    memory: dict[str, dict[str, float]] = {}
    sides: dict[str, Any] = {"published": lambda: process(shop, heads, memory, _PUBLISHED)}
    few = shop.quick or shop.deep(heads)
    for backend, precision in shop.engines()[-1:] if few else shop.engines():
        for start in ("warm",) if shop.quick else ("cold", "warm"):
            name = f"{backend} {precision}, {start}"
            precisions[name] = precision
            sides[name] = lambda b=backend, p=precision, cold=start == "cold": process(
                shop, heads, memory, _OURS, b, p, cold=cold
            )
    yield Case(
        group=f"start: {heads}",
        inputs=lambda: [shop.portraits(1)[0]],
        sides=sides,
        judge=lambda outputs: fairness.scores(outputs, precisions, shop.checkpoint(heads).names),
        check=1,
        precisions=precisions,
        process=True,
        # A process takes seconds, and its time varies by a hundredth.
        rounds=2 if few else 5,
        info={"heads": heads, "memory_of_the_process_mb": memory},
    )


def test_start(side: Any) -> None:
    side()


def process(
    shop: Workshop, heads: str, memory: dict[str, dict[str, float]], code: str, *options: str, cold: bool = False
) -> Run:
    """Runs the code in a new process; cold: with a cache that holds the packed weights and no engine.

    memory: gets what the process says of its own.
    """
    name = " ".join([*options, "cold" if cold else "warm"]) if options else "published"
    shop.checkpoint(heads)  # packed by now

    def run(data: bytes) -> Outputs:
        with tempfile.TemporaryDirectory(prefix="emonet-fast-bench-") as folder:
            picture = Path(folder) / "picture.jpg"
            picture.write_bytes(data)
            environment = dict(os.environ)
            if cold:
                environment["EMONET_FAST_CACHE"] = str(without_engines(Path(folder) / "cache"))
            where = [shop.checkpoints[heads], str(shop.device), str(picture)]
            command = [sys.executable, "-c", code, *where, *options]
            done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "the process failed")
        scores = json.loads(done.stdout.splitlines()[-1])
        memory[name] = {k: round(v, 1) for k, v in scores.items() if k not in ("embedding", "raw")}
        return Outputs(*(np.asarray(scores[key], np.float32) for key in ("embedding", "raw")))

    return run


def without_engines(folder: Path) -> Path:
    """The cache's packed weights by links, and nothing else of it."""
    real = default_cache_dir()
    folder.mkdir()
    for entry in real.iterdir():
        if entry.name != "engines":
            (folder / entry.name).symlink_to(entry)
    return folder
