"""Scores pictures once, and says how long each room took, what was waited for, and which room to make faster."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from ..backends.choose import precisions_of
from ..process import Stopwatch, memory_mb
from ..records import Picture, Status
from ..scorer import Scorer
from .kernels import Kernel, kernels_of

# Rooms in the order in which data flows. "wait" is the host waiting for the engine, and "engine" the rest of that: the
# work itself on one stream of a CPU, handing it over on several and on a GPU. "other" is what no room claims.
ROOMS = ("sources", "decode", "preprocess", "engine", "wait", "scores", "other")

KERNELS_SHOWN = 15

ADVICE = {
    "sources": "reading the inputs takes longest: a faster disk, or tar shards instead of many small files",
    "decode": "decoding takes longest: --decoder dali, or smaller pictures",
    "preprocess": "the resize takes longest: --decoder dali, or pictures nearer to the network's size",
    "engine": "the network takes longest, as it should",
    "wait": "the host waits for the engine, as it should",
    "scores": "making the scores takes longest: larger batches",
    "other": "what joins the rooms takes longest: look at the flame graph",
}


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of one run went.

    Args:
        open_seconds: of checkpoint and engine, which no room contains.
        total: seconds of all rooms together.
        seconds: of each of ROOMS.
        pictures: how many were taken from the source.
        rows: how many rows they gave.
        scored: how many of these rows have scores.
        engine: backend, precision and batch size in words.
        decoder: its name.
        kernels: of a GPU, longest first; empty on a CPU.
        memory_mb: resident memory of the process, see process.memory_mb.
        faster: what may make the engine faster here.
    """

    open_seconds: float
    total: float
    seconds: dict[str, float]
    pictures: int
    rows: int
    scored: int
    engine: str
    decoder: str
    kernels: tuple[Kernel, ...]
    memory_mb: dict[str, float]
    faster: tuple[str, ...] = ()

    @property
    def bottleneck(self) -> str:
        """The room that took longest."""
        return max(self.seconds, key=lambda room: self.seconds[room])

    @property
    def advice(self) -> str:
        """What would make that room faster, of what this machine has."""
        ways = {"engine": self.faster, "wait": self.faster}.get(self.bottleneck, ())
        return ADVICE[self.bottleneck] + (f": {' or '.join(ways)}" if ways else "")

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "bottleneck": self.bottleneck, "advice": self.advice}

    def text(self) -> str:
        """For people: the table of rooms, the kernels of a GPU, and as the last line the bottleneck."""
        lines = [
            f"opened in {self.open_seconds:.2f} s (not part of what follows)",
            "",
            f"{'room':<12}{'s':>9}{'share':>8}",
        ]
        for room, seconds in self.seconds.items():
            lines.append(f"{room:<12}{seconds:>9.3f}{_share(seconds, self.total):>8}")
        lines.append(f"{'all':<12}{self.total:>9.3f}")
        if self.kernels:
            device = sum(kernel.seconds for kernel in self.kernels)
            lines += ["", f"{'ms on the GPU':>14}{'share':>8}{'calls':>8}  kernel"]
            for kernel in self.kernels[:KERNELS_SHOWN]:
                share = _share(kernel.seconds, device)
                lines.append(f"{kernel.seconds * 1e3:>14.2f}{share:>8}{kernel.calls:>8}  {kernel.name[:90]}")
            if hidden := self.kernels[KERNELS_SHOWN:]:
                rest = sum(kernel.seconds for kernel in hidden)
                lines.append(f"{rest * 1e3:>14.2f}{_share(rest, device):>8}          {len(hidden)} more")
        speed = f", {self.total / self.scored:.3f} s each" if self.scored else ""
        peak = f", {self.memory_mb['peak']:.0f} MB at most" if "peak" in self.memory_mb else ""
        lines += ["", f"{self.pictures} pictures, {self.scored} of {self.rows} rows scored{speed}{peak}"]
        lines.append(f"engine {self.engine}; decoder {self.decoder}")
        share = _share(self.seconds[self.bottleneck], self.total)
        lines.append(f"bottleneck: {self.bottleneck}, {share} of the time; {self.advice}")
        return "\n".join(lines)


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole > 0 else ""


def profile(
    scorer: Scorer,
    pictures: Iterable[Picture],
    *,
    limit: int | None = None,
    around: Callable[[], AbstractContextManager[object]] = nullcontext,
    advance: Callable[[int], None] = lambda rows: None,
) -> Profile:
    """Score pictures and measure each room. The scorer is opened first, outside of what is measured.

    limit: take at most so many pictures. around: what else watches the run, a sampler of stacks for example. advance:
    gets the number of rows that were just done.
    """
    scorer.open()
    before = dict(scorer.timings)
    watch = Stopwatch("sources", "total")
    taken = rows = scored = 0

    def source() -> Iterator[Picture]:
        nonlocal taken
        iterator = islice(pictures, limit)
        while True:
            with watch("sources"):
                picture = next(iterator, None)
            if picture is None:
                return
            taken += 1
            yield picture

    with kernels_of(scorer.backend.name) as kernels, around(), watch("total"):
        for batch in scorer.batches(source()):
            rows += len(batch.scores)
            scored += sum(status == Status.OK for status in batch.scores.status)
            advance(len(batch.scores))
    spent = {stage: scorer.timings[stage] - before[stage] for stage in scorer.timings}
    return Profile(
        open_seconds=scorer.timings["open"],
        total=watch.seconds["total"],
        seconds=_rooms(spent, watch.seconds["sources"], watch.seconds["total"]),
        pictures=taken,
        rows=rows,
        scored=scored,
        engine=f"{scorer.backend.name} {scorer.backend.precision}, batch {scorer.backend.batch_size}",
        decoder=scorer.decoder.name,
        kernels=tuple(kernels),
        memory_mb=memory_mb(),
        faster=_faster(scorer),
    )


def _faster(scorer: Scorer) -> tuple[str, ...]:
    """Ways to a faster engine, never one that this machine lacks: what is slower comes first in `precisions_of`."""
    backend, device = scorer.backend, scorer.options.device
    there = precisions_of(backend.name, device)
    better = there[there.index(backend.precision) + 1 :] if backend.precision in there else ()
    ways = [f"--precision {name}" + (" (`emonet-fast calibrate` first)" if name == "int8" else "") for name in better]
    return (*ways, *(["a GPU"] if backend.name == "openvino" else ["larger batches", "more GPUs"]))


def _rooms(spent: dict[str, float], sources: float, total: float) -> dict[str, float]:
    """Seconds by room. A decoder with threads of its own may work while another room does: then `other` is 0."""
    rooms = {
        "sources": sources,
        "decode": spent["decode"],
        "preprocess": spent["preprocess"],
        "engine": spent["engine"] - spent["wait"],
        "wait": spent["wait"],
        "scores": spent["scores"],
    }
    rooms["other"] = max(0.0, total - sum(rooms.values()))
    return {room: rooms[room] for room in ROOMS}
