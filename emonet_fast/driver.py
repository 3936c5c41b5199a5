"""NVIDIA's driver, for what PyTorch does not offer: streams that nobody else has, and whose memory an address is."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import BackendError

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# The driver's numbers (cuda.h).
_POINTER_CONTEXT = 1
_STREAM_NON_BLOCKING = 1


def open_driver() -> ctypes.CDLL:
    """Open the driver's library. Raises OSError where there is none."""
    return ctypes.CDLL(_LIBRARY)


@contextmanager
def primary_context(index: int) -> Iterator[tuple[ctypes.CDLL, int | None]]:
    """Make the GPU's primary context, which PyTorch and TensorRT use, the thread's own: gives the driver and it.

    Raises BackendError when the driver refuses.
    """
    driver = open_driver()
    device, context = ctypes.c_int(), ctypes.c_void_p()
    _check(driver.cuInit(0), "cuInit")
    _check(driver.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    _check(driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device), "cuDevicePrimaryCtxRetain")
    try:
        _check(driver.cuCtxPushCurrent_v2(context), "cuCtxPushCurrent")
        try:
            yield driver, context.value
        finally:
            driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)


def new_stream(index: int) -> int:
    """Make a stream on that GPU, which waits for no default stream, and return its handle. It is never destroyed."""
    stream = ctypes.c_void_p()
    with primary_context(index) as (driver, _):
        _check(driver.cuStreamCreate(ctypes.byref(stream), _STREAM_NON_BLOCKING), "cuStreamCreate")
    return stream.value or 0


def in_another_context(address: int, index: int) -> bool:
    """Whether memory was made in another context than the GPU's primary one, so that none of our kernels can read it.

    Memory of the driver's pools (cudaMallocAsync) belongs to no context, and every one can read it. What is no memory
    of CUDA's at all is not judged here.
    """
    found = ctypes.c_void_p()
    with primary_context(index) as (driver, primary):
        status = driver.cuPointerGetAttribute(ctypes.byref(found), _POINTER_CONTEXT, ctypes.c_uint64(address))
    return status == 0 and found.value not in (None, primary)


def _check(status: int, call: str) -> None:
    if status:
        raise BackendError(f"NVIDIA's driver: {call} failed with status {status}")
