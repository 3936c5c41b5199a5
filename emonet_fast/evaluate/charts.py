"""Charts as PNG, by matplotlib (extra `eval`). Nothing is global: each figure has its own canvas."""

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..optional import need
from ..text import shorten_middle, visible
from .metrics import Floats, Interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# A chart as PNG for a light page and for a dark one.
Pictures: TypeAlias = tuple[bytes, bytes]

# Hues of Paul Tol's "bright" scheme, which stand out 3:1 from a white page and from a dark one.
BLUE, RED, YELLOW, GREY, INK = "#4477aa", "#e0557a", "#a86a00", "#80858f", "#171a21"
GRID = "#e1e4ea"
# What a dark page has in their place; see the colours of reports/base.html.
_DARK = {"black": "#eceef2", INK: "#eceef2", GRID: "#2b303a"}
_DARK_PAGE = "#191c23"
# Of the series of a chart, in their order.
_MARKERS = (("o", BLUE), ("s", RED), ("D", YELLOW), ("|", INK))
_NAME, _PANEL_NAME = 34, 22
_DPI = 150


def heat_map_png(matrix: Floats, names: Sequence[str], humans: int) -> Pictures:
    """Draw mean kappas [R, R], every cell with its number. A line separates the first `humans` raters from the rest."""
    size = len(names)
    side = max(5.0, 0.46 * size)
    figure, axes = _figure(side + 2.2, side + 1.2)
    off = matrix[~np.eye(size, dtype=bool)]
    off = off[~np.isnan(off)]
    low, high = min(0.0, float(off.min(initial=0.0))), max(0.1, float(off.max(initial=0.1)))
    shown = np.where(np.eye(size, dtype=bool), np.nan, matrix)
    image = axes.imshow(shown, cmap="viridis", vmin=low, vmax=high)
    for i in range(size):
        for j in range(size):
            text, colour = ("·", GREY) if i == j else _cell(matrix[i, j], low, high)
            axes.text(j, i, text, ha="center", va="center", fontsize=7, color=colour)
    labels = [_name(n) for n in names]
    axes.set_xticks(range(size), labels, rotation=45, ha="right", fontsize=8)
    axes.set_yticks(range(size), labels, fontsize=8)
    if 0 < humans < size:
        axes.axhline(humans - 0.5, color="white", linewidth=2.5)
        axes.axvline(humans - 0.5, color="white", linewidth=2.5)
    axes.set_title("Mean weighted kappa over 40 emotions (humans first)", fontsize=10, loc="left")
    figure.colorbar(image, ax=axes, fraction=0.04, pad=0.02)
    return _png(figure)


def dots_png(
    names: Sequence[str],
    intervals: Sequence[Interval],
    series: Mapping[str, Floats],
    label: str = "",
    reference: float | None = None,
) -> Pictures:
    """Draw one line for each of N names: its interval, and a dot of each series [N]. The first series lies on top.

    label: of the axis. reference: where a vertical line stands, such as 0.5 for AUC.
    """
    figure, axes = _figure(9.0, 1.2 + 0.24 * max(len(names), 4))
    at = np.arange(len(names))[::-1]
    for y, ends in zip(at, intervals, strict=True):
        axes.plot(ends, [y, y], color=BLUE, linewidth=2, solid_capstyle="round")
    for (name, values), (marker, colour) in reversed(list(zip(series.items(), _MARKERS, strict=False))):
        axes.plot(values, at, marker, color=colour, label=name, markersize=9 if marker == "|" else 5)
    _lines(axes, at, names)
    if reference is not None:
        axes.axvline(reference, color=GREY, linewidth=1)
    if label:
        axes.set_xlabel(label, fontsize=9)
    if len(series) > 1:
        figure.legend(loc="outside lower center", fontsize=8, frameon=False, ncols=2)
    return _png(figure)


def stacked_png(names: Sequence[str], parts: Sequence[tuple[str, Floats]], notes: Sequence[str]) -> Pictures:
    """Draw one bar for each of N names, of shares [N] that add up to 1, with a note at its end."""
    figure, axes = _figure(9.0, 1.2 + 0.24 * len(names))
    at = np.arange(len(names))[::-1]
    left = np.zeros(len(names))
    for (label, values), colour in zip(parts, (BLUE, YELLOW, RED, GREY), strict=False):
        axes.barh(at, values, left=left, color=colour, label=label, height=0.8)
        left = left + values
    for y, note in zip(at, notes, strict=True):
        axes.text(1.01, y, note, va="center", fontsize=7)
    axes.set_xlim(0, 1.12)
    _lines(axes, at, names)
    figure.legend(loc="outside lower center", fontsize=8, frameon=False, ncols=4)
    return _png(figure)


def grouped_png(names: Sequence[str], series: Sequence[tuple[str, Floats]]) -> Pictures:
    """Draw a cluster of bars from 0 to 1 for each of N names, with a colour for each series [N]."""
    figure, axes = _figure(9.0, 4.2)
    width = 0.8 / len(series)
    at = np.arange(len(names))
    for i, ((label, values), colour) in enumerate(zip(series, (BLUE, RED, GREY, YELLOW), strict=False)):
        axes.bar(at + (i - (len(series) - 1) / 2) * width, values, width, label=label, color=colour)
    axes.set_xticks(at, [_name(n) for n in names], fontsize=9)
    axes.set_ylim(0, 1)
    _frame(axes, "y")
    figure.legend(loc="outside lower center", fontsize=8, frameon=False, ncols=4)
    return _png(figure)


