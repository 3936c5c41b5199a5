"""Tables of README.md and docs/benchmarks.md from runs of the suites and from spread.json. Standard library only."""

import statistics
from typing import Any

from benchmarks.runs import DOLLARS_AN_HOUR, Entry, Run, dollars_a_million

NOT_MEASURED = "Not measured yet: no whole run of `make bench` is in `benchmarks/results/`."
PLOTS = {
    "speedup": "How many times as fast as the published pipeline",
    "batches": "Throughput over batch size",
    "latency": "Latency of one picture: share of rounds that took at most so long",
    "cost": "Cost of a million images, at assumed prices",
}


def readme(runs: list[Run]) -> str:
    """The end-to-end table of each device's newest run, and its bars."""
    if not runs:
        return NOT_MEASURED
    parts = []
    for run in runs:
        parts += [
            f"{run.where()}. Bytes to scores, all sides in turns in one run, `make bench`. "
            "Memory: the peak of a process of its own, or (+) what a side added to the run's.",
            "",
        ]
        parts += end_to_end(run)
        parts += ["", f"![{PLOTS['speedup']}](docs/plots/{run.device}-speedup.svg)", ""]
    return "\n".join(parts).rstrip()


def end_to_end(run: Run) -> list[str]:
    lines = ["| heads | side | of published's speed (95%) | img/s | score error max | memory |"]
    lines.append("|---|---|---|---|---|---|")
    for group, entries in run.groups("end to end"):
        for entry in entries:
            ratio = entry.info["ratio"]
            shown = f"{ratio['value']:.2f}x ({ratio['low']:.2f}..{ratio['high']:.2f})"
            error = entry.info["fidelity"]["max_error"]
            heads = group.split(": ")[1].capitalize()
            cells = [heads, entry.side, shown, number(entry.rate), f"{error:.1e}", memory(run, entry)]
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def memory(run: Run, entry: Entry) -> str:
    """Peak of a fresh process that scored once, from the start suite; else what the side added to the run's (+)."""
    side = entry.side if entry.side == "published" else f"{entry.side} warm"
    for other in run.entries:
        peak = other.info.get("memory_of_the_process_mb", {}).get(side, {}).get("peak")
        if peak is not None and other.info.get("heads") == entry.info.get("heads"):
            return f"{peak / 1000:.2f} GB"
    added = entry.info.get("memory", {}).get("added_mb")
    return "" if added is None else f"+{added / 1000:.2f} GB"


def every(run: Run | None) -> str:
    """Every benchmark of a run."""
    if run is None:
        return NOT_MEASURED
    products = ", ".join(f"{name} {rate * 1000:.0f}" for name, rate in run.machine["gemm_tflops"].items())
    lines = [f"{run.where()}. Product rate measured in the same run, GFLOP/s: {products}.", ""]
    lines += ["| group | side | ms, median (quartiles) | of the baseline's speed (95%) | img/s | GFLOP/s (its share) |"]
    lines.append("|---|---|---|---|---|---|")
    for group, entries in run.groups(""):
        lines += [row(group, entry) for entry in entries]
    return "\n".join(lines)


def row(group: str, entry: Entry) -> str:
    ms, ratio = entry.info["ms"], entry.info["ratio"]
    against = "baseline"
    if not entry.info["baseline"]:
        against = f"{ratio['value']:.2f}x ({ratio['low']:.2f}..{ratio['high']:.2f})"
    work = ""
    if "tflops" in entry.info:
        share = entry.info.get("share_of_gemm")
        work = number(entry.info["tflops"] * 1e3) + (f" ({share:.0%})" if share else "")
    cells = [group, entry.side, f"{number(ms['median'])} ({number(ms['q1'])}..{number(ms['q3'])})", against]
    cells += [number(entry.rate), work]
    return "| " + " | ".join(cells) + " |"


def cost(runs: list[Run]) -> str:
    """Dollars for a million images, from the rate and an assumed price."""
    if not runs:
        return NOT_MEASURED
    lines = ["| device | side | $ a million images | at $ an hour |", "|---|---|---|---|"]
    for run in runs:
        for group, entries in run.groups("end to end"):
            heads = group.split(": ")[1]
            for entry in entries:
                price = f"{dollars_a_million(run, entry):.0f}"
                lines.append(f"| {run.device} | {heads}, {entry.side} | {price} | {DOLLARS_AN_HOUR[run.device]:.2f} |")
    return "\n".join(lines)


def others(found: dict[str, Any] | None) -> str:
    """Other packages' rates, or why there are none."""
    if found is None:
        return "Not measured yet: `make bench-others` writes `benchmarks/results/others.json`."
    lines = [f"{found['crops']} crops, {found['cores']} cores, {found['date']}.", ""]
    lines += ["| package | what it does | img/s |", "|---|---|---|"]
    for name, one in found["others"].items():
        seconds = one.get("seconds_an_image")
        shown = number(1 / statistics.median(seconds)) if seconds else f"failed: {one['failed']}".replace("|", "/")
        lines.append(f"| {name} | {one['task']} | {shown} |")
    return "\n".join(lines)


def spread(found: dict[str, Any] | None) -> str:
    if found is None:
        return "Not measured yet: `make bench-spread` writes `benchmarks/results/spread.json`."
    lines = [f"{found['runs']} runs of `make bench-track`, {found['cores']} cores of an {found['processor']}, "]
    lines[0] += f"{found['date']}. Spread: standard deviation over the mean."
    lines += ["", "| group | side | ratio, lowest..highest | spread |", "|---|---|---|---|"]
    for key, ratios in found["ratios"].items():
        group, side = key.split(" | ")[0], key.split(" | ")[-1].rstrip("]")
        lines.append(f"| {group} | {side} | {min(ratios):.2f}..{max(ratios):.2f} | {found['spread'][key]:.1%} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Three digits."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.3g}"
