"""Progress bars for the command line: on a terminal's standard error, nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


def progress(total: int | None, unit: str = "image", what: str | None = None) -> Any:
    """A bar on a terminal's standard error, nothing elsewhere."""
    from tqdm import tqdm

    scale = unit == "B"
    return tqdm(total=total, unit=unit, desc=what, unit_scale=scale, disable=not sys.stderr.isatty(), leave=False)


@contextmanager
def steps(what: str, unit: str = "B") -> Iterator[Callable[..., None]]:
    """A bar for callbacks (done, total, ...), shown from the first call on."""
    bars: list[Any] = []

    def step(done: int, total: int, *_: object) -> None:
        if not bars:
            bars.append(progress(total, unit, what))
        bars[0].update(done - bars[0].n)

    try:
        yield step
    finally:
        for bar in bars:
            bar.close()


@contextmanager
def phases() -> Iterator[Callable[[str, int, int], None]]:
    """One bar for callbacks (phase, done, total) of phases that may be nested."""
    bars: dict[str, Any] = {}

    def told(phase: str, done: int, total: int) -> None:
        if phase not in bars:
            bars[phase] = progress(total, "step", phase)
        bars[phase].update(done - bars[phase].n)
        if done >= total:
            bars.pop(phase).close()

    try:
        yield told
    finally:
        for bar in bars.values():
            bar.close()
