"""Freed memory goes back to the system, on the C library that DALI's wheels are built for.

Picture buffers are allocated and freed by half a dozen threads in ever other sizes. glibc gives each thread an arena
of its own and returns only what is free at its end, so that a long run's memory crept up by a quarter without anything
being held. malloc_trim returns every free page and changes no setting of the process.
"""

import ctypes
from collections.abc import Callable
from functools import cache


@cache
def _malloc_trim() -> Callable[[int], int] | None:
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if found is None:  # not glibc
        return None
    found.argtypes, found.restype = [ctypes.c_size_t], ctypes.c_int
    trim: Callable[[int], int] = found
    return trim


def give_back() -> None:
    """Return what the C library's heap holds free to the system; does nothing without glibc. Runs without the GIL."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)
