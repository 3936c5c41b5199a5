"""The README's tables of `make fidelity`: the engine beside the published pipeline, and how quickly it starts."""

import statistics
from typing import Any

from benchmarks.measurements import Suite
from benchmarks.runs import Run
from benchmarks.tables import table

# A case has the mark `disturbed` in the table of results until it is measured again.
_DISTURBED = (
    "–: other programs took a part of the processor, so these rows have no speed until `make fidelity` is run again on "
    "a quiet machine. The table of `make bench` below has Small's, both sides in one run."
)


def fidelity(suite: Suite) -> str:
    """Speed, fidelity and memory of every side."""
    head = [
        "heads",
        "side",
        "s/image",
        "factor",
        "cosine min",
        "score error max / RMS",
        "Spearman min",
        "top-1",
        "memory",
    ]
    sides = {case: row for case, row in suite.values.items() if "seconds" in row}
    lines = table(head, [_cells(case, row) for case, row in sides.items()])
    if any(row.get("disturbed") for row in sides.values()):
        lines += ["", _DISTURBED]
    return "\n".join(lines)


def _cells(case: str, row: dict[str, Any]) -> list[str]:
    close = row["fidelity"]
    figures = [""] * 4
    if close is not None:
        figures = [
            f"{close['cosine_min']:.7f}",
            f"{close['max_error']:.1e} / {close['rms_error']:.1e}",
            f"{min(close['spearman']):.5f}",
            f"{close['top1_agreement']:.3f}",
        ]
    heads = case.partition(",")[0].capitalize()
    speed = ["–", "–"] if row.get("disturbed") else [f"{row['seconds']:.2f}", f"{row['factor']:.2f}x"]
    memory = f"{row['memory']['now'] / 1000:.2f} GB"
    return [heads, row["name"], *speed, *figures, memory]


CERTIFIED = "int8, certified"


def factor(suite: Suite, int8: Suite | None) -> str:
    """The README's first figures: bf16 of `make fidelity`, and the certified int8 of `make bench-int8`."""
    row = suite.values["large, engine bf16"]
    first = (
        f"**{row['factor']:.1f} times as fast as the published PyTorch pipeline** on the same CPU in the same run "
        f"({suite.machine}, bf16 against float32, all 27 layers, {row['seconds']:.2f} s an image), "
        f"in {row['memory']['now'] / 1000:.1f} GB of memory."
    )
    values = {} if int8 is None else int8.values
    if CERTIFIED not in values:
        return first
    row = values[CERTIFIED]
    return (
        f"{first} In int8, [certified](docs/int8.md) on this machine, **{row['factor']:.1f} times** "
        f"({statistics.median(row['seconds']):.2f} s, {row['memory_mb']['now'] / 1000:.1f} GB){_without(values)}."
    )


def _without(values: dict[str, Any]) -> str:
    """What int8 reaches on a processor that has VNNI and no bf16."""
    row = values.get(f"{CERTIFIED}, without bf16")
    return "" if row is None else f"; with VNNI and without bf16 {row['factor']:.1f} times"


def start(suite: Suite, runs: list[Run]) -> str:
    """Seconds from a fresh process to its first score, by the run of `make bench`, and an installation's size."""
    started = {
        entry.side: f"{entry.info['ms']['median'] / 1000:.1f} s"
        for run in runs[:1]
        for entry in run.entries
        if entry.group == "start: large"
    }
    rows = []
    if "openvino bf16, warm" in started:
        what = "a fresh process to its first score: a packed Large file, bf16, engine stored"
        rows.append([what, f"{started['openvino bf16, warm']} (published pipeline: {started['published']})"])
    rows.append(["`import emonet_fast`", f"{suite.values['large, bf16, warm']['import_seconds']:.3f} s"])
    size = suite.values["installation"]["site_packages_mb"]
    rows.append(["default installation, without PyTorch", f"{size:.0f} MB"])
    return "\n".join(table(["what", "figure"], rows))
