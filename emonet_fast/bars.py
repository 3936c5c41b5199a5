"""Progress bars for the command line: on a terminal's standard error, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def progress(total: float | None, unit: str = "image", what: str | None = None) -> Any:
    """Return a bar of tqdm; it shows nothing where standard error is no terminal.

    Args:
        total: of the units; None where it is unknown.
        unit: the unit's name; "B" shows kB, MB and GB.
        what: the text before the bar.
    """
    from tqdm import tqdm

    scale = unit == "B"
    return tqdm(total=total, unit=unit, desc=what, unit_scale=scale, disable=not sys.stderr.isatty(), leave=False)


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
