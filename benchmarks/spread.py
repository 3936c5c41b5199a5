"""Run-to-run spread of the ratios that CI compares: `make bench-track` several times, one run after the other.

    python -m benchmarks.spread [--runs 6] [--suites FILE.py ...] [FILE.json ...]

Spread is the standard deviation of a ratio over the runs, divided by its mean. FILEs of earlier runs are taken as they
are. With --suites only those suites run, and the figures of the others stay.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import measurements
from benchmarks.compare import measured, read
from benchmarks.runs import parse

ROOT = Path(__file__).parents[1]


def spread(values: list[float]) -> float:
    """Standard deviation over the mean."""
    return statistics.stdev(values) / statistics.fmean(values)


def group(key: str) -> str:
    """The group of a benchmark's key."""
    return key.partition(" | ")[0]


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
    options = parser.parse_args()
    files = list(options.files)
    for i in range(0 if files else options.runs):
        out = ROOT / "build" / "spread" / f"{i}.json"
        command = [sys.executable, "-m", "benchmarks.run", "--track", "--json", str(out)]
        command += ["--", *options.suites] if options.suites else []
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
        files.append(out)
    run = parse(read(files[-1]))
    spreads = {
        key: {"ratios": [round(value, 4) for value in ratios], "spread": round(spread(ratios), 4)}
        for key, ratios in gathered(files).items()
    }
    new = {group(key) for key in spreads}
    old = measurements.read("spread") if options.suites else None
    kept = {key: value for key, value in old.values.items() if group(key) not in new} if old else {}
    ordered = dict(sorted((kept | spreads).items()))
    measurements.keep("spread", ordered, date=run.date[:10], machine=run.machine, whole=True)
    for key, value in sorted(spreads.items(), key=lambda item: -item[1]["spread"]):
        print(f"{value['spread']:6.1%}  {key}")


if __name__ == "__main__":
    main()
