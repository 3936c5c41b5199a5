"""How far a run is: a bar on a terminal, one line a shard elsewhere; and what the summary is made from."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..bars import progress
from ..records import Status
from .plan import Plan


class Progress:
    """A Listener. Counts everything; shows it on standard error.

    say: takes lines. terminal: whether a bar is shown instead of lines. Rates are of this run alone.
    """

    def __init__(self, say: Callable[[str], None], terminal: bool | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.waited: Counter[str] = Counter()
        self.notes: dict[str, None] = {}
        self.failed_shards: dict[int, str] = {}
        self.engines: dict[str, str] = {}
        self.devices: Counter[str] = Counter()
        self.memory_peak: dict[str, float] = {}
        self.rows = self.bad = self.shards = 0
        self.began: float | None = None
        self._say = say
        self._terminal = sys.stderr.isatty() if terminal is None else terminal
        self._bar: Any = None
        self._todo: list[int] = []
        self._planned: int | None = None
        self._live: Counter[int] = Counter()

    def begin(self, plan: Plan, todo: Iterable[int]) -> None:
        """todo: shards to score now."""
        self._todo = list(todo)
        self._planned = plan.rows(self._todo)
        if self._terminal:
            self._bar = progress(self._planned, "row")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    @property
    def seconds(self) -> float:
        """Since the first engine was open."""
        return time.perf_counter() - self.began if self.began is not None else 0.0

    @property
    def rate(self) -> float:
        """Finished rows a second."""
        return self.rows / self.seconds if self.seconds else 0.0

    def ready(self, device: str, engine: str, memory: Mapping[str, float]) -> None:
        if self.began is None:
            self.began = time.perf_counter()
        self.engines[device] = engine

    def advance(self, shard: int, rows: int, bad: int) -> None:
        self._live[shard] += rows
        if self._bar is not None:
            self._bar.update(rows)
            self._bar.set_postfix_str(f"{self.bad + bad} without scores", refresh=False)

    def done(self, marker: Mapping[str, Any], memory: Mapping[str, float]) -> None:
        shard, rows = marker["shard"], marker["rows"]
        bad = rows - marker["counts"].get(Status.OK, 0)
        if self._bar is not None:
            self._bar.update(rows - self._live.pop(shard, 0))
        self.rows, self.bad, self.shards = self.rows + rows, self.bad + bad, self.shards + 1
        self.counts.update(marker["counts"])
        self.waited.update(marker.get("waited", {}))
        self.devices[marker["device"]] += rows
        self.notes |= dict.fromkeys(marker["notes"])
        for name, value in memory.items():
            self.memory_peak[name] = max(self.memory_peak.get(name, 0.0), value)
        if not self._terminal:
            self._say(
                f"shard {shard} done ({self.shards} of {len(self._todo)}): {rows} rows, {bad} without scores, "
                f"{marker['rows_per_second']:.1f} rows/s on {marker['device']}; {self._outlook()}"
            )

    def again(self, shards: Iterable[int], reason: str) -> None:
        for shard in shards:
            self._forget(shard)
            self._say(f"shard {shard} is tried again: {reason}")

    def failed(self, shard: int, reason: str) -> None:
        self._forget(shard)
        self.failed_shards[shard] = reason
        self._say(f"shard {shard} FAILED: {reason}")

    def _forget(self, shard: int) -> None:
        """Rows of a shard that begins anew were not scored for good."""
        lost = self._live.pop(shard, 0)
        if self._bar is not None and lost:
            self._bar.update(-lost)

    def _outlook(self) -> str:
        """Rows so far and the time that is left, by the rate of this run."""
        left = len(self._todo) - self.shards - len(self.failed_shards)
        if self._planned is not None:
            share = self.rows / self._planned if self._planned else 1.0
            of = f"{self.rows} of {self._planned} rows"
        else:  # a tar's rows are known when it is done
            share = self.shards / len(self._todo)
            of = f"{self.rows} rows"
        if not left or not share:
            return of
        return f"{of}, ETA {duration(self.seconds * (1 - share) / share)}"


def duration(seconds: float) -> str:
    """12:34 or 1:23:45."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
