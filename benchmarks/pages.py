"""Writes every measured figure and plot of README.md and docs/ from benchmarks/results/.

    python -m benchmarks.pages            rewrites what lies between the documents' markers, and the plots
    python -m benchmarks.pages --check    only says whether all of it is up to date

Nothing of this is typed by hand. The plots need matplotlib (extra `eval`).
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.gpu.table import readme_table
from benchmarks.measurements import read
from benchmarks.plots import plots
from benchmarks.runs import DEVICES, Run, newest
from benchmarks.tables import bulk, decoding, fidelity, graph, int8, scaling, streams, suites, video

ROOT = Path(__file__).parents[1]
RESULTS, DOCS = ROOT / "benchmarks" / "results", ROOT / "docs"
PLOTS = DOCS / "plots"


def replaced(text: str, blocks: Mapping[str, str], document: str) -> str:
    """The text with new lines between the markers of each block.

    Raises:
        ValueError: when the document has no markers of a block.
    """
    for name, block in blocks.items():
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        text, count = re.subn(f"{begin}.*?{end}", lambda _, new=f"{begin}{block}\n{end}": new, text, flags=re.DOTALL)
        if not count:
            raise ValueError(f"{document} has no lines {begin.strip()} and {end}; put them around the block's place")
    return text


def newest_gpu_run() -> dict[str, Any] | None:
    """The newest of results/gpu-*.json; dry runs do not count."""
    runs = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("gpu-*.json"))]
    return max((run for run in runs if not run["dry"]), key=lambda run: (run["date"], run["time"]), default=None)


def plots_block(runs: list[Run]) -> str:
    """The plots of the runs, as images of docs/benchmarks.md."""
    lines = [
        f"![{suites.PLOTS[name]}](plots/{run.device}-{name}.svg)"
        for run in runs
        for name in plots(run)
        if name in suites.PLOTS
    ]
    return "\n\n".join(lines) or suites.NOT_MEASURED


def files() -> dict[Path, str]:
    """Every file that is written here, as it should be."""
    by_device = {device: newest(device) for device in DEVICES}
    runs = [run for run in by_device.values() if run is not None]
    close, start, decoders, curves = read("fidelity"), read("start"), read("decoding"), read("scaling")
    blocks = {
        ROOT / "README.md": {
            "gpu": readme_table(newest_gpu_run()),
            "factor": fidelity.factor(close, read("int8")),
            "fidelity": fidelity.fidelity(close),
            "start": fidelity.start(start, runs),
            "bench": suites.readme(runs),
        },
        DOCS / "benchmarks.md": {
            **{f"every-{device}": suites.every(run) for device, run in by_device.items()},
            "plots": plots_block(runs),
            "cost": suites.cost(runs),
            "spread": suites.spread(read("spread")),
            "others": suites.others(read("others")),
            "serving": suites.serving(read("serving")),
        },
        DOCS / "scaling.md": {
            "measured": bulk.measured(read("bulk")),
            "cost": bulk.cost(close, decoders),
            "streams": streams.measured(read("streams")),
            "large": streams.expected(read("streams")),
            "scaling": scaling.curves(curves),
            "prediction": scaling.prediction(curves),
        },
        DOCS / "decoding.md": decoding.blocks(decoders),
        DOCS / "video.md": {"figures": video.figures(read("video")), "tracks": video.tracks(read("video"))},
        DOCS / "int8-graph.md": {"speed": int8.speed(read("int8")), "proof": int8.proof(read("int8-proof"))},
        DOCS / "tensorrt.md": {"graph": graph.graph(read("trt-graph"))},
    }
    made = {path: replaced(path.read_text("utf-8"), new, path.name) for path, new in blocks.items()}
    made[DOCS / decoding.CURVE] = decoding.curve(decoders)
    for run in runs:
        made |= {PLOTS / f"{run.device}-{name}.svg": svg for name, svg in plots(run).items()}
    if curves is not None:
        made[PLOTS / "scaling.svg"] = scaling.plot(curves)
    return made


def main() -> None:
    made = files()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    stale += [path for path in PLOTS.glob("*.svg") if path not in made]
    if "--check" in sys.argv:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"{names}: not what benchmarks/results say; run python -m benchmarks.pages" if stale else 0)
    PLOTS.mkdir(exist_ok=True)
    for path in stale:
        if path in made:
            path.write_text(made[path], "utf-8")
        else:
            path.unlink()


if __name__ == "__main__":
    main()
