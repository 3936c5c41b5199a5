"""Runs a kind's cases in a process of its own, and says at which seed it crashed, hung, grew or was wrong."""

import os
import queue
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

HANG_SECONDS = 20.0
GROWTH_MB = 1000
# Opening the model and what else the cases share.
START_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Fault:
    """A case that did not end well."""

    kind: str
    seed: int
    what: str

    def __str__(self) -> str:
        return f"{self.kind} seed {self.seed}: {self.what}"


def peak_mb(reset: bool = False) -> int:
    """The largest resident memory of this process since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) // 1024


def work(kind: str, folder: Path) -> None:
    """The child: a seed a line in, a line `seed ok|wrong memory text` out."""
    # Whatever the cases print goes elsewhere: this descriptor carries answers only.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    case = import_module(f"tests.fuzz.{kind}").prepare(folder)
    floor = peak_mb(reset=True)
    answers.write("ready\n")
    for line in sys.stdin:
        peak_mb(reset=True)
        try:
            case(int(line))
            text = "ok"
        except BaseException:
            text = "wrong " + traceback.format_exc().replace("\n", " | ")
        answers.write(f"{peak_mb() - floor} {text}\n")


class Worker:
    """A child process that runs one case after another."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        command = [sys.executable, "-m", "tests.fuzz", "--worker", kind, str(folder)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        if not self._answer(START_SECONDS).startswith("ready"):
            self.close()
            raise RuntimeError(f"{kind}: the child process did not start")

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.put(line)
        self.lines.put("")

    def _answer(self, seconds: float) -> str:
        try:
            return self.lines.get(timeout=seconds)
        except queue.Empty:
            return f"hang over {seconds:.0f} s"

    def run(self, seed: int) -> str | None:
        """What is wrong with the case of this seed; None: nothing."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seed}\n")
        self.process.stdin.flush()
        answer = self._answer(HANG_SECONDS)
        if not answer:
            return f"the process died: exit status {self.process.wait()}"
        if answer.startswith("hang"):
            return answer
        grown, verdict = answer.strip().split(" ", 1)
        if verdict == "ok" and int(grown) > GROWTH_MB:
            return f"{grown} MB above the model"
        return None if verdict == "ok" else verdict

    def close(self) -> None:
        """End the child, however it stands."""
        self.process.kill()
        self.process.wait()


def run(kind: str, seeds: Iterable[int], folder: Path) -> list[Fault]:
    """The faults of these seeds; a child that died or hangs is started again for the next seed."""
    faults: list[Fault] = []
    worker = Worker(kind, folder)
    try:
        for seed in seeds:
            what = worker.run(seed)
            if what is not None:
                faults.append(Fault(kind, seed, what))
                if worker.process.poll() is not None or what.startswith("hang"):
                    worker.close()
                    worker = Worker(kind, folder)
    finally:
        worker.close()
    return faults
