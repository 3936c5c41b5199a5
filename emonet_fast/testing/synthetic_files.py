"""Writers of the two published file formats without PyTorch: safetensors, and torch's zip around a pickle.

Both give the same bytes for the same tensors: no dates, no order that depends on the run.
"""

import math
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ..checkpoint.tensors import safetensors_header
from ..records import Float32Array

_ALIGNMENT = 64  # torch aligns each storage of its archives to 64 bytes


class SafetensorsStream:
    """Writes float32 tensors to a safetensors file as they come, in the order of `shapes`.

    The header needs shapes only, so no more than one tensor is ever held.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._waiting = dict(shapes)
        self._file = path.open("wb")
        self._file.write(safetensors_header(shapes, {"format": "pt"}, alignment=8))

    def put(self, name: str, tensor: Float32Array) -> None:
        """Write the next tensor. Raises ValueError if it is not the one announced for this place."""
        expected = next(iter(self._waiting.items()), None)
        if expected != (name, tensor.shape):
            raise ValueError(f"next tensor is {name} {tensor.shape}; the header announced {expected}")
        del self._waiting[name]
        np.ascontiguousarray(tensor, "<f4").tofile(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._file.close()
        if kind is None and self._waiting:
            raise ValueError(f"tensors announced and never written: {list(self._waiting)}")


def write_torch_state_dict(path: Path, tensors: Mapping[str, Float32Array]) -> None:
    """Write what `torch.save(module.state_dict(), path)` writes: a zip of `data.pkl` and a raw file a storage.

    Readable by `torch.load(path, weights_only=True)`. Like a module's own state dict it carries `_metadata`.
    """
    root = path.stem
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        _member(archive, f"{root}/data.pkl", _state_dict_pickle(tensors))
        _member(archive, f"{root}/byteorder", b"little")
        for i, tensor in enumerate(tensors.values()):
            _member(archive, f"{root}/data/{i}", np.ascontiguousarray(tensor, "<f4").tobytes())
        _member(archive, f"{root}/version", b"3\n")


def _member(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Store one file at an aligned offset; as torch does it, with an extra field "FB" for padding."""
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    at = archive.start_dir + 30 + len(name.encode()) + 4  # local header, name, head of the extra field
    padding = -at % _ALIGNMENT
    info.extra = struct.pack("<2sH", b"FB", padding) + b"Z" * padding
    archive.writestr(info, data)


def _text(value: str) -> bytes:
    raw = value.encode()
    return pickle.BINUNICODE + struct.pack("<I", len(raw)) + raw


def _whole(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


def _tuple(items: Iterable[bytes]) -> bytes:
    return pickle.MARK + b"".join(items) + pickle.TUPLE


def _global(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def _ordered_dict(items: Iterable[tuple[str, bytes]]) -> bytes:
    body = b"".join(_text(key) + value for key, value in items)
    filled = pickle.MARK + body + pickle.SETITEMS if body else b""
    return _global("collections", "OrderedDict") + pickle.EMPTY_TUPLE + pickle.REDUCE + filled


def _tensor(index: int, shape: tuple[int, ...]) -> bytes:
    """`torch._utils._rebuild_tensor_v2(storage, 0, shape, strides, requires_grad, hooks)`."""
    kind = _global("torch", "FloatStorage")
    storage = _tuple([_text("storage"), kind, _text(str(index)), _text("cpu"), _whole(math.prod(shape))])
    strides = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    arguments = [
        storage + pickle.BINPERSID,
        _whole(0),
        _tuple(map(_whole, shape)),
        _tuple(map(_whole, strides)),
        pickle.NEWFALSE,
        _ordered_dict([]),
    ]
    return _global("torch._utils", "_rebuild_tensor_v2") + _tuple(arguments) + pickle.REDUCE


def _state_dict_pickle(tensors: Mapping[str, Float32Array]) -> bytes:
    state = _ordered_dict((name, _tensor(i, tensor.shape)) for i, (name, tensor) in enumerate(tensors.items()))
    parents = (name.split(".")[:i] for name in tensors for i in range(1, name.count(".") + 1))
    modules = ["", *dict.fromkeys(".".join(parent) for parent in parents)]
    version = pickle.EMPTY_DICT + _text("version") + _whole(1) + pickle.SETITEM
    metadata = _ordered_dict((module, version) for module in modules)
    build = pickle.EMPTY_DICT + _text("_metadata") + metadata + pickle.SETITEM + pickle.BUILD
    return pickle.PROTO + b"\x02" + state + build + pickle.STOP
