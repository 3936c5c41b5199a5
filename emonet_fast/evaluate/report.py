"""A result as one HTML page that needs nothing else, as PNG files, and as JSON."""

import base64
import json
from pathlib import Path
from typing import Any

from ..errors import OptionError
from ..files import write_whole
from ..reports.parts import facts
from ..reports.render import write_page
from ..sinks.text import visible
from .result import Result, Table, show, show_interval


def write_report(result: Result, path: Path) -> None:
    """The page at `path`, whole or not at all. Charts are inside as PNG (extra `eval`)."""
    write_page(path, "evaluate/report.html", _content(result))


def write_charts(result: Result, folder: Path) -> list[Path]:
    """`<command>-<chart>.png` in a folder, which is made if it is not there; the files.

    Raises:
        OptionError: the folder cannot be made or written to.
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
    """Every figure and table in full precision; null where a figure is undefined."""
    write_whole(path, json.dumps(result.as_dict(), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")


def _content(result: Result) -> dict[str, Any]:
    """The template's variables."""
    return {
        "title": result.title,
        "facts_of_run": facts(result.facts),
        "notes": [visible(n) for n in result.notes],
        "figures": [
            {
                "label": f.label,
                "value": show(f.value, f.digits),
                "interval": show_interval(f.interval, f.digits),
                "paper": f.origin == "paper",
                "published": f.published,
            }
            for f in result.figures
        ],
        "published": any(f.published for f in result.figures),
        "charts": [
            {
                "title": c.title,
                "alt": visible(c.alt),
                "paper": c.origin == "paper",
                "png": base64.b64encode(c.draw()).decode("ascii"),
            }
            for c in result.charts
        ],
        "tables": [_table(t) for t in result.tables],
    }


def _table(table: Table) -> dict[str, Any]:
    rows = [
        [{"text": visible(show(c, table.digits)), "number": isinstance(c, float | int) or c is None} for c in row]
        for row in table.rows
    ]
    numeric = [all(row[i]["number"] for row in rows) and bool(rows) for i in range(len(table.columns))]
    return {
        "title": table.title,
        "lead": table.lead,
        "paper": table.origin == "paper",
        "columns": [{"text": c, "number": n} for c, n in zip(table.columns, numeric, strict=True)],
        "rows": rows,
    }
