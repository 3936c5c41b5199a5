"""Progress for the command line, on standard error: a bar on a terminal, elsewhere a line every ten seconds."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

# Seconds between two lines.
_EVERY = 10.0


def progress(total: float | None, unit: str = "image", what: str | None = None) -> Any:
    """Return a bar of tqdm, or where standard error is no terminal what writes lines in its place.

    Args:
        total: of the units; None where it is unknown.
        unit: the unit's name; "B" shows kB, MB and GB.
        what: the text before the bar.
    """
    from tqdm import tqdm

    if not sys.stderr.isatty():
        return ProgressLines(total, unit, what)
    return tqdm(total=total, unit=unit, desc=what, unit_scale=unit == "B", leave=False)


class ProgressLines:
    """Progress where nobody watches a bar, as in the log of a service. Used as a bar of tqdm is.

    Args:
        total, unit, what: as of `progress`.
        clock: gives the time in seconds.

    Attributes:
        n: what is done, in units.
    """

    def __init__(
        self, total: float | None, unit: str, what: str | None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.n: float = 0
        self._total, self._unit, self._what = total, unit, what
        self._clock, self._more = clock, ""
        self._began = self._said = clock()

    def __enter__(self) -> "ProgressLines":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, n: float = 1) -> None:
        """Count `n` more units, and write a line if the last one is ten seconds old."""
        from tqdm import tqdm

        self.n += n
        now = self._clock()
        if now - self._said >= _EVERY:
            self._said = now
            line = tqdm.format_meter(
                self.n, self._total, now - self._began, ncols=0, prefix=self._what or "", unit=self._unit,
                unit_scale=self._unit == "B", postfix=self._more,
            )  # fmt: skip
            print(line.strip(), file=sys.stderr, flush=True)

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Take in more words for the next line."""
        del refresh  # a line cannot be drawn again
        self._more = text

    def close(self) -> None:
        """Write nothing more: the last line of a run says how it ended."""


@contextmanager
def steps(what: str, unit: str = "B") -> Iterator[Callable[..., None]]:
    """Give a callback (done, total, ...) that shows one bar, from its first call on."""
    with phases(unit) as show:
        yield lambda done, total, *_: show(what, done, total)


@contextmanager
def phases(unit: str = "step") -> Iterator[Callable[[str, int, int], None]]:
    """Give a callback (phase, done, total) that shows a bar for each phase; phases may be nested."""
    bars: dict[str, Any] = {}

    def show(phase: str, done: int, total: int) -> None:
        if phase not in bars:
            bars[phase] = progress(total, unit, phase)
        bars[phase].update(done - bars[phase].n)
        if done >= total:
            bars.pop(phase).close()

    try:
        yield show
    finally:
        for bar in bars.values():
            bar.close()
