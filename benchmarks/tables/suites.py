"""The tables of `make bench`, `make bench-spread` and `make bench-others`: README.md and docs/benchmarks.md."""

import statistics

from benchmarks.measurements import Suite
from benchmarks.runs import DOLLARS_AN_HOUR, Entry, Run, dollars_a_million
from benchmarks.tables import number, table

NOT_MEASURED = "Not measured yet: no whole run of `make bench` is in `benchmarks/results/`."
PLOTS = {
    "speedup": "How many times as fast as the published pipeline",
    "batches": "Throughput over batch size",
    "latency": "Latency of one picture: share of rounds that took at most so long",
    "cost": "Cost of a million images, at assumed prices",
}


def readme(runs: list[Run]) -> str:
    """The end-to-end table and the bars of each run."""
    parts = []
    for run in runs:
        parts += [
            f"{run.where()}. Bytes to scores, all sides in turns in one run, `make bench`. "
            "Memory: the peak of a process of its own, or (+) what a side added to the run's.",
            "",
        ]
        parts += end_to_end(run)
        parts += ["", f"![{PLOTS['speedup']}](docs/plots/{run.device}-speedup.svg)", ""]
    return "\n".join(parts).rstrip() or NOT_MEASURED


def end_to_end(run: Run) -> list[str]:
    """The lines of the end-to-end table."""
    rows = []
    for group, entries in run.groups("end to end"):
        heads = group.split(": ")[1].capitalize()
        for entry in entries:
            error = f"{entry.info['fidelity']['max_error']:.1e}"
            rows.append([heads, entry.side, speed(entry), number(entry.rate), error, memory(run, entry)])
    return table(["heads", "side", "of published's speed (95%)", "img/s", "score error max", "memory"], rows)


def speed(entry: Entry) -> str:
    """How many times as fast as its baseline a side is, with the interval."""
    ratio = entry.info["ratio"]
    return f"{ratio['value']:.2f}x ({ratio['low']:.2f}..{ratio['high']:.2f})"


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
    products = ", ".join(f"{name} {rate * 1000:.0f}" for name, rate in run.facts["gemm_tflops"].items())
    head = ["group", "side", "ms, median (quartiles)", "of the baseline's speed (95%)", "img/s", "GFLOP/s (its share)"]
    rows = [row(group, entry) for group, entries in run.groups("") for entry in entries]
    first = f"{run.where()}. Product rate measured in the same run, GFLOP/s: {products}."
    return "\n".join([first, "", *table(head, rows)])


def row(group: str, entry: Entry) -> list[str]:
    """The cells of one side of one case."""
    ms = entry.info["ms"]
    work = ""
    if "tflops" in entry.info:
        share = entry.info.get("share_of_gemm")
        work = number(entry.info["tflops"] * 1e3) + (f" ({share:.0%})" if share else "")
    times = f"{number(ms['median'])} ({number(ms['q1'])}..{number(ms['q3'])})"
    return [group, entry.side, times, "baseline" if entry.info["baseline"] else speed(entry), number(entry.rate), work]


def cost(runs: list[Run]) -> str:
    """Dollars for a million images, from the rate and an assumed price."""
    rows = [
        [
            run.device,
            f"{group.split(': ')[1]}, {entry.side}",
            f"{dollars_a_million(run, entry):.0f}",
            f"{DOLLARS_AN_HOUR[run.device]:.2f}",
        ]
        for run in runs
        for group, entries in run.groups("end to end")
        for entry in entries
    ]
    return "\n".join(table(["device", "side", "$ a million images", "at $ an hour"], rows)) if runs else NOT_MEASURED


def others(suite: Suite | None) -> str:
    """Other people's packages: their rates, or why there are none."""
    if suite is None:
        return "Not measured yet: `make bench-others` measures them."
    rows = []
    for name, package in suite.values.items():
        seconds = package.get("seconds_an_image")
        rate = number(1 / statistics.median(seconds)) if seconds else f"failed: {package['failed']}".replace("|", "/")
        rows.append([name, package["task"], rate])
    crops = next(iter(suite.values.values()))["crops"]
    first = f"{crops} crops, {suite.machine}, {suite.date}."
    return "\n".join([first, "", *table(["package", "what it does", "img/s"], rows)])


def serving(suite: Suite | None) -> str:
    """What the server costs beside its scorer, and what it bears."""
    if suite is None:
        return "Not measured yet: `make bench-serving` measures them."
    rows = []
    for part, value in suite.values.items():
        if part == "rate":
            told = f"{statistics.median(value['http']):.1f} of {statistics.median(value['scorer']):.1f} rows/s"
            rows.append(
                [f"rows through HTTP, {value['clients']} clients, of Scorer's", f"{value['ratio']:.2f} ({told})"]
            )
        elif part == "latency":
            told = (
                f"{statistics.median(value['http_ms']):.1f} ms, Scorer {statistics.median(value['scorer_ms']):.1f} ms"
            )
            rows.append(["p50 of one picture beyond Scorer's own", f"{value['overhead_ms']:.1f} ms ({told})"])
        elif part == "crowd":
            for side, name in (("beside", "beside 200 idle and 50 slow connections"), ("alone", "without them")):
                one = value[side]
                counts = ", ".join(f"{number:,} {what}" for what, number in sorted(one["counts"].items()))
                rows.append([f"32 clients {name}", f"p50 {one['p50_ms']:.0f} ms, {one['rate']:.0f} rows/s; {counts}"])
        elif part == "stop":
            counts = ", ".join(f"{number:,} {what}" for what, number in sorted(value["counts"].items()))
            lost = value["counts"].get("lost", 0)
            rows.append([f"SIGTERM in the middle of the load, {value['times']} times", f"{counts}; {lost} lost"])
        else:
            counts = ", ".join(f"{number:,} {name}" for name, number in sorted(value["counts"].items()))
            before, after = (
                ", ".join(f"{number:.0f} {name}" for name, number in value[when].items())
                for when in ("before", "after")
            )
            rows.append(["requests and what became of them", counts])
            faults = value.get("faults", {})
            rows += [["what was wrong", f"{number:,} {fault}"] for fault, number in faults.items()]
            rows.append(["the server before them", before])
            rows.append(["the server after them", f"{after}; {value['left']:.0f} rows left"])
    return "\n".join([f"{suite.machine}, {suite.date}.", "", *table(["what", "figure"], rows)])


def spread(suite: Suite | None) -> str:
    """How far the ratios vary from run to run."""
    if suite is None:
        return "Not measured yet: `make bench-spread` measures it."
    rows = []
    for key, value in suite.values.items():
        group, side = key.split(" | ")[0], key.split(" | ")[-1].rstrip("]")
        ratios = value["ratios"]
        rows.append([group, side, f"{min(ratios):.2f}..{max(ratios):.2f}", f"{value['spread']:.1%}"])
    runs = len(next(iter(suite.values.values()))["ratios"])
    first = (
        f"{runs} runs of `make bench-track`, {suite.machine}, {suite.date}. Spread: standard deviation over the mean."
    )
    return "\n".join([first, "", *table(["group", "side", "ratio, lowest..highest", "spread"], rows)])
