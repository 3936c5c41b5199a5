"""`make bench`, `bench-quick` and `bench-track`: makes the checkpoints that are missing, runs the suites by pytest.

    python -m benchmarks.run [--quick | --track] [--device D] [--large C] [--small C] [-- options of pytest]

A whole run replaces the device's last one in the table of benchmarks/results/: machine, versions, commit and every
round. --quick only shows that the suites run, at one layer. --track takes the ratios of the quick cases so often that
compare.py can tell a loss from noise. Every run leaves a file of pytest-benchmark in build/.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.runs import keep, parse

ROOT = Path(__file__).parents[1]
FULL, SHALLOW = 27, 1


def checkpoint(heads: str, layers: int) -> Path:
    """models/synthetic-<layers>[-small], made where it is missing: whole or not at all."""
    name = f"synthetic-{layers}" + ("-small" if heads == "small" else "")
    folder = ROOT / "models" / name
    if not folder.exists():
        print(f"making an untrained checkpoint in models/{name}, once", flush=True)
        folder.parent.mkdir(exist_ok=True)
        made = folder.with_name(f".{name}-{os.getpid()}")
        command = [sys.executable, "-m", "emonet_fast", "synthetic", str(made)]
        subprocess.run([*command, "--heads", heads, "--layers", str(layers)], check=True)
        made.rename(folder)
    return folder


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="a case a room, one layer, the Small heads")
    depth.add_argument("--track", action="store_true", help="these in many rounds, but for those that start processes")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--large", help="a checkpoint with the Large heads (an untrained one is made)")
    parser.add_argument("--small", help="a checkpoint with the Small heads (likewise)")
    parser.add_argument("--layers", type=int, default=FULL, help="of the checkpoints that are made (%(default)s)")
    parser.add_argument("--json", type=Path, help="the file of pytest-benchmark")
    parser.add_argument("rest", nargs="*", metavar="-- ...", help="options of pytest, or suites instead of all")
    options = parser.parse_args()
    began = time.monotonic()
    if options.quick or options.track:
        depth_option = "--track" if options.track else "--quick"
        checkpoints = ["--small", options.small or str(checkpoint("small", SHALLOW)), depth_option]
    else:
        checkpoints = ["--large", options.large or str(checkpoint("large", options.layers))]
        checkpoints += ["--small", options.small or str(checkpoint("small", options.layers))]
    kind = "track" if options.track else "quick" if options.quick else "whole"
    out = (options.json or ROOT / "build" / f"bench-{kind}.json").resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    suites = [] if any("suites" in one for one in options.rest) else [str(ROOT / "benchmarks" / "suites")]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--device", options.device]
    command += [*checkpoints, *suites, "--benchmark-sort=fullname", "--benchmark-columns=median,iqr,rounds"]
    command += ["-W", "ignore::DeprecationWarning:torch", f"--benchmark-json={out}", *options.rest]
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if kind == "whole" and not options.rest and out.exists():
        keep(parse(json.loads(out.read_text("utf-8"))))
    print(f"{time.monotonic() - began:.0f} s; results: {out}")
    return code


if __name__ == "__main__":
    sys.exit(main())