def panels_png(
    names: Sequence[str],
    series: Sequence[Mapping[str, tuple[Floats, Floats]]],
    labels: tuple[str, str],
    *,
    joined: bool,
    one_scale: bool = True,
) -> Pictures:
    """Draw a small panel for each of N names, with the line of equal values.

    series: for each panel (x, y) of each series by its name, as dots, or joined by lines. labels: of x and y.
    one_scale: whether all panels have the same ends, or each its own.
    """
    across = min(5, len(names))
    down = -(-len(names) // across)
    figure, _ = _figure(max(4.5, 1.9 * across), 1.9 * down + 0.9, panels=(down, across), shared=one_scale)
    for axes, name, panel in zip(figure.axes, names, series, strict=False):
        ends = [v for one in (series if one_scale else [panel]) for xy in one.values() for v in xy if len(v)]
        low, high = (float(f([f(v) for v in ends])) if ends else 0.0 for f in (np.min, np.max))
        edge = 0.04 * (high - low) or 0.5
        axes.plot([low, high], [low, high], color=GREY, linewidth=1)
        for (label, (x, y)), (marker, colour) in zip(panel.items(), _MARKERS, strict=False):
            style = {"markersize": 3.5, "linewidth": 1.2} if joined else {"markersize": 1.5, "linestyle": "none"}
            axes.plot(x, y, marker=marker, color=colour, label=label, rasterized=True, **style)
        axes.set_title(_name(name, _PANEL_NAME), fontsize=8, loc="left")
        axes.set_xlim(low - edge, high + edge)
        axes.set_ylim(low - edge, high + edge)
        axes.tick_params(labelsize=7)
        _frame(axes, "both")
    for axes in figure.axes[len(names) :]:
        axes.remove()
    figure.supxlabel(_name(labels[0]), fontsize=9)
    figure.supylabel(_name(labels[1]), fontsize=9)
    if series and len(series[0]) > 1:
        figure.legend(
            *figure.axes[0].get_legend_handles_labels(), loc="outside upper right", fontsize=8, frameon=False, ncols=2
        )
    return _png(figure)


def lines_png(at: Any, series: Mapping[str, Floats], label: str) -> Pictures:
    """Draw for each series [E, H] H thin lines over E places, and the median of those that go on as a thick one.

    label: of the axis of places.
    """
    figure, axes = _figure(9.0, 4.2)
    for (name, values), (_, colour) in zip(series.items(), _MARKERS, strict=False):
        axes.plot(at, values, color=colour, linewidth=0.5, alpha=0.35)
        axes.plot(at, np.nanmedian(values, axis=1), color=colour, linewidth=2, label=name)
    axes.set_xlabel(label, fontsize=9)
    axes.xaxis.get_major_locator().set_params(integer=True)
    _frame(axes, "both")
    figure.legend(loc="outside lower center", fontsize=8, frameon=False, ncols=2)
    return _png(figure)


def _figure(
    width: float, height: float, panels: tuple[int, int] | None = None, shared: bool = True
) -> tuple["Figure", Any]:
    need("matplotlib", "a chart of emonet-fast evaluate")
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    return figure, figure.add_subplot() if panels is None else figure.subplots(*panels, sharex=shared, sharey=shared)


def _lines(axes: Any, at: Any, names: Sequence[str]) -> None:
    axes.set_yticks(at, [_name(n) for n in names], fontsize=8)
    axes.set_ylim(-0.8, len(names) - 0.2)
    axes.tick_params(axis="y", length=0)
    _frame(axes, "x")


def _frame(axes: Any, grid: str) -> None:
    axes.grid(axis=grid, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _cell(value: float, low: float, high: float) -> tuple[str, str]:
    if np.isnan(value):
        return "–", GREY
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−"), "white" if value < low + 0.6 * (high - low) else INK


def _name(text: str, most: int = _NAME) -> str:
    """A name as plain text: no control characters, and no "$", which would begin a formula."""
    return shorten_middle(visible(text), most).replace("$", r"\$")


def _darken(figure: "Figure") -> None:
    """Give what matplotlib draws in black, the grid and the background the colours of a dark page.

    Numbers in the cells of a heat map are neither black nor lines: they keep what stands out from their cell.
    """
    from matplotlib.colors import to_hex
    from matplotlib.lines import Line2D
    from matplotlib.spines import Spine
    from matplotlib.text import Text

    changed = {to_hex(old): new for old, new in _DARK.items()}
    figure.set_facecolor(_DARK_PAGE)
    for axes in figure.axes:
        axes.set_facecolor(_DARK_PAGE)
    for line in figure.findobj(Line2D):
        line.set_color(changed.get(to_hex(line.get_color()), line.get_color()))
        line.set_markeredgecolor(changed.get(to_hex(line.get_markeredgecolor()), line.get_markeredgecolor()))
    for text in figure.findobj(Text):
        if to_hex(text.get_color()) == to_hex("black"):
            text.set_color(_DARK["black"])
    for spine in figure.findobj(Spine):
        spine.set_edgecolor(_DARK["black"])


def _png(figure: "Figure") -> Pictures:
    """Both pictures of a figure, whose layout is found once."""
    light = _saved(figure)
    figure.set_layout_engine("none")
    _darken(figure)
    return light, _saved(figure)


def _saved(figure: "Figure") -> bytes:
    out = io.BytesIO()
    # "tight": beside a square heat map, the layout leaves too little room for long names
    figure.savefig(out, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.15, metadata={"Software": None})
    return out.getvalue()
