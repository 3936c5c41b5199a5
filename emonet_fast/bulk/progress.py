"""How far a run is: a bar on a terminal, elsewhere lines, also one a shard; and what the summary is made from."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..bars import progress
from ..records import Status
from ..text import duration
from .plan import Plan


class BulkProgress:
    """Counts what happens in a run, and shows it on standard error. Rates are of this run alone.

    `say` takes lines for people. show: see bars.progress; without a bar there is a line a shard, too.
    """

    def __init__(self, say: Callable[[str], None], show: str = "auto") -> None:
        self.waited: Counter[str] = Counter()
        self.failed_shards: dict[int, str] = {}
        self.devices: Counter[str] = Counter()
        self.rows = self.bad = self.shards = 0
        self.began: float | None = None
        self._say = say
        self._show = show
        self._terminal = show == "bar" or (show == "auto" and sys.stderr.isatty())
        self._bar: Any = None
        self._todo: list[int] = []
        self._planned: int | None = None
        self._live: Counter[int] = Counter()

    def begin(self, plan: Plan, todo: Iterable[int]) -> None:
        """Show the bar. todo: the shards to score now; another call begins anew."""
        self.close()
        self._todo = list(todo)
        self._planned = plan.rows(self._todo)
        self._bar = progress(self._planned, "row", show=self._show)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @property
    def seconds(self) -> float:
        """Seconds since the first engine was open."""
        return time.perf_counter() - self.began if self.began is not None else 0.0

    def ready(self) -> None:
        """A process has opened its engine."""
        if self.began is None:
            self.began = time.perf_counter()

    def advance(self, shard: int, rows: int, bad: int) -> None:
        """Some rows of a shard were scored. bad: how many of them have no scores."""
        self._live[shard] += rows
        if self._bar is not None:
            self._bar.update(rows)
            self._bar.set_postfix_str(f"{self.bad + bad} without scores", refresh=False)

    def done(self, marker: Mapping[str, Any]) -> None:
        """A shard's file and marker are on the disk."""
        shard, rows = marker["shard"], marker["rows"]
        bad = rows - marker["counts"].get(Status.OK, 0)
        if self._bar is not None:
            self._bar.update(rows - self._live.pop(shard, 0))
        self.rows, self.bad, self.shards = self.rows + rows, self.bad + bad, self.shards + 1
        self.waited.update(marker.get("waited", {}))
        self.devices[marker["device"]] += rows
        if not self._terminal:
            self._say(
                f"shard {shard} done ({self.shards} of {len(self._todo)}): {rows} rows, {bad} without scores, "
                f"{marker['rows_per_second']:.1f} rows/s on {marker['device']}; {self._outlook()}"
            )

    def again(self, shards: Iterable[int], reason: str) -> None:
        """Shards whose process has ended begin anew."""
        for shard in shards:
            self._forget(shard)
            self._say(f"shard {shard} is tried again: {reason}")

    def failed(self, shard: int, reason: str) -> None:
        """A shard was given up."""
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
            rows = f"{self.rows} of {self._planned} rows"
        else:  # a tar's rows are known when it is done
            share = self.shards / len(self._todo)
            rows = f"{self.rows} rows"
        if not left or not share:
            return rows
        return f"{rows}, ETA {duration(self.seconds * (1 - share) / share)}"
