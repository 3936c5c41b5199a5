"""The plots of a run as SVG, byte for byte the same from the same results by the same matplotlib."""

import io
from collections.abc import Callable
from typing import Any

from benchmarks.runs import Run, dollars_a_million
from benchmarks.tables.suites import PLOTS

OURS, THEIRS = "#1f5fa8", "#9aa5b1"
_STYLE = {
    "svg.hashsalt": "emonet-fast",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.constrained_layout.use": True,
}


def draw(paint: Callable[[Any], None], *, height: float = 2.8) -> str:
    """One figure. paint: puts it on matplotlib's axes."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "svg", **_STYLE}):
        figure = Figure(figsize=(7, height))
        paint(figure.subplots())
        out = io.StringIO()
        figure.savefig(out, format="svg", metadata={"Date": None, "Creator": None})
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def plots(run: Run) -> dict[str, str]:
    """SVGs of one run by name of PLOTS; a plot without figures is left out."""
    ends = [(group.split(": ")[1], entry) for group, entries in run.groups("end to end") for entry in entries]
    curves: dict[str, list[tuple[int, float]]] = {}
    for _, entries in run.groups("backbone"):
        for entry in entries:
            curves.setdefault(entry.side, []).append((int(entry.info["batch"]), entry.rate))
    made = {}
    if ends:
        names = [f"{heads}, {entry.side}" for heads, entry in ends]
        engines = [entry.side.split(" ")[0] in ("openvino", "cuda", "tensorrt") for _, entry in ends]
        factors = [entry.factor for _, entry in ends]
        prices = [dollars_a_million(run, entry) for _, entry in ends]
        made["speedup"] = draw(
            lambda axes: bars(axes, names, factors, engines, "speedup"), height=0.8 + 0.26 * len(ends)
        )
        made["cost"] = draw(lambda axes: bars(axes, names, prices, engines, "cost"), height=0.8 + 0.26 * len(ends))
        first = ends[0][0]
        made["latency"] = draw(lambda axes: distribution(axes, [e for heads, e in ends if heads == first]))
    if any(len(points) > 1 for points in curves.values()):
        made["batches"] = draw(lambda axes: throughput(axes, curves))
    return made


def bars(axes: Any, names: list[str], values: list[float], engines: list[bool], which: str) -> None:
    colours = [OURS if ours else THEIRS for ours in engines]
    shown = axes.barh(names, values, color=colours)
    axes.invert_yaxis()
    axes.bar_label(shown, [f"{v:.2f}x" if which == "speedup" else f"${v:,.0f}" for v in values], padding=3)
    axes.set_title(PLOTS[which], loc="left")
    axes.margins(x=0.12)
    axes.set_xticks([])
    axes.spines["bottom"].set_visible(False)


def distribution(axes: Any, entries: list[Any]) -> None:
    for entry in entries:
        ordered = sorted(s * 1e3 / entry.info["images"] for s in entry.seconds)
        shares = [(i + 1) / len(ordered) for i in range(len(ordered))]
        axes.step([ordered[0], *ordered], [0, *shares], where="post", label=entry.side)
    axes.set_xlabel("ms an image")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 1.02)
    axes.set_title(PLOTS["latency"], loc="left")
    axes.legend(frameon=False, fontsize=8)


def throughput(axes: Any, curves: dict[str, list[tuple[int, float]]]) -> None:
    for side, points in curves.items():
        axes.plot(*zip(*sorted(points), strict=True), marker="o", label=side)
    axes.set_xscale("log", base=2)
    sizes = sorted({size for points in curves.values() for size, _ in points})
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("batch size")
    axes.set_ylabel("img/s")
    axes.set_title(PLOTS["batches"], loc="left")
    axes.legend(frameon=False, fontsize=8)
