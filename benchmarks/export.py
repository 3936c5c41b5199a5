"""Exported models: seconds and memory of the export, how far it is from the engine, how fast ONNX Runtime runs it.

    python -m benchmarks.export CHECKPOINT FOLDER [--precision fp32] [--pictures 16] [--rounds 5] [--only write speed]

Writes FOLDER/exported.onnx and, anew, the folder FOLDER/openvino, prints figures. `write`, `openvino` and `open` are
processes of their own, for their peak of memory; of their seconds those of the processor stay true on a busy machine.
`speed` lets the exported model and the graph of the baseline `onnxruntime` take turns over the same pixels.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines.onnx_runtime import session as baseline
from emonet_fast.backends.openvino.backend import OpenVinoBackend
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.spec import Checkpoint
from emonet_fast.engines.pictures import generated_pixels
from emonet_fast.optional import import_onnxruntime, openvino_core
from emonet_fast.options import default_cache_dir

# Runs code, and says the seconds and the peaks of memory at its end.
_WATCHED = """
import json, resource, sys, threading, time
from emonet_fast.process import memory_mb
anonymous, ended = [0.0], threading.Event()
def watch():
    while not ended.wait(0.05):
        anonymous[0] = max(anonymous[0], memory_mb().get("anonymous", 0.0))
watcher = threading.Thread(target=watch)
watcher.start()
began = time.perf_counter()
{code}
seconds = time.perf_counter() - began
ended.set()
watcher.join()
used = resource.getrusage(resource.RUSAGE_SELF)
times = {{"seconds": seconds, "user_seconds": used.ru_utime, "system_seconds": used.ru_stime}}
print(json.dumps(times | {{"peak_mb": memory_mb()["peak"], "anonymous_mb": anonymous[0]}}))
"""
_EXPORT = """
from emonet_fast.commands import main
sys.argv = ["emonet-fast", "export", *sys.argv[1:]]
status = main._run()
if status:
    sys.exit(status)
"""
_OPEN = """
import onnxruntime
onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
"""
_SEED = 9


def watched(code: str, *arguments: str) -> dict[str, float]:
    """Run code in a process of its own: seconds, and MB of memory at its peak, with and without pages of files."""
    command = [sys.executable, "-c", _WATCHED.format(code=code), *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def exact(checkpoint: Checkpoint, model: Path, pictures: int) -> dict[str, Any]:
    """The largest error of a raw score and the lowest cosine of an embedding, against the float32 engine."""
    pixels = generated_pixels(checkpoint, pictures, _SEED)
    engine = OpenVinoBackend(checkpoint, "fp32", cache_dir=default_cache_dir())
    want = [engine.run(pixels[i : i + 1]) for i in range(len(pixels))]
    engine.close()
    raw, embedding = (np.concatenate([getattr(one, kind) for one in want]) for kind in ("raw", "embedding"))
    found: dict[str, Any] = {"pictures": pictures, "heads": raw.shape[1], "spread": float(raw.std(axis=0).mean())}
    for name, run in (("onnxruntime", in_onnxruntime(model)), ("openvino", in_openvino(model))):
        parts = [run(one[None].transpose(0, 2, 3, 1)) for one in pixels]
        got, vectors = (np.concatenate([part[i] for part in parts]) for i in (0, 1))
        spread = raw.std(axis=0)
        cosines = (vectors * embedding).sum(1) / np.linalg.norm(vectors, axis=1) / np.linalg.norm(embedding, axis=1)
        found[name] = {
            "error": float(np.abs(got - raw).max()),
            "rms_of_spread": float(np.sqrt((((got - raw) / spread) ** 2).mean())),
            "cosine": float(cosines.min()),
            "top1": float((got.argmax(1) == raw.argmax(1)).mean()),
        }
    return found


def in_onnxruntime(model: Path) -> Callable[[Any], Any]:
    session = import_onnxruntime().InferenceSession(model, providers=["CPUExecutionProvider"])
    return lambda x: session.run(["raw", "embedding"], {"pixels": np.ascontiguousarray(x)})


def in_openvino(model: Path) -> Callable[[Any], Any]:
    compiled = openvino_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(x: Any) -> Any:
        found = compiled({"pixels": np.ascontiguousarray(x)})
        return found["raw"].copy(), found["embedding"].copy()

    return run


def speed(checkpoint: Checkpoint, model: Path, rounds: int) -> dict[str, Any]:
    """Seconds an image of both in ONNX Runtime, in turns; `factor` is the median of the rounds' ratios."""
    pixels = generated_pixels(checkpoint, 1, _SEED)
    other, exported = baseline(checkpoint, "CPUExecutionProvider"), in_onnxruntime(model)
    runs: dict[str, Callable[[], Any]] = {
        "baseline": lambda: other.run(["embedding", "raw"], {"pixels": pixels}),
        "exported": lambda: exported(pixels.transpose(0, 2, 3, 1)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(rounds + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - began)
    ratios = [b / e for b, e in zip(seconds["baseline"], seconds["exported"], strict=True)]
    return {name: statistics.median(values) for name, values in seconds.items()} | {
        "factor": statistics.median(ratios),
        "ratios": ratios,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--precision", default="fp32", choices=["fp32", "fp16", "int8"])
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", choices=["write", "openvino", "open", "exact", "speed"])
    options = parser.parse_args()
    model, folder = options.folder / "exported.onnx", options.folder / "openvino"
    opened = open_checkpoint(options.checkpoint, default_cache_dir())
    common = ("-c", options.checkpoint, "--precision", options.precision)

    def write_openvino() -> dict[str, float]:
        shutil.rmtree(folder, ignore_errors=True)
        return watched(_EXPORT, *common, "-o", str(folder), "--format", "openvino")

    steps: dict[str, Callable[[], Any]] = {
        "write": lambda: watched(_EXPORT, *common, "-o", str(model)),
        "openvino": write_openvino,
        "open": lambda: watched(_OPEN, str(model)),
        "exact": lambda: exact(opened, model, options.pictures),
        "speed": lambda: speed(opened, model, options.rounds),
    }
    for name, step in steps.items():
        if not options.only or name in options.only:
            print(name, json.dumps(step()), flush=True)


if __name__ == "__main__":
    main()
