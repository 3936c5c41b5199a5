"""Progress on standard error: a bar on a terminal, elsewhere lines at a sensible rate."""

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

SHOWN = ("auto", "bar", "lines", "none")
# Seconds between two lines; in a long run this part of the time so far, and at least a second before a tenth's line.
_EVERY, _PART, _SOON = 10.0, 1 / 20, 1.0


def watched() -> bool:
    """Whether standard error is a terminal or a notebook's cell, so that somebody sees a bar move."""
    return sys.stderr.isatty() or type(sys.stderr).__module__.startswith("ipykernel.")


def shown(asked: bool | None, total: int | None, unit: str = "image") -> Any:
    """Progress for calls from Python, as `progress`; None shows it where it is `watched` and takes over a second."""
    if asked is None:
        return progress(total, unit, show="bar" if watched() else "none", delay=1.0)
    return progress(total, unit, show="auto" if asked else "none")


def progress(
    total: float | None, unit: str = "image", what: str | None = None, show: str = "auto", delay: float = 0.0
) -> Any:
    """Return a bar of tqdm, or what writes lines in its place.

    Args:
        total: of the units; None where it is unknown.
        unit: the unit's name; "B" shows kB, MB and GB.
        what: the text before the bar.
        show: one of SHOWN; "auto" is a bar where somebody watches, else lines.
        delay: seconds after which a bar begins to be shown.
    """
    from tqdm import tqdm

    if show == "none":
        return ProgressLines(total, unit, what, silent=True)
    if show == "lines" or (show == "auto" and not watched()):
        return ProgressLines(total, unit, what)
    return tqdm(total=total, unit=unit, desc=what, unit_scale=unit == "B", leave=False, delay=delay)


class ProgressLines:
    """Progress where nobody watches a bar, as in the log of a service. Used as a bar of tqdm is.

    Args:
        total, unit, what: as of `progress`.
        clock: gives the time in seconds.
        silent: write no line at all.

    Attributes:
        n: what is done, in units.
    """

    def __init__(
        self,
        total: float | None,
        unit: str,
        what: str | None,
        clock: Callable[[], float] = time.monotonic,
        silent: bool = False,
    ) -> None:
        self.n: float = 0
        self._total, self._unit, self._what = total, unit, what
        self._clock, self._more, self._silent = clock, "", silent
        self._began = self._said = clock()

    def __enter__(self) -> "ProgressLines":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def update(self, n: float = 1) -> None:
        """Count `n` more units, and write a line at each tenth of the way, and where the last one is long ago."""
        from tqdm import tqdm

        before, self.n = self._tenth(), self.n + n
        now = self._clock()
        tenth = before < self._tenth() < 10 and now - self._said >= _SOON
        if not self._silent and (tenth or now - self._said >= max(_EVERY, _PART * (now - self._began))):
            self._said = now
            line = tqdm.format_meter(
                self.n, self._total, now - self._began, ncols=0, prefix=self._what or "", unit=self._unit,
                unit_scale=self._unit == "B", postfix=self._more,
            )  # fmt: skip
            print(line.strip(), file=sys.stderr, flush=True)

    def _tenth(self) -> int:
        return int(10 * self.n / self._total) if self._total else 0

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """Take in more words for the next line."""
        del refresh  # a line cannot be drawn again
        self._more = text

    def close(self) -> None:
        """Write nothing more: the last line of a run says how it ended."""


@contextmanager
def steps(what: str, unit: str = "B", show: str = "auto") -> Iterator[Callable[..., None]]:
    """Give a callback (done, total, ...) that shows one bar, from its first call on."""
    with phases(unit, show) as step:
        yield lambda done, total, *_: step(what, done, total)


@contextmanager
def phases(
    unit: str = "step", show: str = "auto", units: Mapping[str, str] = MappingProxyType({})
) -> Iterator[Callable[[str, int, int | None], None]]:
    """Give a callback (phase, done, total or None) that shows a bar for each phase; phases may be nested.

    units: by the phase, where it counts something else.
    """
    bars: dict[str, Any] = {}

    def step(phase: str, done: int, total: int | None) -> None:
        if phase not in bars:
            bars[phase] = progress(total, units.get(phase, unit), phase, show)
        bars[phase].update(done - bars[phase].n)
        if total is not None and done >= total:
            bars.pop(phase).close()

    try:
        yield step
    finally:
        for bar in bars.values():
            bar.close()
