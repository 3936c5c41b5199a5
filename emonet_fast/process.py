"""This process: the cores it may use, the memory it takes, and where its time goes."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# What asks a run to end: Ctrl-C, `kill`, a closed terminal. Windows has no SIGHUP.
ENDING = frozenset({signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)})

# Seconds of work that are enough to tell its pace.
_MEASURED_SECONDS = 3.0
# x86, then Arm: without VNNI or i8mm, int8 products are summed in steps that may overflow, or are no faster.
_X86 = ("avx2", "avx512f", "avx_vnni", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
_INSTRUCTIONS = (*_X86, "asimddp", "i8mm", "bf16", "sve")


def available_cores() -> int:
    """Cores this process may use, which a container or taskset can make fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_mb() -> dict[str, float]:
    """This process' resident memory now and at its peak, in MB (10^6 bytes); empty where that is unknown.

    `anonymous` leaves out file pages, which the system takes back when it needs them.
    """
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        names = {"now": "VmRSS", "anonymous": "RssAnon", "peak": "VmHWM"}
        return {ours: int(fields[name].split()[0]) * 1024 / 1e6 for ours, name in names.items() if name in fields}
    if sys.platform == "win32":
        return {}
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"peak": peak * (1 if sys.platform == "darwin" else 1024) / 1e6}


@contextmanager
def signals_to(handler: Callable[[int, Any], object], wanted: Callable[[Any], bool]) -> Iterator[None]:
    """ENDING signals call `handler(number, frame)` inside the `with` block, those whose handler so far is `wanted`."""
    before = {number: old for number in ENDING if wanted(old := signal.getsignal(number))}
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class Pace:
    """Seconds of work for a thing, measured for some seconds after the first batch, which may warm things up."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._marks: list[tuple[float, int]] = []

    def add(self, done: int) -> bool:
        """Take in how many things are done after a batch; whether that was long enough."""
        self._marks.append((time.perf_counter(), done))
        return self._marks[-1][0] - self._marks[0][0] >= _MEASURED_SECONDS

    @property
    def seconds(self) -> float | None:
        """For one thing; None where nothing was done."""
        if not self._marks:
            return None
        (first, few), (last, many) = self._marks[0], self._marks[-1]
        return (last - first) / (many - few) if many > few else (last - self._began) / many


@contextmanager
def held_signals() -> Iterator[None]:
    """ENDING signals that come inside the `with` block take effect at its end: it is done whole.

    Signals reach the main thread alone; in another one nothing needs holding.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    try:
        with signals_to(lambda number, frame: came.append(number), callable):
            yield
    finally:
        if came:
            signal.raise_signal(came[0])


def instructions() -> list[str]:
    """Which instructions that decide low precisions the processor has, by the names that Linux gives; else none."""
    info = Path("/proc/cpuinfo")
    words = set(info.read_text("utf-8", errors="replace").split()) if info.exists() else set()
    return [name for name in _INSTRUCTIONS if name in words]


# One for all: a Stopwatch must stay picklable.
_STOPWATCH_LOCK = threading.Lock()


class Stopwatch:
    """Adds up `seconds` by stage; stages may nest, and several threads may share one. stages: begin at 0 seconds."""

    def __init__(self, *stages: str) -> None:
        self.seconds = dict.fromkeys(stages, 0.0)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the seconds of a `with` block to `stage`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - began
            with _STOPWATCH_LOCK:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + passed
