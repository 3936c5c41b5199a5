"""docs/scaling.md's curves of benchmarks/scaling.py, and what follows from them for a billion images."""

from typing import Any

from benchmarks.measurements import Suite
from benchmarks.plots import draw
from benchmarks.tables import number, table

IMAGES, GPUS = 1_000_000_000, (1, 8, 64)
# Assumed, and said so on the page: rates of one GPU are the project's bars, not measurements.
RATES = {"bf16": 1000.0, "FP8": 1400.0}
FILE_KB, SHARD_IMAGES, START_SECONDS = 110, 10_000, 60.0
NOT_MEASURED = "Not measured yet: `python -m benchmarks.scaling` measures it."
_UNITS = {
    "images a batch": "an image",
    "heads": "a head",
    "megapixels": "a megapixel",
    "images": "an image",
    "faces in it": "a face",
}


def curves(suite: Suite | None) -> str:
    """What each curve was fitted by."""
    if suite is None:
        return NOT_MEASURED
    rows = []
    for part in suite.values.values():
        for one in part:
            fit, unit = one["fit"], one["unit"]
            low, high = (f"{one['points'][i][0]:,.4g}" for i in (0, -1))
            fitted = f"{number(fit['a'] * 1e3)} + {number(fit['b'] * 1e3)} {_UNITS[unit]}"
            rows.append([one["what"], f"{low} to {high} {unit}", fitted, f"{fit['worst']:.0%}"])
    run = suite.values["images"][0]
    memory = ", ".join(
        f"{mb:.0f} MB after {n:,.0f}" for (n, _), mb in zip(run["points"], run["memory_mb"], strict=True)
    )
    return "\n".join(
        [
            f"{suite.machine}, {suite.date}.",
            "",
            *table(["what", "measured at", "fitted, ms", "worst error of the fit"], rows),
            "",
            f"Resident memory of the runs over images: {memory}.",
            "",
            "![Curves](plots/scaling.svg)",
        ]
    )


def prediction(suite: Suite | None) -> str:
    """Days or hours for IMAGES, and what must be fed to each GPU."""
    if suite is None:
        return NOT_MEASURED
    decode = suite.values["sizes"][0]["fit"]
    host = suite.values["images"][0]["fit"]["b"]
    a_picture = decode["a"] + decode["b"] * 1024**2 / 1e6
    rows = [[str(gpus), *(duration(seconds(gpus, rate)) for rate in RATES.values())] for gpus in GPUS]
    slow, fast = RATES["bf16"], RATES["FP8"]
    fed = " to ".join(f"{rate * FILE_KB / 1000:.0f}" for rate in (slow, fast))
    cores = " to ".join(f"{rate * a_picture:.0f}" for rate in (slow, fast))
    busy = " to ".join(f"{rate * host:.2f}" for rate in (slow, fast))
    return "\n".join(
        [
            *table(["GPUs", *(f"{name}, {rate:.0f} img/s a GPU" for name, rate in RATES.items())], rows),
            "",
            f"Each GPU must be fed {fed} MB/s of files of {FILE_KB} kB; all files are {IMAGES * FILE_KB / 1e9:.0f} TB. "
            f"Decoding 1024 x 1024 by Pillow on the host would take {cores} cores a GPU of the kind measured here "
            f"({a_picture * 1e3:.1f} ms each). What the scorer itself costs a picture beside its network, "
            f"{host * 1e3:.2f} ms with the decoding of 64 x 64, keeps {busy} cores busy.",
        ]
    )


def seconds(gpus: int, rate: float) -> float:
    """Start, the even share of all shards, and at the end one shard that others wait for."""
    return START_SECONDS + IMAGES / (gpus * rate) + (SHARD_IMAGES / rate if gpus > 1 else 0.0)


def duration(value: float) -> str:
    """Seconds in words."""
    return f"{value / 86400:.1f} days" if value > 2 * 86400 else f"{value / 3600:.1f} hours"


def plot(suite: Suite) -> str:
    """Every curve with its fit, both axes logarithmic."""

    def paint(axes: Any) -> None:
        for part in suite.values.values():
            for one in part:
                xs, ys = zip(*one["points"], strict=True)
                label = f"{one['what']} / {one['unit']}"
                (line,) = axes.plot(xs, [y * 1e3 for y in ys], "o", markersize=3, label=label)
                fitted = [(one["fit"]["a"] + one["fit"]["b"] * x) * 1e3 for x in xs]
                axes.plot(xs, fitted, color=line.get_color(), linewidth=1)
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel("size, in the unit after the stroke")
        axes.set_ylabel("ms")
        axes.set_title("Cost over size: measured points and fits", loc="left")
        axes.legend(frameon=False, fontsize=7, bbox_to_anchor=(1.0, 1.0))

    return draw(paint, height=4.2)
