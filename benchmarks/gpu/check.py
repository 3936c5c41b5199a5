"""GPU tests and GPU benchmarks for a machine that is lent for minutes: `make gpu-check`.

Parts run in the order of their worth. Each row is printed and stored as soon as it is known, so that an end at any
moment loses nothing that was measured. --until SECONDS ends the run by itself. A run goes on with an earlier one of the
same commit and card that is not at its end, so two calls fill a lease: `--until 240`, then `--until 480`. The earlier
one is looked for where this one writes, in the folder of work on this machine, and in benchmarks/results/.

Needs PyTorch, Triton, numpy, Pillow, pytest, transformers and safetensors, and no network.
--dry runs every part on CPU tensors with a tiny model: it proves the scripts and measures nothing.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import which
from tempfile import gettempdir
from typing import Any

from benchmarks.gpu.install import ROOT, install
from benchmarks.gpu.parts import BACKGROUND, PARTS, Part
from benchmarks.gpu.processes import EndedError, LateError, Process
from benchmarks.gpu.results import Results, commit
from benchmarks.gpu.table import bars_table, row_line
from emonet_fast.trust import foreign, make_own_folder

BEGAN = time.monotonic()  # nothing that takes time was imported yet
STORED = ROOT / "benchmarks" / "results"
TESTS = ("tests/backends/cuda", "tests/kernels", "tests/decoders/test_dali_gpu.py")
UNTIL = 840.0
SPARE = 2.0  # seconds to end the processes and to write


class StoppedError(Exception):
    """By a signal."""


class Run:
    """The processes of one run, and its results."""

    def __init__(self, asked: argparse.Namespace, parts: Sequence[Part], worker: Sequence[str], began: float) -> None:
        self.asked, self.parts, self.work, self.began = asked, parts, asked.work, began
        options = ["--device", asked.device, "--work", str(asked.work), "--layers", str(asked.layers)]
        self.command = [*worker, *(["--dry"] if asked.dry else []), *options, "--tests", *asked.tests]
        about = {"commit": asked.commit, "dry": asked.dry, "layers": asked.layers}
        self.results = Results(asked.results, asked.work, began, about)
        self.main: Process | None = None
        self.beside: dict[str, Process] = {}

    def left(self) -> float:
        return float(self.asked.until - SPARE - (time.monotonic() - self.began))

    def say(self, text: str) -> None:
        print(f"[{time.monotonic() - self.began:4.0f} s] {text}", flush=True)

    def start(self, name: str, under: Sequence[str] = ()) -> Process:
        watched = ["--uncached"] if under else []
        return Process([*under, *self.command, *watched], self.work / "tree", self.work / f"{name}.log")

    def all(self) -> None:
        """Every part that is asked for and not done; raises StoppedError."""
        install(self.work / "tree")
        self.main = self.start("main")
        began = time.monotonic()
        facts = self.ask(self.main, Part("facts", 0, 0, 120), keep=False)
        self.begin(facts | {"seconds": round(time.monotonic() - began, 2)})
        asked = [part for part in self.parts if part.name in (self.asked.only or [part.name])]
        left = [part for part in asked if not self.results.done(part.name)]
        for name in BACKGROUND[: 1 if self.asked.dry else None]:  # a dry run compiles nothing
            if any(part.after == name for part in left):
                self.beside[name] = self.start(name)
                self.beside[name].order(part=name, found={}, beside=[])
        while left:
            self.look_beside()
            part = self.next(left)
            if part is not None:
                left.remove(part)
                self.one(part)
        self.results.doc["finished"] = all(self.results.done(part.name) for part in self.parts)
        self.results.write()

    def next(self, left: Sequence[Part]) -> Part | None:
        """The first part; another one while that has to wait for the background. None: look again.

        Parts of their own take minutes, and are not begun before the waiting one is about to be late.
        """
        first, ready = left[0], [part for part in left if part.after not in self.beside]
        short = [part for part in ready if not part.alone]
        begins = self.began + first.by - first.cost
        if first in ready or (not ready and time.monotonic() > begins):
            return first
        if short or time.monotonic() > begins:
            return [*short, *ready][0]
        self.look_beside(first.after, min(begins, time.monotonic() + self.left()))
        return first if self.left() <= 0 else None

    def begin(self, facts: dict[str, Any]) -> None:
        if facts["status"] != "ok":
            sys.exit(f"gpu-check: {facts['error']}\n" + "\n".join(facts.get("tail", [])))
        self.results.open(facts, [self.asked.results, self.work, STORED])
        self.say(f"{self.results.doc['card']}; results in {self.results.path.name}")

    def look_beside(self, name: str = "", until: float = 0.0) -> None:
        """Take note of what has ended in the background, waiting for `name`."""
        for other, process in list(self.beside.items()):
            try:
                events = process.events(until if other == name else 0.0)
                found = next(event["end"] for event in events if "end" in event)
            except LateError:
                continue
            except EndedError as error:
                found = {"status": "failed", "error": str(error), "tail": process.tail()}
            process.kill()
            del self.beside[other]
            self.say(f"{other}, in the background: {found['status']}")
            self.results.end(other, time.monotonic() - self.began, found)

    def one(self, part: Part) -> None:
        why = self.skipped(part)
        if not why and part.after in self.beside:
            self.look_beside(part.after, time.monotonic() + self.left() - part.cost)
            why = self.skipped(part)
        if why:
            self.say(f"{part.name}: skipped, {why}")
            self.results.end(part.name, 0.0, {"status": "skipped", "note": why})
            return
        began = time.monotonic()
        self.results.parts[part.name] = {"status": "running", "seconds": 0.0}
        self.results.write()
        process = self.start(part.name, part.under) if self.alone(part) else self.main
        if process is None or process.ended:
            process = self.main = self.start("main")
        try:
            found = self.ask(process, part)
        except StoppedError:
            self.results.end(part.name, time.monotonic() - began, {"status": "stopped"})
            raise
        if part.under and self.alone(part) and found["status"] == "ok":
            found |= self.verdict(process, part.name)
        if process is not self.main or found["status"] == "stopped" or "broken" in found:
            process.kill()
        at = time.monotonic() - self.began
        if len(self.results.doc["runs"]) == 1:
            found |= {"at": round(at, 1), "by": part.by}
        self.results.end(part.name, time.monotonic() - began, found)
        late = f", by {part.by:.0f} s it should have been" if found.get("at", 0.0) > part.by else ""
        self.say(f"{part.name}: {found['status']}{late} {found.get('error') or found.get('note') or ''}")

    def verdict(self, process: Process, name: str) -> dict[str, Any]:
        """How the program ended that a part ran under, and the end of its report."""
        try:
            status = process.finish(self.left())
        except LateError:
            return {"status": "stopped", "note": "before its program had ended"}
        report = (self.work / f"{name}.report").read_text("utf-8", "replace").splitlines()[-25:]
        return {"tail": report} | ({"status": "failed", "error": f"exit status {status}"} if status else {})

    def alone(self, part: Part) -> bool:
        return part.alone and not self.asked.dry  # a process costs more than all of a dry part

    def skipped(self, part: Part) -> str:
        if part.under and not self.asked.dry and which(part.under[0]) is None:
            return f"{part.under[0]} is not installed"
        if self.results.parts.get(part.after, {}).get("status") == "failed" and part.after == "checkpoint":
            return "there is no checkpoint"
        if self.left() < (0.0 if self.asked.dry else part.cost):
            return f"{max(0.0, self.left()):.0f} s left, {part.cost:.0f} needed"
        return ""

    def ask(self, process: Process, part: Part, *, keep: bool = True) -> dict[str, Any]:
        """What the part found in the end; its rows are kept and shown as they come."""
        groups = [other.group for other in self.beside.values()]
        process.order(part=part.name, found=self.results.parts, beside=groups)
        limit = min(part.limit, self.left())
        found: dict[str, Any] = {}
        try:
            for event in process.events(time.monotonic() + limit):
                if keep and "end" not in event:
                    self.results.take(part.name, event)
                if "row" in event:
                    self.say(f"{part.name}: {row_line(event['row'])}")
                elif "tell" in event and "summary" not in event["tell"]:  # not after each test
                    self.say(f"{part.name}: {json.dumps(event['tell'])[:200]}")
                found = event.get("end", {})
        except LateError:
            return {"status": "stopped", "note": f"after {limit:.0f} s"}
        except EndedError as error:
            return {"status": "failed", "error": str(error), "tail": process.tail()}
        finally:
            for other in self.beside.values():
                other.go_on()
        return found

    def close(self) -> None:
        for process in (self.main, *self.beside.values()):
            if process is not None:
                process.kill()


def main(
    arguments: list[str] | None = None,
    parts: Sequence[Part] = PARTS,
    worker: Sequence[str] = (sys.executable, "-m", "benchmarks.gpu.worker"),
    began: float = BEGAN,
) -> int:
    run = Run(options(arguments), parts, worker, began)

    def stop(*_: object) -> None:
        raise StoppedError

    before = signal.signal(signal.SIGTERM, stop)
    try:
        run.all()
    except (StoppedError, KeyboardInterrupt):
        run.say("stopped")
    finally:
        run.close()
        signal.signal(signal.SIGTERM, before)
    return report(run)


def report(run: Run) -> int:
    """Prints the short table; 1 where a part or a test failed."""
    parts = run.results.parts
    print("\n" + "\n".join(bars_table(parts, dry=run.asked.dry)))
    for name, part in parts.items():
        note = part.get("note") or part.get("error") or part.get("summary") or ""
        print(f"{name:12} {part['status']:8} {part['seconds']:6.1f} s  {note}")
    print(f"{time.monotonic() - run.began:.0f} s; written: {run.results.path}")
    return int(any(part["status"] == "failed" for part in parts.values()))


def options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry", action="store_true", help="tiny model on CPU tensors")
    parser.add_argument("--until", type=float, default=UNTIL, help="seconds after which it ends (%(default).0f)")
    parser.add_argument("--results", type=Path, help="folder of the two files")
    parser.add_argument("--commit", default=commit(), help="of these sources, where git cannot say it")
    parser.add_argument("--device", help="cuda, cuda:N or cpu (with --dry)")
    parser.add_argument("--only", nargs="+", default=[], help="these parts only")
    parser.add_argument("--tests", nargs="*", help=f"what pytest runs (default: {' '.join(TESTS)})")
    parser.add_argument("--layers", type=int, default=27, help="layers of the network (%(default)s)")
    parser.add_argument("--work", type=Path, help="folder of what lasts from run to run")
    asked = parser.parse_args(arguments)
    if asked.tests is None:  # in the interpreter, the kernels' tests take minutes
        asked.tests = ["tests/engines"] if asked.dry else list(TESTS)
    asked.device = asked.device or ("cpu" if asked.dry else "cuda")
    if asked.device == "cpu" and not asked.dry:
        parser.error("--device cpu needs --dry")
    asked.work = own((asked.work or ROOT / "build" / "gpu-check" / ("dry" if asked.dry else "work")).resolve())
    asked.results = (asked.results or (asked.work if asked.dry else STORED)).resolve()
    return asked


def own(work: Path) -> Path:
    """`work`, or one of its name among temporary files, where the package would use no cache in it (see trust.py).

    As where root runs in a checkout that another user's archive gave its owners.
    """
    make_own_folder(work)
    fault = foreign(work)
    other = Path(gettempdir(), f"emonet-fast-gpu-check-{os.getuid()}", work.name)
    if fault is not None:
        make_own_folder(other)
        print(f"gpu-check: works in {other}, since {fault}", flush=True)
    return work if fault is None else other


if __name__ == "__main__":
    sys.exit(main())
