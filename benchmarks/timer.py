"""The one timer: every figure of benchmarks/gpu and of benchmarks/suites is taken with it.

    warm-up            every contestant, until nothing is compiled any more
    round 1..R         contestant A, contestant B, ..., A, B, ...: whatever drifts (clocks, heat) meets all of them
    turn               one contestant, all its calls, between two marks; the figure is the time divided by the calls

A contestant is a list of calls that do the same work on different memory: together larger than the L2 cache, so that
no call finds its input there. Inputs are random, never zeros, on which a matrix product runs up to 13% faster.
Marks are CUDA events, or perf_counter on CPU tensors. A turn can be recorded as a CUDA graph: what a kernel takes
inside the engine, without the host's time to launch it.
"""

import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

Call = Callable[[], Any]
CPU = torch.device("cpu")


class Clock(Protocol):
    """Marks on a device's time line, and what lies between two of them."""

    def lead(self) -> None:
        """Keep the device busy for a moment, so that the host's launches are ahead of it."""
        ...

    def mark(self) -> Any: ...

    def seconds(self, begin: Any, end: Any) -> float: ...


class CudaClock:
    """Events on the current stream."""

    # Half a millisecond at 2 GHz: longer than it takes to launch a graph of some hundred kernels.
    LEAD = 1_000_000

    def lead(self) -> None:
        torch.cuda._sleep(self.LEAD)

    def mark(self) -> Any:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def seconds(self, begin: Any, end: Any) -> float:
        end.synchronize()
        return begin.elapsed_time(end) / 1e3


class HostClock:
    """perf_counter: for CPU tensors, whose work is done when the call returns."""

    def lead(self) -> None:
        pass

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, begin: float, end: float) -> float:
        return end - begin


@dataclass(frozen=True)
class Times:
    """Seconds of one call, one value a round."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third: half of all rounds lie between them."""
        return self.quantile(0.25), self.quantile(0.75)

    def quantile(self, share: float) -> float:
        """Linear between the neighbours, as numpy's default."""
        ordered = sorted(self.seconds)
        at = share * (len(ordered) - 1)
        low = int(at)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (at - low) * (ordered[high] - ordered[low])

    def record(self) -> dict[str, float]:
        """Milliseconds for the results file."""
        low, high = self.quartiles
        figures = {"median": self.median, "q1": low, "q3": high, "p95": self.quantile(0.95)}
        return {name: round(value * 1e3, 6) for name, value in figures.items()} | {"rounds": len(self.seconds)}


def compare(
    contestants: Mapping[str, Sequence[Call]],
    device: torch.device,
    *,
    rounds: int = 15,
    warmup: int = 2,
    graph: Collection[str] = (),
    clock: Clock | None = None,
    shortest: float = 0.0,
    seconds: float = 0.0,
) -> dict[str, Times]:
    """Time the contestants in turns. graph: names of those whose turn is recorded first. See the file's head.

    shortest: seconds that a turn should last at least; the calls of quicker contestants are repeated within it.
    seconds: go on for so long after the asked rounds, up to ten times as many.
    """
    clock = clock or (CudaClock() if device.type == "cuda" else HostClock())
    turns, repeats = {}, {}
    for name, calls in contestants.items():
        warming = time.perf_counter()
        turns[name] = _turn(calls, device, warmup, name in graph)
        # Where a turn surely lasts long enough, it is not run once more only to know so.
        sure = warmup and time.perf_counter() - warming > 10 * warmup * shortest
        repeats[name] = 1 if sure else _repeats(turns[name], clock, shortest)
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    began = time.perf_counter()
    done = 0
    while done < rounds or (done < 10 * rounds and time.perf_counter() - began < seconds):
        marks = {}
        for name, turn in turns.items():
            clock.lead()
            begin = clock.mark()
            for _ in range(repeats[name]):
                turn()
            marks[name] = begin, clock.mark()
        for name, (begin, end) in marks.items():
            taken[name].append(clock.seconds(begin, end) / (len(contestants[name]) * repeats[name]))
        done += 1
    return {name: Times(tuple(values)) for name, values in taken.items()}


def _repeats(turn: Call, clock: Clock, shortest: float) -> int:
    if not shortest:
        return 1
    begin = clock.mark()
    turn()
    took = clock.seconds(begin, clock.mark())
    return max(1, math.ceil(shortest / max(took, 1e-9)))


def _turn(calls: Sequence[Call], device: torch.device, warmup: int, graph: bool) -> Call:
    def turn() -> None:
        for call in calls:
            call()

    if not graph or device.type != "cuda":
        for _ in range(warmup):
            turn()
        return turn
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(max(1, warmup)):
            turn()
    torch.cuda.current_stream(device).wait_stream(stream)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded, stream=stream):
        turn()
    recorded.replay()
    replay: Call = recorded.replay
    return replay


def copies(bytes_each: int, device: torch.device, largest: int = 32) -> int:
    """How many inputs of this size are needed so that together they are four times the L2 cache; 1 on a CPU."""
    if device.type != "cuda":
        return 1
    cache = torch.cuda.get_device_properties(device).L2_cache_size
    return max(2, min(largest, -(-4 * cache // max(1, bytes_each))))
