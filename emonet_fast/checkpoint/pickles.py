"""Restricted reader of the published heads: torch's zip archives of a pickled state dict, without torch.

A pickle is a program. `pickle.Unpickler` with an allow-list in `find_class` refuses foreign code, yet still
obeys the rest of the program: one memo index of 2^31 makes it reserve tens of gigabytes, and a deeply nested
tuple as a dict key overflows its stack. So the program is run by a small interpreter instead, which knows
only what torch.save writes: containers, numbers, texts, storages and tensors. It imports nothing and calls
nothing that the file names. (torch's own `weights_only` reader is built in the same way.)
"""

import io
import pickletools
import reprlib
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, UnsafePickleError
from ..records import Float32Array
from .torchzip import STORAGES, ArchiveFile, Storage, TorchArchive

MAX_STEPS = 1_000_000
_LEGACY_MAGIC = b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"  # the first number of torch files before 1.6, as LONG1
_AGAIN = "The file may be damaged or its download cut short: get it again."

_REBUILD_TENSOR = "torch._utils._rebuild_tensor_v2"
_REBUILD_PARAMETER = "torch._utils._rebuild_parameter"
_ORDERED_DICT = "collections.OrderedDict"
_DTYPES = ("torch.float32", "torch.float16", "torch.bfloat16", "torch.float64")
# What a damaged archive or a damaged program raises.
_UNSOUND = (
    zipfile.BadZipFile, RuntimeError, EOFError, LookupError, ValueError, TypeError, OverflowError, struct.error,
)  # fmt: skip
_ALLOWED = frozenset({_REBUILD_TENSOR, _REBUILD_PARAMETER, _ORDERED_DICT, *_DTYPES, *STORAGES})


@dataclass(frozen=True, slots=True)
class _Global:
    """A name that the pickle mentions; never imported."""

    name: str


_MARK = object()


def read_state_dict(path: Path) -> dict[str, Float32Array]:
    """The tensors of a file written by `torch.save(state_dict, path)`, as new contiguous float32 arrays.

    A state dict wrapped in another dict's `state_dict` is unwrapped. float16, bfloat16 and float64 are cast. Raises
    CheckpointError when it is missing, damaged, written by torch before 1.6, or not a dict of float tensors, and
    UnsafePickleError when it asks for anything but tensors and containers; nothing of it was executed.
    """
    try:
        with ArchiveFile(path) as file:
            _refuse_other_kinds(path, file.read(32))
            file.seek(0)
            with zipfile.ZipFile(file) as archive:
                file.opening = False
                torch_archive = TorchArchive(path, archive)
                value = _Interpreter(path, torch_archive).run(torch_archive.program())
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be read ({error.strerror or error}); expected a head's .pth."
        ) from None
    except _UNSOUND as error:
        raise CheckpointError(f"{path} is not a sound torch file: {error}. {_AGAIN}") from None
    return _state_dict(path, value)


def _refuse_other_kinds(path: Path, head: bytes) -> None:
    if _LEGACY_MAGIC in head:
        raise CheckpointError(
            f"{path} was written by torch before 1.6 (no zip archive); expected torch's zip format. Load it "
            "where you trust it and save it again: torch.save(torch.load(path, weights_only=True), path)."
        )
    if not head.startswith(b"PK\x03\x04"):
        raise CheckpointError(
            f"{path} begins with {head[:4].hex(' ') or 'nothing: it is empty'}; expected a zip archive as "
            f"torch.save writes it (50 4b 03 04). {_AGAIN} A bare pickle must be saved again with torch.save."
        )


def _state_dict(path: Path, value: object) -> dict[str, Float32Array]:
    if isinstance(value, dict) and isinstance(value.get("state_dict"), dict):
        value = value["state_dict"]
    if not isinstance(value, dict) or not value:
        raise CheckpointError(f"{path} holds {type(value).__name__} {reprlib.repr(value)}; expected a dict of tensors.")
    for key, tensor in value.items():
        if not isinstance(key, str) or not isinstance(tensor, np.ndarray):
            raise CheckpointError(
                f"{path} holds {type(tensor).__name__} under {reprlib.repr(key)}; "
                "expected a state dict: a dict of tensors by name."
            )
    return value


