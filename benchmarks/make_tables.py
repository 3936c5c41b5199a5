"""Writes the README's tables from benchmarks/results/*.json, between their markers: nothing is typed by hand.

`python benchmarks/tables.py` rewrites README.md; with --check it only says whether README.md is up to date.
"""

import json
import sys
from pathlib import Path
from typing import Any

from gpu.table import readme_table

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"


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


def rendered(readme: str, results: dict[str, dict[str, Any]], gpu: dict[str, Any] | None) -> str:
    blocks = {
        "gpu": readme_table(gpu),
        "factor": factor_sentence(results),
        "fidelity": fidelity_table(results),
        "start": start_table(results),
    }
    for name, text in blocks.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, rest = readme.split(begin)
        after = rest.split(end)[1]
        readme = f"{before}{begin}\n{text}\n{end}{after}"
    return readme


def main() -> None:
    paths = {heads: RESULTS / f"cpu-{heads}.json" for heads in ("large", "small")}
    results = {heads: json.loads(p.read_text("utf-8")) for heads, p in paths.items() if p.exists()}
    path = ROOT / "README.md"
    old = path.read_text("utf-8")
    new = rendered(old, results, newest_gpu_run())
    if "--check" in sys.argv:
        sys.exit(0 if new == old else "README.md is not what benchmarks/results say: run benchmarks/tables.py")
    path.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
