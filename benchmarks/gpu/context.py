"""What every part of a run gets, and what a figure is."""

import gc
import itertools
import re
from collections.abc import Callable, Collection, Mapping, Sequence
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
    """device: where it runs. dry: tiny shapes on CPU tensors, to prove the scripts and nothing else.

    checkpoint: an opened packed one, None where it could not be made. found: the results of the parts before.
    left: seconds of the time budget that remain. partial: keeps what a part has so far, should it run out of time.
    """

    device: torch.device
    dry: bool
    cache: Path
    checkpoint: Any = None
    found: dict[str, Any] = field(default_factory=dict)
    left: Callable[[], float] = lambda: 600.0
    partial: Callable[[dict[str, Any]], None] = lambda found: None

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    @property
    def keep(self) -> frozenset[str]:
        """The layers that the FP8 certificate of this run keeps in bf16."""
        return frozenset(self.found.get("accuracy", {}).get("fp8", {}).get("keep", ()))

    def rounds(self, wanted: int) -> int:
        return 2 if self.dry else wanted

    def free(self) -> None:
        """Give back what a part left behind."""
        gc.collect()
        if self.cuda:
            torch.cuda.synchronize(self.device)
            torch.cuda.empty_cache()


def kernel_operations(device: torch.device, heads: Sequence[Any] = (), *, patch: int = 16, batch: int = 1) -> Any:
    """Our kernels as the engine calls them. heads: (weight [H, out, in], bias [H, out]) float32 of each layer."""
    from emonet_fast.backends.cuda.triton_operations import TritonOperations

    heads = heads or random_heads(1, (16, 16, 16, 1), torch.Generator().manual_seed(0))
    weights: Any = SimpleNamespace(positions=torch.empty(0, device=device), heads=tuple(heads))
    return TritonOperations(weights, patch, True, batch)


def random_heads(count: int, widths: Sequence[int], generator: torch.Generator) -> list[tuple[Any, Any]]:
    """(weight [H, out, in], bias [H, out]) of each layer, float32, on the host."""
    made = []
    for i, (inside, outside) in enumerate(itertools.pairwise(widths)):
        # The embedding comes with norm 1, not with elements of size 1; each ReLU halves the energy.
        size = (2 / inside) ** 0.5 if i else 1.0
        weight = torch.randn(count, outside, inside, generator=generator) * size
        made.append((weight, torch.randn(count, outside, generator=generator) * 0.1))
    return made


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
    """Check each side against its reference, then time all of them in turns; a side that fails is recorded so."""
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
    if ready:
        warmup = 1 if context.dry else 2
        graph = recorded(sides, ready)
        found = compare(ready, context.device, rounds=context.rounds(rounds), warmup=warmup, graph=graph)
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


def rates(context: Context, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Adds what share of this run's own ceilings each row reaches."""
    ceilings = context.found.get("ceilings", {})
    for row in rows:
        limit = ceilings.get("fp8_gemm_tflops" if "fp8" in row["side"] else "bf16_gemm_tflops")
        if "tflops" in row and limit:
            row["share_of_gemm"] = row["tflops"] / limit
        if "gbs" in row and ceilings.get("copy_gbs"):
            row["share_of_copy"] = row["gbs"] / ceilings["copy_gbs"]
    return rows
