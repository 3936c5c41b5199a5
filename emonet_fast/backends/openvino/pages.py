"""Gives back the memory of weights that OpenVINO has mapped and does not read again."""

import ctypes
import sys
from pathlib import Path

_MADV_DONTNEED = 4  # Linux' number on every architecture that this package runs on


def release_file_pages(path: Path) -> int:
    """Drop the resident pages of this process's read-only mappings of `path`; returns the bytes covered.

    OpenVINO keeps the weights file mapped as long as the compiled model lives, though it hardly reads the file again
    once it has packed its own bf16 copies: 2.0 of 3.1 GB resident for the Large model. The pages are clean, so a later
    access simply reads them again. Nothing happens where there is no /proc (outside Linux).
    """
    maps = Path("/proc/self/maps")
    if not sys.platform.startswith("linux") or not maps.exists():
        return 0
    libc = ctypes.CDLL(None, use_errno=True)
    target, covered = str(path.resolve()), 0
    for line in maps.read_text("utf-8", errors="replace").splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) < 6 or fields[5] != target or "w" in fields[1]:
            continue  # a private, written page would lose its content: only read-only mappings are touched
        low, high = (int(x, 16) for x in fields[0].split("-"))
        if libc.madvise(ctypes.c_void_p(low), ctypes.c_size_t(high - low), _MADV_DONTNEED) == 0:
            covered += high - low
    return covered
