"""The README's tables of `make fidelity`: the engine beside the published pipeline, and how quickly it starts."""

from typing import Any

from benchmarks.measurements import Suite
from benchmarks.tables import table


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
    rows = [_cells(case, row) for case, row in suite.values.items() if "seconds" in row]
    return "\n".join(table(head, rows))


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
    memory = f"{row['memory']['now'] / 1000:.2f} GB"
    return [heads, row["name"], f"{row['seconds']:.2f}", f"{row['factor']:.2f}x", *figures, memory]


def factor(suite: Suite) -> str:
    """The README's first figure."""
    row = suite.values["large, engine bf16"]
    return (
        f"**{row['factor']:.1f} times as fast as the published PyTorch pipeline** on the same CPU in the same run "
        f"({suite.machine}, bf16 against float32, all 27 layers, {row['seconds']:.2f} s an image), "
        f"in {row['memory']['now'] / 1000:.1f} GB of memory."
    )


def start(suite: Suite) -> str:
    """Seconds from a fresh process to its first score, and the size of an installation."""
    rows = []
    for precision in ("bf16", "fp32"):
        warm, cold = (suite.values[f"large, {precision}, {kind}"]["first_score_seconds"] for kind in ("warm", "cold"))
        what = f"first score from a packed Large file, {precision}, engine stored"
        rows.append([what, f"{warm:.1f} s (the first time: {cold:.1f} s)"])
    rows.append(["`import emonet_fast`", f"{suite.values['large, bf16, warm']['import_seconds']:.3f} s"])
    size = suite.values["installation"]["site_packages_mb"]
    rows.append(["default installation, without PyTorch", f"{size:.0f} MB"])
    return "\n".join(table(["what", "figure"], rows))
