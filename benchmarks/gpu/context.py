"""What every part of a run gets, and what a figure is."""

import gc
import itertools
import os
import re
import signal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from benchmarks.timer import Call, Times, compare

# What ||out - reference|| / ||reference|| may be at most: bf16 lands between 1e-3 and 1e-2, e4m3 near 3e-2.
BF16_BOUND, FP8_BOUND = 2e-2, 8e-2


@dataclass
class Context:
    """What a part gets.

    Args:
        device: where it runs.
        dry: tiny shapes on CPU tensors, to prove the scripts and nothing else.
        cache: a folder that lasts for the run, and for the next one that goes on with it.
        network: a Description of what is measured: the published sizes, or tiny ones.
        checkpoint: an opened packed one; None for the parts that need none.
        found: the results of the parts before.
        row: takes each row as soon as it is known.
        tell: takes further figures of the part as soon as they are known.
        tests: what pytest runs.
        beside: process groups that work in the background, and stand still while something is timed.
        timed: False only compares each side with its reference.
    """

    device: torch.device
    dry: bool
    cache: Path
    network: Any = None
    checkpoint: Any = None
    found: dict[str, Any] = field(default_factory=dict)
    row: Callable[[dict[str, Any]], None] = lambda row: None
    tell: Callable[[dict[str, Any]], None] = lambda figures: None
    tests: Sequence[str] = ()
    beside: Sequence[int] = ()
    timed: bool = True

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def keep(self) -> tuple[str, ...]:
        """The layers that the FP8 certificate of this run keeps in bf16."""
        return tuple(self.found.get("accuracy", {}).get("fp8", {}).get("keep", ()))

    def rounds(self, wanted: int) -> int:
        return 2 if self.dry else wanted

    def free(self) -> None:
        """Give back what a part left behind."""
        gc.collect()
        if self.cuda:
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()

    @contextmanager
    def quiet(self) -> Iterator[None]:
        """Let what works in the background stand still."""
        send(self.beside, signal.SIGSTOP)
        try:
            yield
        finally:
            send(self.beside, signal.SIGCONT)


def send(groups: Sequence[int], what: signal.Signals) -> None:
    """Send a signal to process groups, of which some may have ended."""
    for group in groups:
        with suppress(ProcessLookupError):
            os.killpg(group, what)


def kernel_operations(device: torch.device, heads: Sequence[Any] = (), *, patch: int = 16, batch: int = 1) -> Any:
    """Our kernels as the engine calls them. heads: (weight [H, out, in], bias [H, out]) float32 of each layer."""
    from emonet_fast.backends.cuda.triton_operations import TritonOperations

    heads = heads or random_heads(1, (16, 16, 16, 1), torch.Generator().manual_seed(0))
    weights: Any = SimpleNamespace(positions=torch.empty(0, device=device), heads=tuple(heads))
    return TritonOperations(weights, patch, True, batch)


def random_heads(count: int, widths: Sequence[int], generator: torch.Generator) -> list[tuple[Any, Any]]:
    """(weight [H, out, in], bias [H, out]) of each layer, float32, on the generator's device."""

    def normal(*shape: int) -> Any:
        return torch.randn(*shape, generator=generator, device=generator.device)

    # The embedding comes with norm 1, not with elements of size 1; each ReLU halves the energy.
    sizes = [1.0, *((2 / inside) ** 0.5 for inside in widths[1:])]
    return [
        (normal(count, outside, inside) * size, normal(count, outside) * 0.1)
        for (inside, outside), size in zip(itertools.pairwise(widths), sizes, strict=False)
    ]


def off(got: Any, want: Any) -> float:
    """||got - want|| / ||want|| in float64."""
    want = want.double()
    return float(torch.linalg.vector_norm(got.double() - want) / torch.linalg.vector_norm(want))


@dataclass(frozen=True)
class Side:
    """One contestant. make: gives its calls, each on other memory; error: its distance from the reference.

    graph: recorded as a CUDA graph, as inside the engine; False: called one by one, as a user would.
    bytes, flop: of one call, where this side needs others than the case says. images: of one call.
    """

    make: Callable[[], Sequence[Call]]
    error: Callable[[], float] | None = None
    graph: bool = True
    bound: float = BF16_BOUND
    bytes: float | None = None
    images: int = 0


def case(
    context: Context,
    what: str,
    shape: str,
    sides: Mapping[str, Side],
    *,
    flop: float = 0.0,
    bytes: float = 0.0,
    rounds: int = 15,
) -> list[dict[str, Any]]:
    """Check each side against its reference, then time all of them in turns; a side that fails is recorded so.

    Where the timing fails, all sides that took part are.
    """
    rows: dict[str, dict[str, Any]] = {}
    ready: dict[str, Sequence[Call]] = {}
    for name, side in sides.items():
        rows[name] = row = {"what": what, "shape": shape, "side": name}
        try:
            calls = side.make()
            for call in calls:
                call()
            if side.error is not None:
                row["error"] = error = side.error()
                row["wrong"] = not error <= side.bound
            ready[name] = calls
        except Exception as error:
            row["failed"] = describe(error)
    found: dict[str, Times] = {}
    if ready and context.timed:
        warmup = 1 if context.dry else 2
        graph = recorded(sides, ready)
        try:
            with context.quiet():
                found = compare(ready, context.device, rounds=context.rounds(rounds), warmup=warmup, graph=graph)
        except Exception as error:  # as where one side cannot be recorded: the errors are known, and more cases follow
            for name in ready:
                rows[name]["failed"] = describe(error)
    for name, times in found.items():
        row, side = rows[name], sides[name]
        row["ms"] = times.record()
        moved = bytes if side.bytes is None else side.bytes
        if flop:
            row["tflops"] = flop / times.median / 1e12
        if moved:
            row["gbs"] = moved / times.median / 1e9
        if side.images:
            row["images_per_second"] = side.images / times.median
    for row in rows.values():
        context.row(row)
    return list(rows.values())


def recorded(sides: Mapping[str, Side], ready: Collection[str]) -> frozenset[str]:
    return frozenset(name for name in ready if sides[name].graph)


def describe(error: BaseException) -> str:
    """One line."""
    text = str(error).strip().splitlines()
    return without_paths(f"{type(error).__name__}: {text[0] if text else ''}")[:300]


def without_paths(text: str) -> str:
    """Results travel: where a file lies on this machine is nobody's business."""
    return re.sub(r"(/[\w.+-]+){2,}/", ".../", text)
