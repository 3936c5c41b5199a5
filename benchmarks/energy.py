"""Joules of a GPU, from NVML's own counter (Volta and newer); None where there is no counter or no nvidia-ml-py."""

from collections.abc import Callable


def counter(index: int = 0) -> Callable[[], float] | None:
    """A function that gives the joules used since the driver was loaded, or None."""
    try:
        import pynvml

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # no package, no driver, no GPU, or one without the counter: all mean "no figure"
        return None
    return lambda: float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1e3
