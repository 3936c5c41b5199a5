"""Writes the tables and plots of README.md, docs/benchmarks.md and docs/scaling.md from benchmarks/results/*.json.

`python benchmarks/make_tables.py` rewrites what lies between their markers, and docs/plots/; nothing is typed by hand.
With --check it only says whether all of it is up to date. The plots need matplotlib (extra `eval`).
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks import bench_tables, scaling_page  # noqa: E402
from benchmarks.gpu.table import readme_table  # noqa: E402
from benchmarks.plots import plots  # noqa: E402
from benchmarks.runs import Run, newest  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PLOTS = ROOT / "docs" / "plots"


def fidelity_table(results: dict[str, dict[str, Any]]) -> str:
    lines = [
        "| heads | side | s/image | factor | cosine min | score error max / RMS | Spearman min | top-1 | memory |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for heads, result in results.items():
        for row in result["verify"]["rows"]:
            lines.append(_row(heads, row))
    return "\n".join(lines)


def _row(heads: str, row: dict[str, Any]) -> str:
    cells = [heads.capitalize(), row["name"], f"{row['seconds']:.2f}", f"{row['factor']:.2f}x"]
    found = row["fidelity"]
    if found is None:
        cells += ["", "", "", ""]
    else:
        cells += [
            f"{found['cosine_min']:.7f}",
            f"{found['max_error']:.1e} / {found['rms_error']:.1e}",
            f"{min(found['spearman']):.5f}",
            f"{found['top1_agreement']:.3f}",
        ]
    cells.append(f"{row['memory']['now'] / 1000:.2f} GB")
    return "| " + " | ".join(cells) + " |"


def factor_sentence(results: dict[str, dict[str, Any]]) -> str:
    result = results["large"]
    row = next(r for r in result["verify"]["rows"] if r["name"] == "engine bf16")
    machine = result["machine"]["cpu_engine"]["name"]
    cores = result["machine"]["machine"]["cores"]
    return (
        f"**{row['factor']:.1f} times as fast as the published PyTorch pipeline** on the same CPU in the same run "
        f"({cores} cores of an {machine}, bf16 against float32, all 27 layers, {row['seconds']:.2f} s an image), "
        f"in {row['memory']['now'] / 1000:.1f} GB of memory."
    )


def start_table(results: dict[str, dict[str, Any]]) -> str:
    lines = ["| what | figure |", "|---|---|"]
    for precision in ("bf16", "fp32"):
        start = results["large"]["start"][precision]
        warm, cold = (start[kind]["first_score_seconds"] for kind in ("warm", "cold"))
        lines.append(
            f"| first score from a packed Large file, {precision}, engine stored | "
            f"{warm:.1f} s (the first time: {cold:.1f} s) |"
        )
    bf16 = results["large"]["start"]["bf16"]["warm"]
    lines.append(f"| `import emonet_fast` | {bf16['import_seconds']:.3f} s |")
    lines.append(f"| default installation, without PyTorch | {results['large']['default_site_packages_mb']:.0f} MB |")
    return "\n".join(lines)


def newest_gpu_run() -> dict[str, Any] | None:
    """Of benchmarks/results/gpu-*.json, by date and time; dry runs do not count."""
    runs = [json.loads(path.read_text("utf-8")) for path in sorted(RESULTS.glob("gpu-*.json"))]
    runs = [run for run in runs if not run["dry"]]
    return max(runs, key=lambda run: (run["date"], run["time"]), default=None)


def page(text: str, blocks: Mapping[str, str]) -> str:
    """The text with what stands between each block's two markers replaced."""
    for name, block in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, rest = text.split(begin)
        after = rest.split(end)[1]
        text = f"{before}{begin}\n{block}\n{end}{after}"
    return text


def files() -> dict[Path, str]:
    """Every file that is written here, as it should be."""
    paths = {heads: RESULTS / f"cpu-{heads}.json" for heads in ("large", "small")}
    results = {heads: json.loads(p.read_text("utf-8")) for heads, p in paths.items() if p.exists()}
    runs = [run for device in ("cpu", "cuda") if (run := newest(device)) is not None]
    spread, scaling, others = (stored(name) for name in ("spread", "scaling", "others"))
    blocks = {
        "README.md": {
            "gpu": readme_table(newest_gpu_run()),
            "factor": factor_sentence(results),
            "fidelity": fidelity_table(results),
            "start": start_table(results),
            "bench": bench_tables.readme(runs),
        },
        "docs/benchmarks.md": {
            "every-cpu": bench_tables.every(next((run for run in runs if run.device == "cpu"), None)),
            "every-cuda": bench_tables.every(next((run for run in runs if run.device == "cuda"), None)),
            "plots": plots_text(runs),
            "cost": bench_tables.cost(runs),
            "spread": bench_tables.spread(spread),
            "others": bench_tables.others(others),
        },
        "docs/scaling.md": scaling_page.blocks(scaling),
    }
    made = {ROOT / name: page((ROOT / name).read_text("utf-8"), found) for name, found in blocks.items()}
    for run in runs:
        made |= {PLOTS / f"{run.device}-{name}.svg": svg for name, svg in plots(run).items()}
    if scaling is not None:
        made[PLOTS / "scaling.svg"] = scaling_page.plot(scaling)
    return made


def stored(name: str) -> dict[str, Any] | None:
    """results/<name>.json, None where there is none yet."""
    path = RESULTS / f"{name}.json"
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def plots_text(runs: list[Run]) -> str:
    """The plots by name, as images of the page."""
    lines = [
        f"![{bench_tables.PLOTS[name]}](plots/{run.device}-{name}.svg)"
        for run in runs
        for name in plots(run)
        if name in bench_tables.PLOTS
    ]
    return "\n\n".join(lines) or bench_tables.NOT_MEASURED


def main() -> None:
    made = files()
    stale = [path for path, text in made.items() if not path.exists() or path.read_text("utf-8") != text]
    stale += [path for path in PLOTS.glob("*.svg") if path not in made]
    if "--check" in sys.argv:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale)
        sys.exit(f"{names}: not what benchmarks/results say; run benchmarks/make_tables.py" if stale else 0)
    PLOTS.mkdir(exist_ok=True)
    for path in stale:
        if path in made:
            path.write_text(made[path], "utf-8")
        else:
            path.unlink()


if __name__ == "__main__":
    main()
