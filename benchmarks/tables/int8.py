"""docs/int8-graph.md's figures of `make bench-int8`."""

import statistics

from benchmarks.measurements import Suite
from benchmarks.tables import table


def speed(suite: Suite | None) -> str:
    """Speed and memory of every side; the last measured machine stands above it."""
    if suite is None:
        return "Not measured yet: `make bench-int8` measures it."
    rows = [
        [
            case,
            f"{statistics.median(row['seconds']):.2f}",
            f"{row['factor']:.2f}x",
            f"{row['memory_mb']['now'] / 1000:.2f} GB",
        ]
        for case, row in suite.values.items()
    ]
    first = f"{suite.machine}; {suite.date}. Bytes to raw scores, Large heads, 27 layers, all sides in turns."
    return "\n".join([first, "", *table(["side", "s/image", "of published's speed", "memory"], rows)])


def proof(suite: Suite | None) -> str:
    """How close each side comes to float32."""
    if suite is None:
        return "Not measured yet: `make bench-int8 INT8='--proof 64'` measures it."
    rows = [
        [
            case,
            str(row["pictures"]),
            f"{row['cosine_mean']:.4f}",
            f"{row['rms_relative']:.1%}",
            f"{min(row['spearman']):.3f}",
            f"{row['top1_agreement']:.1%}",
        ]
        for case, row in suite.values.items()
    ]
    head = ["side", "pictures", "cosine mean", "RMS error of the spread", "Spearman min", "top-1 agreement"]
    return "\n".join(table(head, rows))
