"""Writes the figures of docs/scaling.md from benchmarks/results, between their markers: measured, and what follows.

    python benchmarks/bulk_page.py            rewrites them
    python benchmarks/bulk_page.py --check    only says whether they are up to date

The cost model's assumptions stand below. Rates of GPUs are predictions of docs/gpu-notes.md until they are measured.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))

from benchmarks.marked import page  # noqa: E402

RESULTS = ROOT / "benchmarks" / "results"
PAGE = ROOT / "docs" / "scaling.md"

# Assumptions: a portrait as JPEG, 1024 x 1024; list prices of rented machines, in dollars an hour. Put in your own.
IMAGE_MB = 0.2
PRICE_TWO_CORES, PRICE_GPU = 0.10, 3.00
SIZES = {"203,000": 203_000, "400,000": 400_000, "1 billion": 1_000_000_000}
# docs/gpu-notes.md, "Sums with what GEMMs of this K may really reach": not measured.
GPU_BF16, GPU_FP8 = 1100.0, 1440.0


@dataclass(frozen=True)
class Device:
    """rate: images a second. known: how that is known. price: of an hour."""

    name: str
    rate: float
    known: str
    price: float


def devices() -> list[Device]:
    cpu = json.loads((RESULTS / "cpu-large.json").read_text("utf-8"))
    seconds = next(row["seconds"] for row in cpu["verify"]["rows"] if row["name"] == "engine bf16")
    cores = cpu["machine"]["machine"]["cores"]
    return [
        Device(
            f"{cores} cores of an {cpu['machine']['cpu_engine']['name']}, bf16",
            1 / seconds,
            "measured",
            PRICE_TWO_CORES,
        ),
        Device("H200, bf16", GPU_BF16, "predicted", PRICE_GPU),
        Device("H200, FP8", GPU_FP8, "predicted", PRICE_GPU),
    ]


def measured(found: dict[str, Any]) -> str:
    machine = found["machine"]
    over, memory, rows, plan, ray = (found[name] for name in ("overhead", "memory", "rows", "plan", "ray"))
    worker, coordinator = memory["worker_mb"], memory["coordinator_mb"]
    above = memory["above_the_open_model_mb"]["portraits, float32 embeddings"]
    lost = rows["rows_scored_again_after_a_stop"]
    lines = [f"{machine['cores']} cores of an {machine['processor']}; ratios of turns in one run, medians.", ""]
    lines += ["| what | bar | measured |", "|---|---|---|"]
    lines += [
        f"| bulk beside a plain loop of decode, resize and engine; 2 layers of the real width, "
        f"{over['bytes_each'] / 1000:.0f} kB JPEGs | at most 1.05 times as long | {over['bulk_to_loop']:.2f}; "
        f"in processor time {over['processor_bulk_to_loop']:.2f} (at a load of {over['load']:.0f}) |",
        f"| the same beside the engine alone, on pixels that were decoded before | | {over['bulk_to_engine']:.2f} "
        f"(the plain loop: {over['loop_to_engine']:.2f}) |",
        f"| memory over {memory['shards']} shards, second and last fifth | flat | worker "
        f"{worker['second_fifth']:.0f} and {worker['last_fifth']:.0f} MB, "
        f"coordinator {coordinator['last_fifth'] - coordinator['second_fifth']:+.1f} MB |",
        f"| memory above the open model, 1024 x 1024 portraits, float32 embeddings | under 1 GB | {above:.0f} MB |",
        f"| {rows['rows']:,} rows, 1% bad, stopped {rows['stops']} times at random: rows in the output | all, once | "
        f"{sum(rows['counts'].values()):,}: " + ", ".join(f"{n:,} {s}" for s, n in rows["counts"].items()) + " |",
        f"| rows scored again after a stop, of shards of {rows['shard_size']:,} | at most one shard | "
        f"{min(lost)} to {max(lost)} |",
        f"| plan of {plan['rows']:,} rows in {plan['files']} files, {plan['row_groups']:,} row groups | under 5 s | "
        f"{plan['seconds']:.2f} s, {plan['bytes_read'] / plan['files'] / 1000:.0f} kB read of each file |",
        f"| local Ray {ray['version']}, 2 actors, beside 2 processes | at least 0.9 of their rate | "
        f"{ray['ray_to_local']:.2f}, {'the same bytes' if ray['same_bytes'] else 'OTHER BYTES'} |",
    ]
    again = {name: one for name, one in found["repeat"].items() if isinstance(one, dict)}
    odd = [f"{one['others']} of {one['runs']} ({name})" for name, one in again.items() if one["others"]]
    runs = sum(one["runs"] for one in again.values())
    lines.append(
        f"| results of the engine that differ from its usual ones for the same picture, at a load of "
        f"{found['repeat']['load']:.0f} | none | {', '.join(odd) or 'none'}, of {runs:,} |"
    )
    return "\n".join(lines)


def cost(found: dict[str, Any]) -> str:
    lines = [
        f"Assumed: {IMAGE_MB * 1000:.0f} kB an image; ${PRICE_TWO_CORES:.2f} an hour for two cores, "
        f"${PRICE_GPU:.2f} for a GPU. "
        "Rates of GPUs are predictions ([gpu-notes.md](gpu-notes.md)), no measurement.",
        "",
        "| device | images/s | read, MB/s | " + " | ".join(f"{name}: device hours, money" for name in SIZES) + " |",
        "|---|---|---|" + "---|" * len(SIZES),
    ]
    for device in devices():
        cells = []
        for images in SIZES.values():
            hours = images / device.rate / 3600
            cells.append(f"{_short(hours)} h, ${_short(hours * device.price)}")
        rate = f"{device.rate:.2f}" if device.rate < 10 else f"{device.rate:.0f}"
        lines.append(
            f"| {device.name} | {rate} ({device.known}) | {_short(device.rate * IMAGE_MB)} | {' | '.join(cells)} |"
        )
    best = devices()[-1]
    days = SIZES["1 billion"] / best.rate / 3600 / 24
    pillow = json.loads((RESULTS / "cpu-decoding.json").read_text("utf-8"))["throughput"]
    cores = best.rate / (pillow["rates"]["pillow"] / pillow["workers"])
    lines += [
        "",
        f"Pillow decoded {pillow['rates']['pillow']:.0f} portraits a second on {pillow['workers']} cores "
        f"([decoding.md](decoding.md)): {cores:.0f} such cores would feed one device of the last kind.",
    ]
    lines += ["", f"A billion images on 64 devices of the last kind: {days / 64 * 24:.1f} hours, if they are fed."]
    return "\n".join(lines)


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"


def main() -> None:
    found = json.loads((RESULTS / "cpu-bulk.json").read_text("utf-8"))
    old = PAGE.read_text("utf-8")
    new = page(old, {make.__name__: make(found) for make in (measured, cost)}, PAGE.name)
    if "--check" in sys.argv:
        if new != old:
            raise SystemExit(f"{PAGE.name}: not up to date; run python benchmarks/bulk_page.py")
        return
    PAGE.write_text(new, "utf-8")


if __name__ == "__main__":
    main()
