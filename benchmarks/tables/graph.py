"""docs/tensorrt.md's figures of benchmarks/trt/graph.py."""

from benchmarks.measurements import Suite
from benchmarks.tables import table


def graph(suite: Suite) -> str:
    """Errors of each low-precision network."""
    run = suite.values["run"]
    weights = "synthetic weights" if run["untrained"] else "trained weights"
    rows = [
        [
            name,
            f"{row['cosine_min']:.6f} / {row['cosine_mean']:.6f}",
            f"{row['max_error']:.3f} / {row['rms_error']:.4f}",
        ]
        for name, row in suite.values.items()
        if name != "run"
    ]
    first = f"{run['layers']} layers, {weights}, {run['pictures']} generated pictures, against float32:"
    return "\n".join([first, "", *table(["network", "cosine min / mean", "score error max / RMS"], rows)])
