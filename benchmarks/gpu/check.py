"""GPU tests and GPU benchmarks in one run: `make gpu-check`.

Parts run in the order of their worth; each is tried by itself, and the results are written after each, so that one
failure or an early end loses nothing else. What does not fit into the time budget is skipped, and the results say so.
Needs PyTorch, Triton, numpy, pytest, transformers and safetensors, and no network.

--dry runs every part on CPU tensors with a tiny model: it proves the scripts and measures nothing.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
if "--dry" in sys.argv:  # before the first import of Triton
    os.environ["TRITON_INTERPRET"] = "1"

import torch  # noqa: E402

from benchmarks.gpu import accuracy, backbone, baselines, ceilings, decoding, facts, kernels, memory, outside  # noqa: E402
from benchmarks.gpu.context import Context, describe  # noqa: E402
from benchmarks.gpu.table import bars_table, markdown  # noqa: E402
from emonet_fast import __version__  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
SCHEMA = 1
BUDGET = 470.0
TESTS = ("tests/kernels", "tests/backends/cuda", "tests/decoders/test_dali_gpu.py")


@dataclass(frozen=True)
class Part:
    """measure: its results. cost: seconds that must be left to begin it.

    model: needs the checkpoint. alone: in a process of its own, which is stopped when the parts after it need the rest.
    """

    name: str
    measure: Callable[[Context], dict[str, Any]]
    cost: float
    model: bool = True
    alone: bool = False


PARTS = (
    Part("ceilings", ceilings.measure, 15, model=False),
    Part("accuracy", accuracy.measure, 60),
    Part("backbone", backbone.measure, 50),
    Part("baselines", baselines.measure, 30),
    Part("compiled", baselines.compiled, 60, alone=True),
    Part("memory", memory.measure, 25, alone=True),
    Part("decoding", decoding.measure, 45, alone=True),
    Part("kernels", kernels.measure, 65, model=False),
)


class Run:
    """The results so far, and where they are written."""

    def __init__(
        self, asked: argparse.Namespace, context: Context, began: float, order: tuple[Part, ...] = PARTS
    ) -> None:
        self.asked, self.context, self.began, self.order = asked, context, began, order
        self.parts: dict[str, Any] = {}
        self.broken = False
        now = datetime.now(UTC)
        self.doc: dict[str, Any] = {
            "schema": SCHEMA,
            "date": now.date().isoformat(),
            "time": now.strftime("%H:%M UTC"),
            "dry": asked.dry,
            "budget": asked.budget,
            "seconds": 0.0,
            "parts": self.parts,
        }
        context.found, context.left = self.parts, self.left
        self.path: Path | None = None

    def left(self) -> float:
        return float(self.asked.budget - (time.monotonic() - self.began))

    def part(self, part: Part) -> None:
        """Run, skip or record as failed; never raises."""
        began = time.monotonic()
        why = self.skipped(part)
        if why:
            found: dict[str, Any] = {"status": "skipped", "note": why}
        else:
            say(self, f"{part.name} ...")
            try:
                found = {"status": "ok", **self.measured(part)}
            except Exception as error:
                print(f"{part.name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
                found = {"status": "failed", "error": describe(error), "where": outside.where(error)}
        self.keep(part.name, found, time.monotonic() - began)
        try:
            self.context.free()
        except Exception as error:  # an illegal access leaves a process without a GPU for good
            say(self, f"{describe(error)}: the parts after {part.name} run in processes of their own")
            self.broken = True

    def skipped(self, part: Part) -> str:
        if self.asked.only and part.name not in (*self.asked.only, "facts"):
            return "not asked for"
        if part.model and self.context.checkpoint is None:
            return "there is no checkpoint"
        if self.left() < part.cost and not self.asked.dry:
            return f"{self.left():.0f} s of the budget left, {part.cost:.0f} needed"
        return ""

    def measured(self, part: Part) -> dict[str, Any]:
        if self.asked.dry or not (part.alone or self.broken):
            return part.measure(self.context)
        options = ["--part", part.name, "--device", str(self.context.device)]
        later = sum(other.cost for other in self.after(part))
        return outside.part_alone(options, self.context, self.parts, max(part.cost, self.left() - 5 - later))

    def after(self, part: Part) -> tuple[Part, ...]:
        return self.order[self.order.index(part) + 1 :] if part in self.order else ()

    def keep(self, name: str, found: dict[str, Any], seconds: float) -> None:
        self.parts[name] = outside.clean({**found, "seconds": round(seconds, 2)})
        self.write()

    def write(self) -> None:
        """Both files, whole or not at all."""
        self.doc["seconds"] = round(time.monotonic() - self.began, 2)
        if self.path is None:
            self.path = outside.new_file(
                self.asked.results, self.parts["facts"].get("card", "unknown"), self.doc["date"]
            )
        outside.replace(self.path, json.dumps(self.doc, indent=1, allow_nan=False) + "\n")
        try:
            text = markdown(self.doc)
        except Exception as error:  # a figure in an unforeseen form must not end the run
            text = f"The JSON beside this file could not be turned into a table: {describe(error)}\n"
        outside.replace(self.path.with_suffix(".md"), text)


def say(run: Run, what: str) -> None:
    print(f"[{time.monotonic() - run.began:4.0f} s] {what}", flush=True)


def main(arguments: list[str] | None = None, parts: tuple[Part, ...] = PARTS) -> int:
    asked = options(arguments)
    began = time.monotonic()
    device = torch.device(asked.device)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            sys.exit("gpu-check: PyTorch finds no GPU here; --dry proves the scripts on CPU tensors")
        device = torch.device("cuda", device.index or 0)
    if asked.part:
        return outside.child(asked, device, {part.name: part.measure for part in parts})
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with tempfile.TemporaryDirectory(prefix="emonet-fast-gpu-check-") as name:
        folder = Path(name)
        run = Run(asked, Context(device, asked.dry, folder / "cache"), began, parts)
        run.part(Part("facts", facts.measure, 0, model=False))
        making = outside.Making(folder, asked)
        if asked.tests:
            say(run, "tests ...")
            run.keep("tests", *outside.pytest(asked.tests, folder, asked.tests_limit))
        say(run, "checkpoint ...")
        run.context.checkpoint, found, seconds = making.result(max(30.0, run.left() - 60))
        run.keep("checkpoint", found, seconds)
        for part in parts:
            run.part(part)
    return report(run)


def report(run: Run) -> int:
    """Prints the short table; 1 where a part or a test failed."""
    print()
    print("\n".join(bars_table(run.parts, dry=run.asked.dry)))
    for name, part in run.parts.items():
        note = part.get("note") or part.get("error") or part.get("summary") or ""
        print(f"{name:12} {part['status']:8} {part['seconds']:6.1f} s  {note}")
    print(f"{run.doc['seconds']:.0f} s, emonet-fast {__version__}; written: {run.path}")
    return int(any(part["status"] == "failed" for part in run.parts.values()))


def options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="tiny model on CPU tensors")
    parser.add_argument("--device", help="cuda, cuda:N or cpu (with --dry)")
    parser.add_argument("--results", type=Path, help="folder of the two files")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for everything (%(default)s)")
    parser.add_argument("--tests", nargs="*", help=f"what pytest runs (default: {' '.join(TESTS)}); nothing: no tests")
    parser.add_argument("--tests-limit", type=float, default=150.0, help="seconds for the tests (%(default)s)")
    parser.add_argument("--only", nargs="+", help="these parts only")
    parser.add_argument("--layers", type=int, default=27, help="layers of the synthetic checkpoint (%(default)s)")
    for name in ("part", "packed", "found", "out"):  # between this program and its own processes
        parser.add_argument(f"--{name}", help=argparse.SUPPRESS)
    asked = parser.parse_args(arguments)
    if asked.tests is None:  # in the interpreter, the kernels' tests take minutes
        asked.tests = ["tests/engines"] if asked.dry else list(TESTS)
    asked.device = asked.device or ("cpu" if asked.dry else "cuda")
    if asked.device == "cpu" and not asked.dry and not asked.part:
        parser.error("--device cpu needs --dry")
    asked.results = asked.results or (ROOT / "build" / "gpu-check" / "dry" if asked.dry else RESULTS)
    return asked


if __name__ == "__main__":
    sys.exit(main())
