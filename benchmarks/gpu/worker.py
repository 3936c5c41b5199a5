"""The process that measures: it takes the names of parts from its input, and tells each row as soon as it is known.

One line of JSON each way. In: {"part", "found", "beside"}. Out: {"row"}, {"tell"}, and {"end"} after each part. What
libraries print goes to the standard error, which the run keeps as a log. `check.py` starts it, and ends it where a part
takes too long; it ends by itself with the process that started it.
"""

import argparse
import ctypes
import json
import math
import os
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

# Where a part's function is: modules of this folder, imported when they are needed.
MEASURES = {
    "facts": "facts.measure", "kernels": "kernels.once", "bf16": "backbone.bf16", "fp8": "backbone.fp8",
    "heads": "heads.measure", "compiled": "baselines.compiled", "accuracy": "accuracy.measure",
    "certified": "backbone.certified", "tests": "tests.measure", "attention": "backbone.attention",
    "ceilings": "ceilings.measure", "memory": "memory.measure", "gemm": "kernels.tables", "rows": "kernels.timed",
    "memcheck": "kernels.small", "interop": "interop.measure", "baselines": "baselines.measure",
    "host": "backbone.host", "decoding": "decoding.measure",
    # In the background:
    "fill": "baselines.fill", "checkpoint": "checkpoints.make",
}  # fmt: skip
# Those that take the checkpoint of the run; the others take weights made on the device, or none.
WITH_CHECKPOINT = ("accuracy", "certified", "memory", "interop", "host", "decoding")
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG


def main() -> None:
    asked = options()
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_END_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:
        return
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def send(kind: str, value: Any) -> None:
        out.write(json.dumps({kind: clean(value)}, allow_nan=False) + "\n")

    context = opened(asked, send)
    for line in sys.stdin:
        order = json.loads(line)
        context.found, context.beside = order["found"], order["beside"]
        send("end", measured(order["part"], context, asked))


def opened(asked: argparse.Namespace, send: Callable[[str, Any], None]) -> Any:
    if asked.dry:  # before the first import of Triton; more threads only wait for each other over so small tensors
        os.environ |= {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    if asked.uncached:  # each tensor is an allocation of its own, so that what lies beside it is nobody's
        os.environ["PYTORCH_NO_CUDA_MEMORY_CACHING"] = "1"
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # JAX would take most of the GPU's memory
    for name, folder in (("TORCHINDUCTOR_CACHE_DIR", "inductor"), ("TRITON_CACHE_DIR", "triton")):
        os.environ.setdefault(name, str(asked.work / folder))
    import torch

    from benchmarks.gpu.context import Context

    device = torch.device(asked.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            sys.exit("PyTorch finds no GPU here; --dry proves the scripts on CPU tensors")
        device = torch.device("cuda", device.index or 0)
    context = Context(device, asked.dry, asked.work, tests=asked.tests)
    context.row, context.tell = lambda row: send("row", row), lambda figures: send("tell", figures)
    return context


def measured(part: str, context: Any, asked: argparse.Namespace) -> dict[str, Any]:
    """What a part found, or how it failed; "broken" where this process has lost its GPU for good."""
    import torch

    from benchmarks.gpu import checkpoints
    from benchmarks.gpu.context import describe
    from benchmarks.gpu.engines import described

    module, _, function = MEASURES[part].partition(".")
    found: dict[str, Any] = {"status": "ok"}
    try:
        if context.cuda and part != "memory":  # which reads the driver's figure before there is a context
            torch.cuda.set_device(context.device)
        context.network = described(asked.dry, asked.layers)
        if part in WITH_CHECKPOINT:
            context.network = context.checkpoint = checkpoints.opened(context)
        found |= getattr(import_module(f"benchmarks.gpu.{module}"), function)(context)
    except Exception as error:
        traceback.print_exc()
        found = {"status": "failed", "error": describe(error), "where": where(error)}
    try:
        context.free()
    except Exception as error:  # an illegal access leaves a process without a GPU
        found["broken"] = describe(error)
    return found


def clean(value: Any) -> Any:
    """What JSON can hold: a number that is none becomes a text."""
    if isinstance(value, dict):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def where(error: BaseException) -> list[str]:
    """file:line of the frames, file names alone."""
    return [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(error.__traceback__)[-6:]]


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--uncached", action="store_true")
    parser.add_argument("--device", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--layers", type=int, required=True)
    parser.add_argument("--tests", nargs="*", default=[])
    return parser.parse_args()


if __name__ == "__main__":
    main()
