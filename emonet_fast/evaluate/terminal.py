"""A result as plain text for the terminal."""

from ..sinks.text import columns, pad, shorten_end, visible
from .result import Result, Table, show, show_interval

_CELL = 40  # columns of a cell at most


def text(result: Result) -> str:
    """Facts, figures and the brief tables; --report and --json hold the long tables too."""
    lines = [result.title, ""]
    lines += [f"{k}: {visible(v)}" for k, v in result.facts.items() if v]
    lines += ["", *_grid([("", "figure", "95% interval", "definition", "published"), *_figures(result)])]
    for table in result.tables:
        if table.brief:
            lines += ["", f"{table.title} ({_origin(table.origin)})", *_table(table)]
    hidden = [t.title for t in result.tables if not t.brief]
    if hidden:
        lines += ["", f"in --report and --json: {'; '.join(hidden)}"]
    lines += ["", *(f"note: {visible(n)}" for n in result.notes)] if result.notes else []
    return "\n".join(line.rstrip() for line in lines)


def _figures(result: Result) -> list[tuple[str, ...]]:
    return [
        (f.label, show(f.value, f.digits), show_interval(f.interval, f.digits), _origin(f.origin), f.published)
        for f in result.figures
    ]


def _origin(origin: str) -> str:
    return "the paper's" if origin == "paper" else "ours"


def _table(table: Table) -> list[str]:
    return _grid([table.columns, *(tuple(visible(show(c, table.digits)) for c in row) for row in table.rows)])


def _grid(rows: list[tuple[str, ...]]) -> list[str]:
    cut = [tuple(c if i == 0 or len(r) == i + 1 else shorten_end(c, _CELL) for i, c in enumerate(r)) for r in rows]
    widths = [max(columns(r[i]) for r in cut) for i in range(len(cut[0]))]
    return ["  ".join(pad(c, w) for c, w in zip(r, widths, strict=True)).rstrip() for r in cut]
