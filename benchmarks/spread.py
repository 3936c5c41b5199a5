"""Run-to-run spread of the ratios that CI compares: `make bench-track` several times, one run after the other.

    python benchmarks/spread.py [--runs 6] [--suites FILE.py ...] [--json F] [FILE.json ...]

Spread: standard deviation of a ratio over the runs, divided by its mean. FILEs of earlier runs are taken as they are.
With --suites only those run, and the other groups keep their figures in the file.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.compare import measured, read  # noqa: E402

RESULT = ROOT / "benchmarks" / "results" / "spread.json"


def spread(values: list[float]) -> float:
    return statistics.stdev(values) / statistics.fmean(values)


def gathered(files: list[Path]) -> dict[str, list[float]]:
    """Each benchmark's ratio in every run that has it."""
    runs = [measured(read(path)) for path in files]
    shared = [key for key in runs[0] if all(key in run for run in runs)]
    return {key: [run[key].ratio.value for run in runs] for key in shared}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--runs", type=int, default=6)
    parser.add_argument("--suites", nargs="+", default=[], help="of benchmarks/suites, instead of all")
    parser.add_argument("--json", type=Path, default=RESULT)
    asked = parser.parse_args()
    files = list(asked.files)
    for i in range(0 if files else asked.runs):
        out = ROOT / "build" / "spread" / f"{i}.json"
        command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--track", "--json", str(out)]
        command += ["--", *asked.suites] if asked.suites else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        files.append(out)
    ratios = gathered(files)
    last: dict[str, Any] = read(files[-1])
    found = {
        "runs": len(files),
        "date": last["datetime"][:10],
        "cores": last["machine_info"]["emonet_fast"]["machine"]["cores"],
        "processor": last["machine_info"]["emonet_fast"]["cpu_engine"].get("name", "unknown"),
        "ratios": {key: [round(v, 4) for v in values] for key, values in ratios.items()},
        "spread": {key: round(spread(values), 4) for key, values in ratios.items()},
    }
    if asked.suites and asked.json.exists():
        new = {key.partition(" | ")[0] for key in ratios}
        before = json.loads(asked.json.read_text("utf-8"))
        for part in ("ratios", "spread"):
            kept = {key: value for key, value in before[part].items() if key.partition(" | ")[0] not in new}
            found[part] = dict(sorted((kept | found[part]).items()))
    asked.json.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    for key, value in sorted(found["spread"].items(), key=lambda item: -item[1]):
        print(f"{value:6.1%}  {key}")


if __name__ == "__main__":
    main()
