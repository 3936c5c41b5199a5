"""Scores pictures once, and says how long each room took, what was waited for, and which room to make faster."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from ..process import memory_mb
from ..records import Picture, Status
from ..scorer import Scorer
from .kernels import Kernel, Kernels

# Rooms in the order in which data flows. "wait" is the host's waiting for the engine; "engine" is then the rest of it:
# on a CPU the work itself, on a GPU handing it over. "other" is what no room claims.
ROOMS = ("sources", "decode", "preprocess", "engine", "wait", "scores", "other")

ADVICE = {
    "sources": "reading the inputs takes longest: a faster disk, or tar shards instead of many small files",
    "decode": "decoding takes longest: --decoder dali, or smaller pictures",
    "preprocess": "the resize takes longest: --decoder dali, or pictures nearer to the network's size",
    "engine": "the network takes longest, as it should: --precision bf16 or fp8, or a GPU",
    "wait": "the host waits for the engine, as it should: --precision fp8, larger batches, or more GPUs",
    "scores": "making the scores takes longest: larger batches",
    "other": "what joins the rooms takes longest: look at the flame graph",
}


@dataclass(frozen=True, slots=True)
class Profile:
    """seconds: of each of ROOMS, without `open_seconds` for checkpoint and engine. total: all of them together.

    rows, scored: how many there were. engine, decoder: what was used. kernels: of a GPU, longest first.
    memory_mb: resident memory, now and at its peak.
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

    @property
    def bottleneck(self) -> str:
        """The room that took longest."""
        return max(self.seconds, key=lambda room: self.seconds[room])

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {**asdict(self), "bottleneck": self.bottleneck, "advice": ADVICE[self.bottleneck]}


class _Timed:
    """An iterable's items, and the seconds that getting them took."""

    def __init__(self, items: Iterable[Picture]) -> None:
        self.items, self.seconds, self.count = items, 0.0, 0

    def __iter__(self) -> Iterator[Picture]:
        iterator = iter(self.items)
        while True:
            began = time.perf_counter()
            try:
                picture = next(iterator)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - began
            self.count += 1
            yield picture


def profile(
    scorer: Scorer,
    pictures: Iterable[Picture],
    *,
    limit: int | None = None,
    around: Callable[[], AbstractContextManager[object]] | None = None,
    advance: Callable[[int], None] = lambda rows: None,
) -> Profile:
    """Score at most `limit` pictures and measure. around: what else watches the run, a sampler of stacks.

    advance: told how many rows were done. The scorer is opened first, outside of what is measured.

    Raises:
        CheckpointError, BackendError: see Scorer.open.
    """
    scorer.open()
    before = dict(scorer.timings)
    source = _Timed(islice(pictures, limit))
    kernels = Kernels(scorer.backend.name)
    rows = scored = 0
    with ExitStack() as stack:
        stack.enter_context(kernels)
        if around is not None:
            stack.enter_context(around())
        began = time.perf_counter()
        for batch in scorer.batches(source):
            rows += len(batch.scores)
            scored += sum(status == Status.OK for status in batch.scores.status)
            advance(len(batch.scores))
        total = time.perf_counter() - began
    spent = {stage: scorer.timings[stage] - before[stage] for stage in scorer.timings}
    return Profile(
        open_seconds=scorer.timings["open"],
        total=total,
        seconds=_rooms(spent, source.seconds, total),
        pictures=source.count,
        rows=rows,
        scored=scored,
        engine=f"{scorer.backend.name} {scorer.backend.precision}, batch {scorer.backend.batch_size}",
        decoder=scorer.decoder.name,
        kernels=kernels.rows(),
        memory_mb=memory_mb(),
    )


def _rooms(spent: dict[str, float], sources: float, total: float) -> dict[str, float]:
    """Seconds by room. A decoder with threads of its own may work while another room does: then `other` is 0."""
    found = {
        "sources": sources,
        "decode": spent["decode"],
        "preprocess": spent["preprocess"],
        "engine": spent["engine"] - spent["wait"],
        "wait": spent["wait"],
        "scores": spent["scores"],
    }
    found["other"] = max(0.0, total - sum(found.values()))
    return {room: found[room] for room in ROOMS}
