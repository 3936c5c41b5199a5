"""Fidelity, speed and memory of the CPU engine beside the published pipeline: `make bench`.

Makes synthetic checkpoints of full size (27 layers), packs them, runs `emonet-fast verify` on 64 pictures for the
Large and the Small heads, measures the start from a warm cache in a fresh process, and writes
results/cpu-<heads>.json. The README's table is made from those files by make_tables.py.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

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


def measure(heads: str, layers: int, pictures: int) -> dict[str, Any]:
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
        code = subprocess.run(
            [
                sys.executable,
                "-m",
                "emonet_fast",
                *command,
                "--pictures",
                str(pictures),
                "--json",
                str(json_path),
            ],
            check=False,
        ).returncode
        verified = json.loads(json_path.read_text("utf-8"))
        verified["checkpoint"] = f"synthetic, {layers} layers, heads {heads}"
        return {
            "verify": verified,
            "verify_exit_status": code,
            "start": starts,
            "synthetic_seconds": made,
            "packed_mb": packed.stat().st_size / 1e6,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heads", nargs="+", default=["large", "small"], choices=["large", "small"])
    parser.add_argument("--layers", type=int, default=27)
    parser.add_argument("--pictures", type=int, default=64)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked = parser.parse_args()
    doctor = subprocess.run(
        [sys.executable, "-m", "emonet_fast", "doctor", "--json"],
        check=True,
        capture_output=True,
        text=True,
    )
    facts = json.loads(doctor.stdout)
    facts.pop("folders")  # paths of this machine are nobody's business
    common = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": facts,
        "system": platform.platform(),
        "threads": os.cpu_count(),
        "default_site_packages_mb": site_packages_mb(),
    }
    asked.results.mkdir(exist_ok=True)
    for heads in asked.heads:
        result = {**common, **measure(heads, asked.layers, asked.pictures)}
        target = asked.results / f"cpu-{heads}.json"
        target.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
        print(f"wrote {target}")


if __name__ == "__main__":
    main()
