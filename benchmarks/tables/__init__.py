"""The documents' tables in Markdown, one file a suite; benchmarks/pages.py puts them where they belong."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return [line(head), "|" + "---|" * len(head), *map(line, rows)]


def line(cells: Iterable[str]) -> str:
    """One row of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def number(value: float) -> str:
    """The value with three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
