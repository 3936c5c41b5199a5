"""Batches that are the network's input already: from the host or the GPU to the engine."""

from typing import Any

import numpy as np

from ..errors import InputError
from .base import Backend, DeviceBackend, Outputs

DLPACK_CPU = 1  # kDLCPU


def run_pixels(backend: Backend, pixels: Any, image_size: int, stream: object = None) -> Outputs:
    """Score a ready batch [n, 3, S, S] of any length, S = image_size.

    On the host it is uint8, a numpy array, or an array of another library with `__dlpack__`, which is viewed and not
    copied. On the GPU `stream` is the CUDA stream to work on, see run_device of CudaBackend and TensorRtBackend. Raises
    InputError when this backend does not take the shape, dtype or place.
    """
    if not isinstance(pixels, np.ndarray) and _on_host(pixels):
        try:
            pixels = np.from_dlpack(pixels)
        except (BufferError, RuntimeError, TypeError) as error:
            raise InputError(f"pixels is {type(pixels).__name__}, which numpy cannot view: {error}") from None
    if isinstance(pixels, np.ndarray):
        return _run_host(backend, pixels, image_size)
    if not isinstance(backend, DeviceBackend):
        raise InputError(
            f"pixels is {type(pixels).__name__} and the engine is {backend.name!r}, on the CPU; expected a numpy "
            "array [n, 3, S, S] uint8, or a scorer on device 'cuda'"
        )
    return backend.run_to_host(pixels, stream)


def _on_host(pixels: Any) -> bool:
    return hasattr(pixels, "__dlpack_device__") and pixels.__dlpack_device__()[0] == DLPACK_CPU


def _run_host(backend: Backend, pixels: np.ndarray, image_size: int) -> Outputs:
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[1:] != (3, image_size, image_size):
        raise InputError(
            f"pixels is {pixels.dtype} {list(pixels.shape)}; expected uint8 [n, 3, {image_size}, {image_size}] on the "
            "host (pictures of other sizes: call the scorer itself)"
        )
    # An empty batch takes its widths from a run of one row.
    parts = [backend.run(np.zeros((1, *pixels.shape[1:]), np.uint8))] if not len(pixels) else []
    for start in range(0, len(pixels), backend.batch_size):
        parts.append(backend.run(np.ascontiguousarray(pixels[start : start + backend.batch_size])))
    n = len(pixels)
    return Outputs(np.concatenate([p.embedding for p in parts])[:n], np.concatenate([p.raw for p in parts])[:n])
