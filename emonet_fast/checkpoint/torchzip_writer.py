"""The zip archive that torch.save writes, written without torch: the state dict of a head as plain tensors.

The pickle in it is put together opcode by opcode, so nothing is ever asked how it wants to be pickled. The same tensors
give the same bytes: no dates, no order that depends on the run.
"""

import math
import pickle
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..files import PendingFile
from ..records import Float32Array

_ALIGNMENT = 64  # torch aligns each storage of its archives to 64 bytes


def write_torch_state_dict(path: Path, tensors: Mapping[str, Float32Array]) -> None:
    """Write what `torch.save(module.state_dict(), path)` writes: a zip of `data.pkl` and a raw file a storage.

    Readable by `torch.load(path, weights_only=True)`. Like a module's own state dict it carries `_metadata`. The file
    appears whole or not at all. Raises what PendingFile does.
    """
    with PendingFile(path) as pending:
        _write(pending.file, path.stem, tensors)
        pending.finish()
        pending.publish()


def _write(file: BinaryIO, root: str, tensors: Mapping[str, Float32Array]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
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
