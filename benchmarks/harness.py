"""What a benchmark is, and how its sides are checked and timed: all sides of a case in one run, in turns.

A case has one input and several sides that do the same work with it; the first is the baseline. Before anything is
timed each side computes the same inputs, and a side whose outputs miss the bars is not timed: its test fails. Then the
sides take turns (timer.py), so that each round has one time of every side, and speed is a ratio within the run.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.fairness import Verdict
from benchmarks.ratios import ratio
from benchmarks.timer import HostClock, Times, compare
from emonet_fast.errors import EmonetError
from emonet_fast.process import memory_mb

Run = Callable[[Any], Any]


class NotHereError(Exception):
    """A side cannot run on this machine; the text says why."""


@dataclass(frozen=True)
class Case:
    """One input, and the sides that do the same work with it.

    Args:
        group: the case's name.
        inputs: makes what every side gets, one a call, in rotation.
        sides: by name; each makes its `run` when it is opened. The first is the baseline.
        judge: makes verdicts of what each side computed from the first `check` inputs.
        images: of one input.
        check: how many inputs are compared before anything is timed.
        flop: of one input; 0 where nothing is said of it.
        precisions: of the sides, for their share of the ceiling.
        rounds: at least so many; None takes the pace's.
        process: whether every call starts a process. Nothing gets warm then, and exactly `rounds` are timed.
        beside: for each of our sides the side that compare.py divides it by, where that is not the baseline. The other
            sides are then not compared. A busy machine slows float32 and bf16 down differently: compare like with like.
        info: goes into the results as it is.
    """

    group: str
    inputs: Callable[[], Sequence[Any]]
    sides: Mapping[str, Callable[[], Run]]
    judge: Callable[[Mapping[str, list[Any]]], Mapping[str, Verdict]]
    images: int = 1
    check: int = 4
    flop: float = 0.0
    precisions: Mapping[str, str] = field(default_factory=dict)
    rounds: int | None = None
    process: bool = False
    beside: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)

    @property
    def baseline(self) -> str:
        return next(iter(self.sides))


@dataclass(frozen=True)
class Pace:
    """How long a case is timed.

    Args:
        rounds: at least so many.
        shortest: seconds of a turn; quick calls are repeated within it.
        seconds: how long a case may go on beyond its rounds.
    """

    rounds: int
    shortest: float
    seconds: float


@dataclass
class Result:
    """What became of one side.

    Args:
        times: of each round; None where it was not timed.
        failed: why it was not timed, a fault.
        missing: why it was not timed, something that this machine lacks.
        info: what goes into the results beside the times.
    """

    times: Times | None = None
    failed: str = ""
    missing: str = ""
    info: dict[str, Any] = field(default_factory=dict)


def run_case(case: Case, device: torch.device, pace: Pace, ceilings: Mapping[str, float]) -> dict[str, Result]:
    """Open, check and time all sides."""
    results = {name: Result() for name in case.sides}
    inputs = case.inputs()
    ready, outputs = _opened(case, inputs, results, device)
    if case.baseline not in ready:
        why = results[case.baseline]
        for name in ready:
            results[name].failed = f"there is no baseline to compare with: {why.failed or why.missing}"
        return results
    for name, verdict in case.judge(outputs).items():
        results[name].info["fidelity"] = verdict.figures
        if not verdict.gate.passed:
            results[name].failed = "; ".join(verdict.gate.failures)
            ready.pop(name)
    if case.baseline not in ready:
        raise RuntimeError(f"{case.group}: the baseline misses its own bars: {results[case.baseline].failed}")
    calls = {name: [_rotating(run, inputs)] for name, run in ready.items()}
    rounds = case.rounds or pace.rounds
    # The host's clock on a GPU too: every call ends with its results on the host, and its work there counts.
    options: dict[str, Any] = {"rounds": rounds, "clock": HostClock()}
    if case.process:
        times = compare(calls, device, warmup=0, **options)
    else:
        times = compare(calls, device, warmup=1, shortest=pace.shortest, seconds=pace.seconds, **options)
    for name, taken in times.items():
        results[name].times = taken
        results[name].info |= _figures(case, name, taken, times[case.baseline], ceilings)
        results[name].info |= _energy(calls[name][0], case.images, device)
    return results


def _opened(
    case: Case, inputs: Sequence[Any], results: Mapping[str, Result], device: torch.device
) -> tuple[dict[str, Run], dict[str, list[Any]]]:
    ready: dict[str, Run] = {}
    outputs: dict[str, list[Any]] = {}
    for name, make in case.sides.items():
        before = memory_mb().get("now", 0.0)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            began = time.perf_counter()
            run = make()
            outputs[name] = [run(one) for one in inputs[: case.check]]
            ready[name] = run
            results[name].info["open_and_check_seconds"] = round(time.perf_counter() - began, 3)
        except NotHereError as error:
            results[name].missing = str(error)
        except (EmonetError, RuntimeError, ValueError, OSError) as error:
            results[name].failed = f"{type(error).__name__}: {error}"
        memory = memory_mb()
        results[name].info["memory"] = {
            "added_mb": round(memory.get("now", 0.0) - before, 1),
            "process_peak_mb": round(memory.get("peak", 0.0), 1),
        }
        if device.type == "cuda":
            results[name].info["memory"]["gpu_peak_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return ready, outputs


def _rotating(run: Run, inputs: Sequence[Any]) -> Callable[[], Any]:
    """Every call takes the next input: none is ever computed from what the last call left in a cache."""
    at = -1

    def call() -> Any:
        nonlocal at
        at += 1
        return run(inputs[at % len(inputs)])

    return call


def _figures(case: Case, name: str, taken: Times, baseline: Times, ceilings: Mapping[str, float]) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "turns": case.group,
        "side": name,
        "baseline": name == case.baseline,
        "images": case.images,
        "images_per_second": round(case.images / taken.median, 4),
        "ms": taken.record(),
        "ratio": ratio(baseline.seconds, taken.seconds, paired=True).record(),
        **case.info,
    }
    if case.beside:
        figures["beside"] = case.beside.get(name, "")
    precision = case.precisions.get(name, "")
    if precision:
        figures["precision"] = precision
    if case.flop:
        figures["tflops"] = round(case.flop / taken.median / 1e12, 6)
        limit = ceilings.get(precision.split()[-1])
        if limit:
            figures["share_of_gemm"] = round(case.flop / taken.median / limit, 4)
    return figures


def _energy(call: Callable[[], Any], images: int, device: torch.device, seconds: float = 1.0) -> dict[str, float]:
    """Joules an image over a second of calls, by NVML's counter (Volta and newer); nothing where there is none."""
    if device.type != "cuda":
        return {}
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(device.index or 0)
        before = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no package, no driver, or a GPU without the counter: all mean "no figure"
        return {}
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        call()
        count += 1
    torch.cuda.synchronize(device)
    millijoules = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) - before
    return {"joules_an_image": millijoules / 1e3 / (count * images)}


class Replay:
    """pytest-benchmark's timer for a benchmark that our timer has timed already.

    pytest-benchmark reads its timer before and after each round; the difference is the round's time.
    """

    def __init__(self) -> None:
        self._marks: list[float] = []

    def load(self, seconds: Sequence[float]) -> None:
        self._marks = [mark for one in reversed(seconds) for mark in (one, 0.0)]

    def __call__(self) -> float:
        return self._marks.pop()


replay = Replay()


def replayed() -> float:
    """Stands in the results as the timer's name."""
    return replay()
