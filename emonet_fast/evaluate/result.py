"""What an evaluation gives: figures, tables and charts, each marked as the paper's or as ours."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from .resample import NO_INTERVAL, Interval

Origin: TypeAlias = Literal["paper", "ours"]
Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its 95% interval and, where the paper gives figures for it, what was published."""

    slug: str
    label: str
    value: float
    interval: Interval = NO_INTERVAL
    origin: Origin = "ours"
    published: str = ""
    digits: int = 3


@dataclass(frozen=True, slots=True)
class Table:
    """columns and rows; a cell that is NaN or None is undefined. brief: short enough for a terminal."""

    slug: str
    title: str
    lead: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    origin: Origin = "ours"
    digits: int = 3
    brief: bool = True


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture, drawn when it is asked for. alt: what it shows, in words."""

    slug: str
    title: str
    alt: str
    draw: Callable[[], bytes]
    origin: Origin = "ours"


@dataclass(frozen=True, slots=True)
class Result:
    """command: hq, binary, any-hit or demographics. facts: what was evaluated. notes: what a reader must know."""

    command: str
    title: str
    facts: Mapping[str, str]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = field(default_factory=tuple)

    def as_dict(self) -> dict[str, Any]:
        """For JSON: full precision, null where a figure is undefined."""
        return {
            "command": self.command,
            "facts": dict(self.facts),
            "notes": list(self.notes),
            "figures": {
                f.slug: {
                    "value": _plain(f.value),
                    "low": _plain(f.interval[0]),
                    "high": _plain(f.interval[1]),
                    "origin": f.origin,
                    "published": f.published or None,
                }
                for f in self.figures
            },
            "tables": {
                t.slug: {
                    "origin": t.origin,
                    "rows": [dict(zip(t.columns, map(_plain, row), strict=True)) for row in t.rows],
                }
                for t in self.tables
            },
        }

    def figure(self, slug: str) -> Figure:
        """The figure of that name. Raises KeyError."""
        return {f.slug: f for f in self.figures}[slug]

    def table(self, slug: str) -> Table:
        """The table of that name. Raises KeyError."""
        return {t.slug: t for t in self.tables}[slug]


def show(cell: Cell, digits: int) -> str:
    """A cell as text: fixed digits, "–" where it is undefined, a value above 0 that would round to it as "<0.001"."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "–"
    if isinstance(cell, float) and 0 < cell < 0.5 * 10**-digits:
        return f"<{10**-digits:.{digits}f}"
    if isinstance(cell, float):
        return f"{round(cell, digits) + 0.0:.{digits}f}".replace("-", "−")  # + 0.0: no "-0.000"
    return str(cell)


def show_interval(interval: Interval, digits: int) -> str:
    """`0.12 to 0.34`, or "" where there is none."""
    return "" if math.isnan(interval[0]) else f"{show(interval[0], digits)} to {show(interval[1], digits)}"


def _plain(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell
