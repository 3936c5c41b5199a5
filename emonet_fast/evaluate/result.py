"""The result of an evaluation: figures, tables and charts, each marked as the paper's or as ours."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise
from typing import Any, Literal, TypeAlias, TypeVar

from ..errors import OptionError
from .metrics import NO_INTERVAL, Interval

Origin: TypeAlias = Literal["paper", "ours"]
Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number with its 95% interval.

    Args:
        slug: its name in JSON.
        label: its name for a reader.
        value: NaN where it is undefined.
        interval: (low, high); NaN where there is none.
        origin: whose definition it is.
        published: the paper's figures for it, in words; "" where there are none.
        digits: decimals to show.
    """

    slug: str
    label: str
    value: float
    interval: Interval = NO_INTERVAL
    origin: Origin = "ours"
    published: str = ""
    digits: int = 3


@dataclass(frozen=True, slots=True)
class Table:
    """A table of figures.

    Args:
        slug: its name in JSON.
        title: its name for a reader.
        lead: what it says, in words.
        columns: names of the columns.
        rows: cells; one that is NaN or None is undefined.
        origin: whose definition it is.
        digits: decimals to show.
        brief: whether it is short enough for a terminal.
    """

    slug: str
    title: str
    lead: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    origin: Origin = "ours"
    digits: int = 3
    brief: bool = True

    def records(self) -> list[dict[str, Cell]]:
        """A row as a dict by column, as `pandas.DataFrame` takes them; None where a cell is undefined."""
        return [dict(zip(self.columns, map(_plain, row), strict=True)) for row in self.rows]

    @property
    def of_emotions(self) -> tuple[int, ...]:
        """The columns that name emotions, or heads, which may be emotions."""
        return tuple(i for i, name in enumerate(self.columns) if name in ("emotion", "best emotion", "head"))


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture.

    Args:
        slug: its name in the file's name.
        title: its name for a reader.
        alt: what it shows, in words.
        draw: gives the PNG for a light page and that for a dark one; called once, and only when they are needed.
        origin: whose definition it is.
    """

    slug: str
    title: str
    alt: str
    draw: Callable[[], tuple[bytes, bytes]]
    origin: Origin = "ours"

    def __post_init__(self) -> None:
        object.__setattr__(self, "draw", cache(self.draw))


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures to look at, a card each.

    Args:
        slug: its name.
        title: its name for a reader.
        lead: what it shows, in words.
        cards: for each the keys of its pictures, which are shown where they name files, and what stands below them, by
            name.
    """

    slug: str
    title: str
    lead: str
    cards: tuple[tuple[tuple[str, ...], Mapping[str, str]], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Result:
    """Everything that an evaluation shows.

    Args:
        command: which one gave it, as hq or any-hit.
        title: for a reader.
        facts: what was evaluated, by name.
        figures: single numbers.
        tables: in the order to show.
        charts: in the order to show.
        notes: what a reader must know.
        galleries: pictures for the page.
    """

    command: str
    title: str
    facts: Mapping[str, str]
    figures: tuple[Figure, ...] = ()
    tables: tuple[Table, ...] = ()
    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = ()
    galleries: tuple[Gallery, ...] = ()

    def __repr__(self) -> str:
        return f"<Result {self.command}, {len(self.figures)} figures, {len(self.tables)} tables>"

    def figure(self, slug: str) -> Figure:
        """A figure by its name in JSON, such as "kappa". Raises OptionError, with the names, where there is none."""
        return _named(self.figures, slug)

    def table(self, slug: str) -> Table:
        """A table by its name in JSON, such as "emotions". Raises OptionError, with the names, where there is none."""
        return _named(self.tables, slug)

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
                    "rows": t.records(),
                }
                for t in self.tables
            },
        }


_Named = TypeVar("_Named", Figure, Table)


def _named(there: tuple[_Named, ...], slug: str) -> _Named:
    for one in there:
        if one.slug == slug:
            return one
    raise OptionError(f"there is no {slug!r}; expected one of {', '.join(one.slug for one in there)}")


def noted(result: Result) -> Result:
    """The result with a note for intervals of the paper's definition that do not hold their figure, and why."""
    outside = [f.label for f in result.figures if _outside(f.value, *f.interval)]
    for table in result.tables:
        for i, (name, low) in enumerate(pairwise(table.columns)):
            if low == f"{name} low":
                rows = [str(row[0]) for row in table.rows if _outside(*row[i : i + 3])]
                outside += [f"{name} ({', '.join(rows)})"] if rows else []
    if not outside:
        return result
    why = (
        f"the paper's intervals of {'; '.join(outside)} lie beside the figure itself: a resample repeats images, and "
        "that shifts the figure by more than its spread. Of such an interval only the width says something"
    )
    return replace(result, notes=(*result.notes, why))


def _outside(value: Cell, low: Cell, high: Cell) -> bool:
    numbers = [float(cell) for cell in (value, low, high) if isinstance(cell, int | float)]
    return len(numbers) == 3 and not any(map(math.isnan, numbers)) and not numbers[1] <= numbers[0] <= numbers[2]


def show(cell: Cell, digits: int) -> str:
    """A cell as text with fixed digits: "–" where it is undefined, "<0.001" where a positive value would round to 0."""
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
