"""Pictures that a program already holds: paths, bytes, PIL images and arrays, in any mix."""

import os
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import InputError
from ..records import Picture, Status
from ..scores import utf8_text
from .folder import UniqueKeys, read_file

_EXPECTED = "expected a path, bytes, a PIL image or an array [H, W, 3] uint8 RGB"
_ARRAY = "expected [H, W, 3] uint8 RGB, 0..255"


class Memory:
    """Pictures from a sequence, in its order. A path's file is read when its turn comes; folders are not searched.

    A path's key is the path, and `path#2` where the path comes again. All else has the key `#index`.

    Args:
        items: paths, bytes, PIL images and arrays.
        max_bytes: larger files are refused.

    Attributes:
        total: number of pictures.

    Raises:
        InputError: when items is one picture or a mapping, not a sequence of pictures.
    """

    def __init__(self, items: Sequence[object], max_bytes: int) -> None:
        single = isinstance(items, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image))
        single = single or (isinstance(items, np.ndarray) and items.ndim in (2, 3))
        if single or not hasattr(items, "__getitem__") or not hasattr(items, "__len__") or hasattr(items, "keys"):
            raise InputError(f"a {type(items).__name__} came; expected a sequence of pictures: put it in a list")
        self._items = items
        self._max_bytes = max_bytes
        self.total = len(items)

    def __iter__(self) -> Iterator[Picture]:
        unique = UniqueKeys()
        for index in range(self.total):
            item, key = self._items[index], f"#{index}"
            if isinstance(item, (str, os.PathLike)):
                item = os.fsdecode(item)
                key = utf8_text(item)
            yield take(item, unique(key), self._max_bytes)


def take(item: object, key: str, max_bytes: int) -> Picture:
    """One object as a Picture; BAD_INPUT with what came and what was expected if it is none."""
    if isinstance(item, str):
        return read_file(item, key, max_bytes)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return Picture(key, bytes(item))
    if isinstance(item, Image.Image):
        return Picture(key, item)
    if isinstance(item, np.ndarray):
        fault = array_fault(item)
        return Picture(key, None, Status.BAD_INPUT, fault) if fault else Picture(key, item)
    kind = f"{type(item).__module__}.{type(item).__qualname__}".removeprefix("builtins.")
    return Picture(key, None, Status.BAD_INPUT, f"a {kind} came; {_EXPECTED}")


def array_fault(array: npt.NDArray[np.generic]) -> str:
    """What is wrong with an array that should be [H, W, 3] uint8 RGB; "" if nothing."""
    came = f"an array {list(array.shape)} {array.dtype} came"
    faults = [f for f in (_shape_fault(array.shape), _dtype_fault(array)) if f]
    return f"{came}: {'; '.join(faults)}; {_ARRAY}" if faults else ""


def _shape_fault(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return "it is empty"
    if len(shape) == 2:
        return "it looks like grey [H, W]; repeat it to three channels"
    if len(shape) == 4:
        return "it looks like a batch; give its images one by one"
    if len(shape) != 3:
        return f"it has {len(shape)} dimensions"
    if shape[2] == 3:
        return ""
    if shape[2] == 4:
        return "it looks like RGBA; drop the last channel, array[..., :3]"
    if shape[2] == 1:
        return "it looks like grey [H, W, 1]; repeat it to three channels"
    if shape[0] == 3:
        return "it looks like [3, H, W]; transpose it, array.transpose(1, 2, 0)"
    return f"it has {shape[2]} channels"


def _dtype_fault(array: npt.NDArray[np.generic]) -> str:
    if array.dtype == np.uint8:
        return ""
    if not np.issubdtype(array.dtype, np.floating):
        return f"its dtype is {array.dtype}"
    values = np.asarray(array, np.float64)
    fault = "it is floating point, whose range (0..1, -1..1, 0..255) is a guess; scale and round it to uint8"
    bad = int(np.count_nonzero(~np.isfinite(values)))
    return f"{fault}; {bad} values are NaN or infinite" if bad else fault
