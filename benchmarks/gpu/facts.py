"""The card, the driver and the versions: what every figure of a run belongs to."""

import importlib.metadata
import platform
import subprocess
from typing import Any

import torch

from benchmarks.gpu.context import Context
from emonet_fast import __version__

PACKAGES = (
    "torch",
    "triton",
    "nvidia-cublas",
    "numpy",
    "transformers",
    "safetensors",
    "cupy-cuda13x",
    "jax",
    "numba-cuda",
)
_ASKED = "driver_version,clocks.sm,clocks.mem,clocks.max.sm,clocks.max.mem,power.limit,temperature.gpu"


def measure(context: Context) -> dict[str, Any]:
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "packages": {name: version(name) for name in PACKAGES},
        "emonet_fast": __version__,
        "card": "CPU tensors (no figure of this run means anything)",
        "cuda": torch.version.cuda,
    }
    if context.cuda:
        properties = torch.cuda.get_device_properties(context.device)
        found |= {
            "card": properties.name,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "l2_mb": properties.L2_cache_size / 1e6,
            "memory_gb": properties.total_memory / 1e9,
            "cudnn": torch.backends.cudnn.version(),
            **nvidia_smi(_ASKED),
        }
    return found


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def nvidia_smi(asked: str) -> dict[str, str]:
    """What nvidia-smi says of PyTorch's first card, by the names asked for, with commas between; empty without it.

    The card is named by its UUID: nvidia-smi knows nothing of CUDA_VISIBLE_DEVICES, and numbers cards in another order.
    """
    card = f"GPU-{torch.cuda.get_device_properties(0).uuid}"
    command = ["nvidia-smi", f"--query-gpu={asked}", "--format=csv,noheader,nounits", f"--id={card}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return {}
    names = [name.replace(".", "_") for name in asked.split(",")]
    return dict(zip(names, (value.strip() for value in done.stdout.strip().split(",")), strict=False))
