"""GPU memory of the `cuda` backend, bf16, batch 64, in a process of its own: torch's peak and the driver's figure."""

from typing import Any

import numpy as np
import torch

from benchmarks.gpu.context import Context
from benchmarks.gpu.engines import make_engine, weight_sets
from benchmarks.gpu.facts import nvidia_smi

BATCH = 64


def measure(context: Context) -> dict[str, Any]:
    if not context.cuda:  # nothing to measure on a host; the same steps
        engine = make_engine(context, weight_sets(context, "bf16")["bf16"], "bf16", 2)
        held = sum(t.numel() * t.element_size() for t in engine.workspace._narrow)
        return {"batch": 2, "torch_peak_mb": held / 1e6, "driver_mb": None}
    from emonet_fast.backends.cuda.backend import CudaBackend

    before = driver_mb()  # there is no context yet
    torch.cuda.set_device(context.device)
    backend = CudaBackend(context.checkpoint, "cuda", "bf16", BATCH, context.cache)
    size = context.checkpoint.vision.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (BATCH, 3, size, size), dtype=np.uint8)
    for n in (BATCH, 1, BATCH):
        backend.run(pixels[:n])
    after = driver_mb()
    found = {
        "batch": BATCH,
        "torch_peak_mb": torch.cuda.max_memory_allocated() / 1e6,
        "torch_reserved_mb": torch.cuda.max_memory_reserved() / 1e6,
        "driver_mb": None if before is None or after is None else after - before,
    }
    backend.close()
    found["after_close_mb"] = torch.cuda.memory_allocated() / 1e6
    return found


def driver_mb() -> float | None:
    """MB in use on the whole card; the difference of two readings is this process's, CUDA's context included."""
    used = nvidia_smi("memory.used").get("memory_used", "")
    return float(used) * 1.048576 if used.replace(".", "", 1).isdigit() else None
