"""docs/scaling.md's figures of bulk scoring, and what follows from them; the cost model's assumptions stand below.

Rates of GPUs are predictions of docs/gpu-notes.md until they are measured.
"""

from dataclasses import dataclass

from benchmarks.measurements import Suite
from benchmarks.tables import table

# Assumptions: a portrait as JPEG, 1024 x 1024; list prices of rented machines, in dollars an hour. Put in your own.
IMAGE_MB = 0.2
PRICE_TWO_CORES, PRICE_GPU = 0.10, 3.00
SIZES = {"203,000": 203_000, "400,000": 400_000, "1 billion": 1_000_000_000}
# docs/gpu-notes.md, "Sums with what GEMMs of this K may really reach": not measured.
GPU_BF16, GPU_FP8 = 1100.0, 1440.0


@dataclass(frozen=True)
class Device:
    """What the cost model knows of a device.

    Args:
        name: the device in words.
        rate: images a second.
        source: how the rate is known, "measured" or "predicted".
        price: dollars an hour.
    """

    name: str
    rate: float
    source: str
    price: float


def devices(fidelity: Suite) -> list[Device]:
    """The measured processor, and two predicted GPUs."""
    rate = 1 / fidelity.values["large, engine bf16"]["seconds"]
    return [
        Device(f"{fidelity.machine}, bf16", rate, "measured", PRICE_TWO_CORES),
        Device("H200, bf16", GPU_BF16, "predicted", PRICE_GPU),
        Device("H200, FP8", GPU_FP8, "predicted", PRICE_GPU),
    ]


def measured(suite: Suite) -> str:
    """What benchmarks/bulk.py measured, beside the bars."""
    over, memory, rows, plan, ray, repeat = (
        suite.values[case] for case in ("overhead", "memory", "rows", "plan", "ray", "repeat")
    )
    worker, coordinator = memory["worker_mb"], memory["coordinator_mb"]
    above = memory["above_the_open_model_mb"]["portraits, float32 embeddings"]
    lost = rows["rows_scored_again_after_a_stop"]
    engines = {name: one for name, one in repeat.items() if isinstance(one, dict)}
    odd = [f"{one['others']} of {one['runs']} ({name})" for name, one in engines.items() if one["others"]]
    runs = sum(one["runs"] for one in engines.values())
    cells = [
        (
            f"bulk beside a plain loop of decode, resize and engine; 2 layers of the real width, "
            f"{over['bytes_each'] / 1000:.0f} kB JPEGs",
            "at most 1.05 times as long",
            f"{over['bulk_to_loop']:.2f}; in processor time {over['processor_bulk_to_loop']:.2f} "
            f"(at a load of {over['load']:.0f})",
        ),
        (
            "the same beside the engine alone, on pixels that were decoded before",
            "",
            f"{over['bulk_to_engine']:.2f} (the plain loop: {over['loop_to_engine']:.2f})",
        ),
        (
            f"memory over {memory['shards']} shards, second and last fifth",
            "flat",
            f"worker {worker['second_fifth']:.0f} and {worker['last_fifth']:.0f} MB, "
            f"coordinator {coordinator['last_fifth'] - coordinator['second_fifth']:+.1f} MB",
        ),
        (
            "memory above the open model, 1024 x 1024 portraits, float32 embeddings",
            "under 1 GB",
            f"{above:.0f} MB",
        ),
        (
            f"{rows['rows']:,} rows, 1% bad, stopped {rows['stops']} times at random: rows in the output",
            "all, once",
            f"{sum(rows['counts'].values()):,}: " + ", ".join(f"{n:,} {s}" for s, n in rows["counts"].items()),
        ),
        (
            f"rows scored again after a stop, of shards of {rows['shard_size']:,}",
            "at most one shard",
            f"{min(lost)} to {max(lost)}",
        ),
        (
            f"plan of {plan['rows']:,} rows in {plan['files']} files, {plan['row_groups']:,} row groups",
            "under 5 s",
            f"{plan['seconds']:.2f} s, {plan['bytes_read'] / plan['files'] / 1000:.0f} kB read of each file",
        ),
        (
            f"local Ray {ray['version']}, 2 actors, beside 2 processes",
            "at least 0.9 of their rate",
            f"{ray['ray_to_local']:.2f}, {'the same bytes' if ray['same_bytes'] else 'OTHER BYTES'}",
        ),
        (
            "results of the engine that differ from its usual ones for the same picture, "
            f"at a load of {repeat['load']:.0f}",
            "none",
            f"{', '.join(odd) or 'none'}, of {runs:,}",
        ),
    ]
    first = f"{suite.machine}; ratios of turns in one run, medians."
    return "\n".join([first, "", *table(["what", "bar", "measured"], cells)])


def cost(fidelity: Suite, decoding: Suite) -> str:
    """Hours and dollars by device and number of images."""
    head = ["device", "images/s", "read, MB/s", *(f"{name}: device hours, money" for name in SIZES)]
    rows = []
    every = devices(fidelity)
    for device in every:
        hours = [images / device.rate / 3600 for images in SIZES.values()]
        rate = f"{device.rate:.2f}" if device.rate < 10 else f"{device.rate:.0f}"
        cells = [f"{_short(time)} h, ${_short(time * device.price)}" for time in hours]
        rows.append([device.name, f"{rate} ({device.source})", _short(device.rate * IMAGE_MB), *cells])
    best = every[-1]
    days = SIZES["1 billion"] / best.rate / 3600 / 24
    speed = decoding.values["throughput"]
    pillow = speed["rates"]["pillow"]
    return "\n".join(
        [
            f"Assumed: {IMAGE_MB * 1000:.0f} kB an image; ${PRICE_TWO_CORES:.2f} an hour for two cores, "
            f"${PRICE_GPU:.2f} for a GPU. "
            "Rates of GPUs are predictions ([gpu-notes.md](gpu-notes.md)), no measurement.",
            "",
            *table(head, rows),
            "",
            f"Pillow decoded {pillow:.0f} portraits a second on {speed['workers']} cores ([decoding.md](decoding.md)): "
            f"{best.rate / (pillow / speed['workers']):.0f} such cores would feed one device of the last kind.",
            "",
            f"A billion images on 64 devices of the last kind: {days / 64 * 24:.1f} hours, if they are fed.",
        ]
    )


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
