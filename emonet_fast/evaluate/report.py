"""A result as one HTML page that needs nothing else, as PNG files, and as JSON."""

import base64
import json
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..files import write_whole
from ..reports.render import render
from .result import Result, Table, show, show_interval


def write_report(result: Result, path: Path) -> None:
    """Write the page, whole or not at all. Charts are inside as PNG (extra `eval`).

    Raises:
        OptionError: when the file cannot be written there.
        MissingPackageError: when there are charts, and matplotlib is missing.
    """
    write_whole(path, render("evaluate/report.html", _content(result)))


def write_charts(result: Result, folder: Path) -> list[Path]:
    """Write `<command>-<chart>.png` for each chart. Returns the files.

    Args:
        result: What to show.
        folder: Made if it is not there.

    Raises:
        OptionError: when the folder cannot be made or written to.
        MissingPackageError: when matplotlib is missing.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {folder}: {error.strerror or error}; choose another") from error
    out = []
    for chart in result.charts:
        path = folder / f"{result.command}-{chart.slug}.png"
        write_whole(path, chart.draw())
        out.append(path)
    return out


def write_json(result: Result, path: Path) -> None:
    """Write every figure and table in full precision, with null where a figure is undefined.

    Raises:
        OptionError: when the file cannot be written there.
    """
    write_whole(path, json.dumps(result.as_dict(), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _content(result: Result) -> dict[str, Any]:
    """The template's variables."""
    return {
        "title": result.title,
        "notes": result.notes,
        "result": result,
        "show": show,
        "show_interval": show_interval,
        "png": lambda chart: base64.b64encode(chart.draw()).decode("ascii"),
        "numeric": _numeric,
    }


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers alone, some of them perhaps undefined."""
    return [all(not isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]