_LITERALS = frozenset(
    {"BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
)
_NEW: dict[str, Callable[[], Any]] = {
    "MARK": lambda: _MARK,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
}


class _Interpreter:
    """Runs a pickle's opcodes on values of our own. Opcodes without a handler below are refused."""

    def __init__(self, path: Path, archive: TorchArchive) -> None:
        self._path = path
        self._archive = archive
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, program: bytes) -> object:
        for step, (opcode, arg, _) in enumerate(pickletools.genops(io.BytesIO(program))):
            if step >= MAX_STEPS:
                raise ValueError(f"a pickle of more than {MAX_STEPS} steps")
            if opcode.name == "STOP":
                break
            self._step(opcode.name, arg)
        if len(self._stack) != 1:
            raise ValueError(f"the pickle leaves {len(self._stack)} values, expected one")
        return self._stack[0]

    def _step(self, name: str, arg: Any) -> None:
        if name in _LITERALS:
            self._stack.append(arg)
        elif name in _NEW:
            self._stack.append(_NEW[name]())
        elif name == "GLOBAL":
            self._stack.append(self._global(*arg.split(" ", 1)))
        elif name == "INST":
            raise self._refusal(f"an instance of {arg.replace(' ', '.')!r:.200}")
        elif name in ("BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self._memo[len(self._memo) if name == "MEMOIZE" else arg] = self._stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[arg])
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            items = tuple(self._stack.pop() for _ in range(int(name[-1])))
            self._stack.append(items[::-1])
        elif name not in ("PROTO", "FRAME"):
            handler = getattr(self, f"_op_{name.lower()}", None)
            if handler is None:
                raise self._refusal(f"the opcode {name}")
            handler()

    def _refusal(self, what: str) -> UnsafePickleError:
        return UnsafePickleError(
            f"{self._path} asks for {what}; expected tensors and containers only, as "
            "torch.save(module.state_dict(), path) writes them. Nothing of it was executed. Do not open this "
            "file with an unrestricted torch.load, unless you know who made it."
        )

    def _global(self, module: str, name: str = "") -> _Global:
        full = f"{module}.{name}"
        if full not in _ALLOWED:
            raise self._refusal(repr(full)[:200])
        return _Global(full)

    def _pop(self, kind: type) -> Any:
        self._top(kind)
        return self._stack.pop()

    def _to_mark(self) -> list[Any]:
        items: list[Any] = []
        while (value := self._stack.pop()) is not _MARK:
            items.append(value)
        return items[::-1]

    def _top(self, kind: type) -> Any:
        if not isinstance(self._stack[-1], kind):
            raise ValueError(f"the pickle has {type(self._stack[-1]).__name__} where {kind.__name__} must be")
        return self._stack[-1]

    def _op_stack_global(self) -> None:
        name, module = self._pop(str), self._pop(str)
        self._stack.append(self._global(module, name))

    def _op_tuple(self) -> None:
        self._stack.append(tuple(self._to_mark()))

    def _op_append(self) -> None:
        value = self._stack.pop()
        self._top(list).append(value)

    def _op_appends(self) -> None:
        values = self._to_mark()
        self._top(list).extend(values)

    def _op_setitem(self) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._set([key, value])

    def _op_setitems(self) -> None:
        self._set(self._to_mark())

    def _set(self, flat: list[Any]) -> None:
        target = self._top(dict)
        for key, value in zip(flat[::2], flat[1::2], strict=True):
            if not isinstance(key, str | int):  # hashing a nested tuple can take for ever
                raise ValueError(f"a dict key of type {type(key).__name__}, expected a text or a number")
            target[key] = value

    def _op_binpersid(self) -> None:
        match self._stack.pop():
            case ("storage", _Global(kind), str(key), str(), int(count)):
                self._stack.append(self._archive.storage(kind, key, count))
            case other:
                raise ValueError(f"the storage reference {reprlib.repr(other)}, not as torch.save writes it")

    def _op_build(self) -> None:
        self._stack.pop()  # a state dict's `_metadata`: module versions, no weights
        self._top(dict)

    def _op_reduce(self) -> None:
        args, function = self._pop(tuple), self._pop(_Global)
        match (function.name, *args):
            # requires_grad, backward hooks and metadata decide nothing at inference
            case (name, Storage() as storage, int(offset), tuple(shape), tuple(strides), *more) if (
                name == _REBUILD_TENSOR and len(more) <= 3
            ):
                self._stack.append(self._archive.tensor(storage, offset, shape, strides))
            case (name, np.ndarray() as tensor, *_) if name == _REBUILD_PARAMETER:
                self._stack.append(tensor)
            case (name,) if name == _ORDERED_DICT:
                self._stack.append({})
            case _:
                raise ValueError(f"a call of {function.name} with {len(args)} unexpected arguments")
