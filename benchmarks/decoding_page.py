"""Writes docs/decoding.md's figures from benchmarks/results/cpu-decoding.json, between their markers, and the curve.

`python benchmarks/decoding_page.py` rewrites them; with --check it only says whether they are up to date.
"""

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.marked import page  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "cpu-decoding.json"
PAGE, CURVE = ROOT / "docs" / "decoding.md", ROOT / "docs" / "decoding-memory.svg"


def fidelity(found: dict[str, Any]) -> str:
    lines = [
        "| pictures | rows | `dali` on the CPU: max, mean | DALI's own resize: max, mean |",
        "|---|---|---|---|",
    ]
    for name, row in found["fidelity"].items():
        cells = [_levels(row[side], row["values"]) for side in ("decoder", "pipeline")]
        lines.append(f"| {name} | {row['rows']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _levels(side: dict[str, Any], values: int) -> str:
    far = side["beyond_1"]
    rare = f" ({far} of {values / 1e6:.0f} million values beyond 1)" if far else ""
    return f"{side['max']} levels{rare}, {side['mean_max']:.3f}"


def scores(found: dict[str, Any]) -> str:
    if "scores" not in found:
        return "Not measured yet."
    row = found["scores"]
    lines = [f"{row['pictures']} pictures, {row['heads']} heads, fp32, all layers ({'; '.join(row['notes'])}).", ""]
    lines += ["| through | Spearman, lowest head | difference / between-image spread, largest |", "|---|---|---|"]
    for side, name in (("decoder", "`dali` on the CPU"), ("pipeline", "DALI's own resize")):
        one = row[side]
        lines.append(f"| {name} | {one['spearman_min']:.5f} | {one['difference_over_spread_max']:.2%} |")
    return "\n".join(lines)


def speed(found: dict[str, Any]) -> str:
    part = found["throughput"]
    low, high = (limit(part["bytes"]) / 1000 for limit in (min, max))
    lines = [f"1024 x 1024 JPEGs of {low:.0f} to {high:.0f} kB, {part['workers']} workers. Pillow is 1.", ""]
    lines += ["| way | of Pillow's rate |", "|---|---|"]
    lines += [f"| {name} | {rate / part['rates']['pillow']:.2f} |" for name, rate in part["rates"].items()]
    lines += [
        "",
        f"Looking for damage takes {part['triage_us']:.0f} µs a picture: {part['isolation_cost']:.1%} of its time.",
    ]
    return "\n".join(lines)


def regions(found: dict[str, Any]) -> str:
    rows = found["regions"]["rows"]
    places = list(rows[0]["factors"])
    lines = [f"| JPEG quality, size | {' | '.join(places)} |", "|---|" + "---|" * len(places)]
    for row in rows:
        cells = [f"{row['factors'][place]:.1f}x" for place in places]
        lines.append(f"| {row['quality']}, {row['bytes'] / 1000:.0f} kB | {' | '.join(cells)} |")
    return "\n".join(lines)


def damage(found: dict[str, Any]) -> str:
    part = found["corrupt"]
    said = ", ".join(f"{count} {status}" for status, count in part["statuses"].items())
    agree = "the same statuses and reasons by both decoders" if part["statuses_agree"] else "STATUSES DIFFER"
    return (
        f"{part['pictures']} pictures, {part['strange']} of them strange: {said}; {agree}. "
        f"{part['seconds_over_clean']:.2f} times as long as without them."
    )


def memory(found: dict[str, Any]) -> str:
    part = found["memory"]
    curve_mb = [mb for _, mb in part["curve_mb"]]
    at = [f"{curve_mb[int(share * (len(curve_mb) - 1))]:.0f}" for share in (0.25, 0.5, 0.75, 1)]
    return (
        f"{part['pictures']:,} pictures: {', '.join(at)} MB resident after each quarter, {part['max_mb']:.0f} MB at "
        f"most.\n\n![Resident memory over the run]({CURVE.name})"
    )


def curve(found: dict[str, Any]) -> str:
    """Resident memory in MB over pictures, as SVG."""
    points = found["memory"]["curve_mb"]
    width, height, left, bottom = 640, 240, 56, 30
    most_x, most_y = points[-1][0], max(mb for _, mb in points) * 1.15
    shown = " ".join(
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
    lines.append(f'<polyline points="{shown}" fill="none" stroke="#1f5fa8" stroke-width="1.5"/>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def blocks(found: dict[str, Any]) -> dict[str, str]:
    machine = found["machine"]
    where = f"{machine['machine']['cores']} cores of an {machine['processor']}; DALI {machine['decoders']['dali']}."
    makers = (fidelity, scores, speed, regions, damage, memory)
    return {"machine": where, **{make.__name__: make(found) for make in makers}}


def main() -> None:
    found = json.loads(RESULT.read_text("utf-8"))
    new = {PAGE: page(PAGE.read_text("utf-8"), blocks(found), PAGE.name), CURVE: curve(found)}
    old = [path.name for path, text in new.items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in sys.argv:
        if old:
            raise SystemExit(f"{', '.join(old)}: not up to date; run python benchmarks/decoding_page.py")
        return
    for path, text in new.items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
