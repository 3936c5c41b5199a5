"""Fidelity, speed and memory of the CPU engine beside the published pipeline: `make fidelity`.

Makes synthetic checkpoints of full size (27 layers), packs them, runs `emonet-fast verify` on 64 pictures for the
Large and the Small heads, and measures the start of a fresh process. `python -m benchmarks.pages` makes the README's
tables of it.
"""

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import measurements
from emonet_fast.doctor import report

# First score from a packed file in a fresh process; memory after a few more pictures.
_START = """
import json, sys, time
began = time.perf_counter()
import emonet_fast
imported = time.perf_counter() - began
import numpy as np
picture = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
with emonet_fast.Scorer(sys.argv[1], precision=sys.argv[2], cache_dir=sys.argv[3]) as scorer:
    scorer([picture])
    first = time.perf_counter() - began
    scorer([picture] * 3)
    from emonet_fast.process import memory_mb
    print(json.dumps({"import_seconds": imported, "first_score_seconds": first, "memory_mb": memory_mb()}))
"""


def emonet(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "emonet_fast", *arguments], check=True)


def start(packed: Path, precision: str, cache: Path) -> dict[str, Any]:
    """The second of two fresh processes: the first fills the engine cache."""
    answers = []
    for _ in range(2):
        began = time.perf_counter()
        command = [sys.executable, "-c", _START, str(packed), precision, str(cache)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        answers.append({**json.loads(done.stdout), "process_seconds": time.perf_counter() - began})
    return {"cold": answers[0], "warm": answers[1]}


def site_packages_mb() -> float:
    """Size of a default installation (no extras) in a fresh environment, pip included."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run([sys.executable, "-m", "venv", name], check=True)
        python = Path(name) / "bin" / "python"
        root = Path(__file__).parents[1]
        subprocess.run([python, "-m", "pip", "install", "--quiet", str(root)], check=True)
        folder = next(Path(name).glob("lib/python*/site-packages"))
        return sum(f.lstat().st_size for f in folder.rglob("*") if f.is_file()) / 1e6


def measure(heads: str, layers: int, pictures: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Cases of the suites `fidelity` and `start`."""
    with tempfile.TemporaryDirectory(prefix="emonet-fast-bench-") as name:
        folder = Path(name)
        cache = folder / "cache"
        began = time.perf_counter()
        emonet("synthetic", str(folder / "published"), "--heads", heads, "--layers", str(layers))
        made = time.perf_counter() - began
        packed = folder / f"{heads}.safetensors"
        emonet("pack", "-c", str(folder / "published"), "-o", str(packed), "--cache-dir", str(cache))
        starts = {p: start(packed, p, cache) for p in ("fp32", "bf16")}
        json_path = folder / "verify.json"
        command = ["verify", "-c", str(folder / "published"), "--cache-dir", str(cache)]
        command += ["--pictures", str(pictures), "--json", str(json_path)]
        code = subprocess.run([sys.executable, "-m", "emonet_fast", *command], check=False).returncode
        verified = json.loads(json_path.read_text("utf-8"))
        rows = verified.pop("rows")
        verified |= {"checkpoint": f"synthetic, {layers} layers, heads {heads}", "exit_status": code}
        verified |= {"synthetic_s": made, "packed_mb": packed.stat().st_size / 1e6, **versions()}
    sides = {f"{heads}, {row['name']}": row for row in rows}
    processes = {f"{heads}, {p}, {kind}": values for p, both in starts.items() for kind, values in both.items()}
    return {f"{heads}, checkpoint": verified, **sides}, processes


def versions() -> dict[str, Any]:
    facts = report()
    return {
        "packages": facts["packages"] | facts["optional"],
        "python": facts["machine"]["python"],
        "system": platform.platform(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", nargs="+", default=["large", "small"], choices=["large", "small"])
    parser.add_argument("--layers", type=int, default=27)
    parser.add_argument("--pictures", type=int, default=64)
    options = parser.parse_args()
    measurements.keep("start", {"installation": {"site_packages_mb": site_packages_mb()}})
    for heads in options.heads:
        sides, processes = measure(heads, options.layers, options.pictures)
        measurements.keep("fidelity", sides)
        measurements.keep("start", processes)


if __name__ == "__main__":
    main()
