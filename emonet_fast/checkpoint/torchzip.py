"""The zip archive that torch.save writes, read without torch: members, storages, tensors.

Nothing in it is trusted. What is wrong raises ValueError, or what `zipfile` raises; `pickles.py` turns that
into errors that name the file.
"""

import io
import math
import re
import reprlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..records import Float32Array

# In bytes. A published head has up to 7.4 MB, its pickle and its directory of members some 1 kB each.
MAX_FILE = 256 * 1024 * 1024
MAX_PICKLE = 4 * 1024 * 1024
_MAX_DIRECTORY = 1024 * 1024
_MAX_DIMENSIONS = 8

# Storage class -> numpy's dtype without its byte order; "bf" is bfloat16; None has no place in a head.
STORAGES: dict[str, str | None] = {
    "torch.FloatStorage": "f4",
    "torch.HalfStorage": "f2",
    "torch.DoubleStorage": "f8",
    "torch.BFloat16Storage": "bf",
    "torch.LongStorage": None,
    "torch.IntStorage": None,
    "torch.ShortStorage": None,
    "torch.CharStorage": None,
    "torch.ByteStorage": None,
    "torch.BoolStorage": None,
}


@dataclass(frozen=True, slots=True)
class Storage:
    """Flat data of a member. values: float16, float32, float64, or uint16 that mean bfloat16 (`bf`)."""

    values: npt.NDArray[Any]
    bf: bool


class ArchiveFile(io.BufferedReader):
    """A file for `zipfile`, which reads the whole directory of members at once: while `opening`, only a small one."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.opening = True

    def read(self, size: int | None = -1, /) -> bytes:
        if self.opening and size is not None and size > _MAX_DIRECTORY:
            raise ValueError(f"a directory of {size} bytes, expected at most {_MAX_DIRECTORY}")
        return super().read(size)  # to its end it reads the last 64 kB only


class TorchArchive:
    """The zip archive of one torch file: every member's bounds checked before anything is read."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        self._size = path.stat().st_size
        if self._size > MAX_FILE:
            raise ValueError(f"{self._size} bytes, expected at most {MAX_FILE}")
        self._members = self._checked_members()
        roots = [n.removesuffix("/data.pkl") for n in self._members if re.fullmatch(r"[^/]*/data\.pkl", n)]
        if len(roots) != 1:
            raise ValueError(f"{len(roots)} members named */data.pkl, expected one")
        self._root = roots[0]
        # torch before 2.1 wrote no byte order, and little-endian in practice.
        order = self._read("byteorder", 16) if f"{self._root}/byteorder" in self._members else b"little"
        if order not in (b"little", b"big"):
            raise ValueError(f"byteorder {order!r}, expected b'little' or b'big'")
        self._order = "<" if order == b"little" else ">"
        self._storages: dict[tuple[str, str], Storage] = {}
        self._elements = 0

    def _checked_members(self) -> dict[str, zipfile.ZipInfo]:
        members: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            if info.filename in members:
                raise ValueError(f"the member {info.filename!r} twice")
            if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
                raise ValueError(f"the member {info.filename!r} is compressed or encrypted; torch.save stores plainly")
            if info.compress_size != info.file_size:
                raise ValueError(f"the member {info.filename!r} says two sizes")
            members[info.filename] = info
        # Stored members that do not overlap cannot hold more than the file: no zip bomb.
        total = sum(i.file_size for i in members.values())
        if total > self._size:
            raise ValueError(f"members of {total} bytes in a file of {self._size}")
        return members

    def _read(self, name: str, limit: int | None = None) -> bytes:
        info = self._members.get(f"{self._root}/{name}")
        if info is None:
            raise ValueError(f"no member {name!r}")
        if limit is not None and info.file_size > limit:
            raise ValueError(f"the member {name!r} has {info.file_size} bytes, expected at most {limit}")
        return self._archive.read(info)  # checks the CRC-32 too

    def program(self) -> bytes:
        """The pickle that says which tensors there are."""
        return self._read("data.pkl", MAX_PICKLE)

    def storage(self, kind: str, key: str, count: int) -> Storage:
        """The `count` values of the member `data/<key>`. kind: one of STORAGES."""
        dtype = STORAGES.get(kind)
        if dtype is None:
            raise ValueError(f"a tensor in a {kind}, expected float32, float16, bfloat16 or float64")
        if not re.fullmatch(r"[0-9]{1,9}", key):
            raise ValueError(f"a storage named {key!r:.40}, expected a number as torch.save writes it")
        if (kind, key) not in self._storages:
            values = np.frombuffer(self._read(f"data/{key}"), self._order + dtype.replace("bf", "u2"))
            self._storages[kind, key] = Storage(values, dtype == "bf")
        storage = self._storages[kind, key]
        if len(storage.values) != count:
            raise ValueError(f"storage {key} has {len(storage.values)} values, but {count} are announced")
        return storage

    def tensor(self, storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Float32Array:
        """A view of a storage, as contiguous float32. offset and strides are in values, not in bytes."""
        numbers = (offset, *shape, *strides)
        asked = f"tensor with offset {offset}, shape {reprlib.repr(shape)}, strides {reprlib.repr(strides)}"
        if len(shape) != len(strides) or len(shape) > _MAX_DIMENSIONS:
            raise ValueError(f"{asked}: expected as many strides as dimensions")
        if any(type(n) is not int or not 0 <= n < 2**62 for n in numbers):
            raise ValueError(f"{asked}: expected whole numbers that are not negative")
        count = math.prod(shape)
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True)) if count else offset - 1
        # More elements than the storage has come from strides of 0: a small file for an endless tensor.
        if last >= len(storage.values) or count > len(storage.values):
            raise ValueError(f"{asked} reaches outside its storage of {len(storage.values)} values")
        self._elements += count
        if self._elements > max(self._size, 1):  # many tensors that share one storage
            raise ValueError(f"tensors of {self._elements} values out of a file of {self._size} bytes")
        return _contiguous(storage, offset, shape, strides)


def _contiguous(storage: Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> Float32Array:
    if math.prod(shape) == 0:
        return np.zeros(shape, np.float32)
    flat = storage.values[offset:]
    step = flat.itemsize
    view = np.lib.stride_tricks.as_strided(flat, shape, [s * step for s in strides], writeable=False)
    if storage.bf:
        bits = np.array(view, dtype=np.uint32, order="C")
        bits <<= np.uint32(16)  # in place: a shifted copy of a tensor without dimensions would be no array
        return bits.view(np.float32)
    with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which the caller refuses
        return np.array(view, dtype=np.float32, order="C")
