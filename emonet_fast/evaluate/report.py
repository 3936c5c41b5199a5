"""A result as one HTML page that needs nothing else, as PNG files, as JSON, and as text for the terminal."""

import base64
import json
import os
from pathlib import Path

from .. import taxonomy
from ..decode import decode
from ..errors import OptionError
from ..files import write_whole
from ..options import Options
from ..reliability import LEGEND, marked, reliability
from ..reports.render import render
from ..sources.folder import read_file
from ..sources.keys import picture_of
from ..sources.remote import is_remote
from ..text import columns, pad, shorten_end, visible
from ..thumbnails import encoded, thumbnail
from .result import Cell, Result, Table, show, show_interval

_CELL = 40  # columns of a cell at most


def write_report(result: Result, path: Path) -> list[Path]:
    """Write the page, whole or not at all, and return it. Charts are inside as PNG (extra `eval`)."""
    variables = {
        "title": result.title,
        "notes": result.notes,
        "result": result,
        "show": show,
        "show_interval": show_interval,
        "png": lambda chart, dark: base64.b64encode(chart.draw()[dark]).decode("ascii"),
        "numeric": _numeric,
        "picture": _picture,
    }
    write_whole(path, render("evaluate/report.html", variables))
    return [path]


def _picture(key: str) -> str:
    """The picture that a key names as base64 JPEG; "" where it names no file of this machine that can be shown."""
    path = picture_of(key)
    if is_remote(path) or not os.path.isfile(path):  # noqa: PTH113 - a key may be no path at all
        return ""
    options = Options()
    return encoded(thumbnail(decode(read_file(path, key, options.max_bytes), options).rgb))


def write_charts(result: Result, folder: Path) -> list[Path]:
    """Write `<command>-<chart>.png` for each chart into a folder, made if it is not there. Returns the files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OptionError(f"cannot make the folder {folder}: {error.strerror or error}; choose another") from error
    out = []
    for chart in result.charts:
        path = folder / f"{result.command}-{chart.slug}.png"
        write_whole(path, chart.draw()[0])
        out.append(path)
    return out


def write_json(result: Result, path: Path) -> list[Path]:
    """Write every figure and table in full precision, with null where one is undefined, and return the file."""
    write_whole(path, json.dumps(result.as_dict(), indent=1, ensure_ascii=False, allow_nan=False).encode() + b"\n")
    return [path]


def _numeric(table: Table) -> list[bool]:
    """Which columns hold numbers alone, some of them perhaps undefined."""
    return [all(not isinstance(cell, str) for cell in column) for column in zip(*table.rows, strict=True)]


def text(result: Result, whole: str = "--report and --json") -> str:
    """Facts, figures and the brief tables. whole: what holds the long tables too."""
    lines = [result.title, ""]
    lines += [f"{k}: {visible(v)}" for k, v in result.facts.items() if v]
    figures = [
        (f.label, show(f.value, f.digits), show_interval(f.interval, f.digits), _origin(f.origin), f.published)
        for f in result.figures
    ]
    if figures:
        lines += ["", *_grid([("figure", "value", "95% interval", "definition", "published"), *figures])]
    brief = [table for table in result.tables if table.brief]
    for table in brief:
        rows = [tuple(visible(_shown(table, i, cell)) for i, cell in enumerate(row)) for row in table.rows]
        lines += ["", f"{table.title} ({_origin(table.origin)})", *_grid([table.columns, *rows])]
    if any(table.of_emotions for table in brief):
        lines += ["", LEGEND]
    hidden = [t.title for t in result.tables if not t.brief]
    if hidden:
        lines += ["", f"in {whole}: {'; '.join(hidden)}"]
    lines += ["", *(f"note: {visible(n)}" for n in result.notes)] if result.notes else []
    return "\n".join(line.rstrip() for line in lines)


def _shown(table: Table, column: int, cell: Cell) -> str:
    """A cell as text; an emotion with the mark of how far experts agree on it."""
    slug = taxonomy.slug(cell) if column in table.of_emotions and isinstance(cell, str) else ""
    return marked(slug) if slug in reliability() else show(cell, table.digits)


def _origin(origin: str) -> str:
    return "the paper's" if origin == "paper" else "ours"


def _grid(rows: list[tuple[str, ...]]) -> list[str]:
    cut = [tuple(c if i == 0 or len(r) == i + 1 else shorten_end(c, _CELL) for i, c in enumerate(r)) for r in rows]
    widths = [max(columns(r[i]) for r in cut) for i in range(len(cut[0]))]
    return ["  ".join(pad(c, w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cut]
