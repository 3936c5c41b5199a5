"""docs/decoding.md's figures of benchmarks/decoding.py, and the curve of memory."""

from typing import Any

from benchmarks.measurements import Suite
from benchmarks.tables import table

CURVE = "decoding-memory.svg"


def blocks(suite: Suite) -> dict[str, str]:
    """The page's blocks by the name of their markers."""
    machine = f"{suite.machine}; DALI {suite.values['decoders']['dali']}."
    makers = (fidelity, scores, speed, regions, damage, memory)
    return {"machine": machine, **{make.__name__: make(suite.values) for make in makers}}


def fidelity(values: dict[str, Any]) -> str:
    """Differences of pixels from Pillow."""
    head = ["pictures", "rows", "`dali` on the CPU: max, mean"]
    rows = [
        [name, str(row["rows"]), _levels(row["decoder"], row["values"])] for name, row in values["fidelity"].items()
    ]
    return "\n".join(table(head, rows))


def _levels(side: dict[str, Any], values: int) -> str:
    far = side["beyond_1"]
    rare = f" ({far} of {values / 1e6:.0f} million values beyond 1)" if far else ""
    return f"{side['max']} levels{rare}, {side['mean_max']:.3f}"


def scores(values: dict[str, Any]) -> str:
    """Differences of scores from those through Pillow."""
    if "scores" not in values:
        return "Not measured yet."
    part = values["scores"]
    first = f"{part['pictures']} pictures, {part['heads']} heads, fp32, all layers ({'; '.join(part['notes'])})."
    one = part["decoder"]
    rows = [["`dali` on the CPU", f"{one['spearman_min']:.5f}", f"{one['difference_over_spread_max']:.2%}"]]
    head = ["through", "Spearman, lowest head", "difference / between-image spread, largest"]
    return "\n".join([first, "", *table(head, rows)])


def speed(values: dict[str, Any]) -> str:
    """Rates of the decoders and of their parts."""
    part = values["throughput"]
    low, high = (limit(part["bytes"]) / 1000 for limit in (min, max))
    first = f"1024 x 1024 JPEGs of {low:.0f} to {high:.0f} kB, {part['workers']} workers. Pillow is 1."
    rows = [[name, f"{rate / part['rates']['pillow']:.2f}"] for name, rate in part["rates"].items()]
    last = f"Looking for damage takes {part['triage_us']:.0f} µs a picture: {part['isolation_cost']:.1%} of its time."
    return "\n".join([first, "", *table(["way", "of Pillow's rate"], rows), "", last])


def regions(values: dict[str, Any]) -> str:
    """How much sooner a region of a picture is there than all of it."""
    measured = values["regions"]["rows"]
    places = list(measured[0]["factors"])
    rows = [
        [f"{row['quality']}, {row['bytes'] / 1000:.0f} kB", *(f"{row['factors'][place]:.1f}x" for place in places)]
        for row in measured
    ]
    return "\n".join(table(["JPEG quality, size", *places], rows))


def damage(values: dict[str, Any]) -> str:
    """A run with damaged files."""
    part = values["corrupt"]
    statuses = ", ".join(f"{count} {status}" for status, count in part["statuses"].items())
    agree = "the same statuses and reasons by both decoders" if part["statuses_agree"] else "STATUSES DIFFER"
    return (
        f"{part['pictures']} pictures, {part['strange']} of them strange: {statuses}; {agree}. "
        f"{part['seconds_over_clean']:.2f} times as long as without them."
    )


def memory(values: dict[str, Any]) -> str:
    """Memory over a long run, and the image of its curve."""
    part = values["memory"]
    curve_mb = [mb for _, mb in part["curve_mb"]]
    quarters = [f"{curve_mb[int(share * (len(curve_mb) - 1))]:.0f}" for share in (0.25, 0.5, 0.75, 1)]
    return (
        f"{part['pictures']:,} pictures: {', '.join(quarters)} MB resident after each quarter, {part['max_mb']:.0f} MB "
        f"at most.\n\n![Resident memory over the run]({CURVE})"
    )


def curve(suite: Suite) -> str:
    """Resident memory in MB over pictures, as SVG."""
    points = suite.values["memory"]["curve_mb"]
    width, height, left, bottom = 640, 240, 56, 30
    most_x, most_y = points[-1][0], max(mb for _, mb in points) * 1.15
    line = " ".join(
        f"{left + x / most_x * (width - left - 10):.1f},{height - bottom - mb / most_y * (height - bottom - 10):.1f}"
        for x, mb in points
    )
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    step = 10 ** (len(str(int(most_y))) - 1)
    for mb in range(0, int(most_y) + 1, step):
        y = height - bottom - mb / most_y * (height - bottom - 10)
        lines.append(f'<path d="M{left} {y:.1f}H{width - 10}" stroke="#ddd"/>')
        lines.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{mb} MB</text>')
    for part in range(5):
        x, count = left + part / 4 * (width - left - 10), int(most_x * part / 4)
        anchor = "end" if part == 4 else "middle"
        lines.append(f'<text x="{x:.1f}" y="{height - 12}" text-anchor="{anchor}">{count:,}</text>')
    lines.append(f'<polyline points="{line}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>')
    return "\n".join([*lines, "</svg>"]) + "\n"
