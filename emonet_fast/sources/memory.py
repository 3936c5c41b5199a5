"""Pictures that a program already holds: paths, bytes, PIL images and arrays, in any mix."""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..errors import InputError
from ..records import Picture, Status
from ..text import utf8_text
from .folder import UniqueKeys, read_file

_EXPECTED = "expected a path, bytes, a PIL image or an array [H, W, 3] uint8 RGB"
_ARRAY = "expected [H, W, 3] uint8 RGB, 0..255 (OpenCV's BGR becomes RGB by img[..., ::-1])"
_ORIENTATION, _EXIF, _WIDTH, _HEIGHT = 0x0112, 0x8769, 0xA002, 0xA003  # EXIF's tags


class Memory:
    """Pictures from an iterable, in its order. A path's file is read when its turn comes; folders are not searched.

    A path's key is the path, and `path#2` where the path comes again. All else has the key `#index`.

    Args:
        items: paths, bytes, PIL images, arrays and tensors.
        max_bytes: larger files are refused.

    Raises:
        InputError: when items is one picture, a table or anything else that is no row of pictures.
    """

    def __init__(self, items: Iterable[object], max_bytes: int) -> None:
        advice = _advice(items)
        if advice:
            raise InputError(f"a {type(items).__name__} came; expected a row of pictures: {advice}")
        self._items = items
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[Picture]:
        unique = UniqueKeys()
        for index, item in enumerate(self._items):
            key = f"#{index}"
            if isinstance(item, (str, os.PathLike)):
                item = os.fsdecode(item)
                key = utf8_text(item)
            yield take(item, unique(key), self._max_bytes)


def _advice(items: object) -> str:
    """What to do where `items` is no row of pictures; "" where it is one."""
    if isinstance(items, str) and not items:  # as a path it would be the working folder
        return "an empty text is none; is a variable unset?"
    if isinstance(items, (str, os.PathLike)) and Path(os.fsdecode(items)).is_dir():
        return f"it is a folder, so give it to scorer.folder({os.fsdecode(items)!r})"
    one = isinstance(items, (str, bytes, bytearray, memoryview, os.PathLike, Image.Image))
    if one or (hasattr(items, "__dlpack__") and getattr(items, "ndim", 4) in (2, 3)):
        return "put it in a list, [picture]"
    if hasattr(items, "read"):
        return "put its bytes in a list, [file.read()]"
    if isinstance(items, Mapping):
        return "give list(pictures.values())"
    if isinstance(items, set | frozenset):
        return "a set has no order that rows could follow, so give sorted(paths) or list(pictures)"
    if hasattr(items, "columns"):
        return "give one of its columns, list(table['path'])"
    try:
        iter(items)  # type: ignore[call-overload]
    except TypeError:
        return "a list, or another iterable"
    return ""


def take(item: object, key: str, max_bytes: int) -> Picture:
    """One object as a Picture; BAD_INPUT with what came and what was expected if it is none."""
    if isinstance(item, str):
        if not item:
            return Picture(key, None, Status.BAD_INPUT, f"an empty str came; {_EXPECTED}")
        return read_file(item, key, max_bytes)
    if isinstance(item, (bytes, bytearray, memoryview)):
        return Picture(key, bytes(item))
    if isinstance(item, Image.Image):
        return Picture(key, _as_turned(item))
    kind = f"{type(item).__module__}.{type(item).__qualname__}".removeprefix("builtins.")
    if hasattr(item, "__dlpack__") and not isinstance(item, np.ndarray | np.generic):
        try:
            item = np.from_dlpack(item)
        except Exception as error:  # each library has its own; a tensor on a GPU, one with gradients
            advice = f"{_EXPECTED}, on the host: tensor.detach().cpu().numpy()"
            return Picture(key, None, Status.BAD_INPUT, f"a {kind} came ({error}); {advice}")
    if isinstance(item, np.ndarray):
        fault = array_fault(item)
        return Picture(key, None, Status.BAD_INPUT, fault) if fault else Picture(key, item)
    advice = "; give the bytes of its read()" if hasattr(item, "read") else ""
    return Picture(key, None, Status.BAD_INPUT, f"a {kind} came; {_EXPECTED}{advice}")


def _as_turned(image: Image.Image) -> Image.Image:
    """The image without its orientation where its EXIF shows that somebody has turned it by that already.

    EXIF has the size of the stored picture. An image whose sides are exchanged against it, and that its orientation
    would turn by a right angle, stands upright. Whether one was turned by a half nobody can see.
    """
    try:
        exif = image.getexif()
        stored = exif.get_ifd(_EXIF)
        sides = (stored.get(_HEIGHT), stored.get(_WIDTH))
        turned = exif.get(_ORIENTATION) in (5, 6, 7, 8) and sides == image.size and sides[0] != sides[1]
    except Exception:  # damaged EXIF, or a closed image: the decoder says so
        return image
    if not turned:
        return image
    upright = image.copy()
    upright.getexif().pop(_ORIENTATION)
    return upright


def array_fault(array: npt.NDArray[np.generic]) -> str:
    """What is wrong with an array that should be [H, W, 3] uint8 RGB; "" if nothing."""
    came = f"an array {list(array.shape)} {array.dtype} came"
    faults = [f for f in (_shape_fault(array.shape), _dtype_fault(array)) if f]
    return f"{came}: {'; '.join(faults)}; {_ARRAY}" if faults else ""


def _shape_fault(shape: tuple[int, ...]) -> str:
    if 0 in shape:
        return "it is empty"
    if len(shape) == 2:
        return "it looks like grey [H, W]; repeat it to three channels, np.stack([array] * 3, axis=2)"
    if len(shape) == 4:
        return "it looks like a batch; give its images one by one, list(batch)"
    if len(shape) != 3:
        return f"it has {len(shape)} dimensions"
    if shape[2] == 3:
        return ""
    if shape[2] == 4:
        return "it looks like RGBA; drop the last channel, array[..., :3], or of OpenCV's BGRA array[..., 2::-1]"
    if shape[2] == 1:
        return "it looks like grey [H, W, 1]; repeat it to three channels, np.repeat(array, 3, axis=2)"
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
    fault += " (from 0..1: (255 * array).round().astype('uint8'))"
    bad = int(np.count_nonzero(~np.isfinite(values)))
    return f"{fault}; {bad} values are NaN or infinite" if bad else fault
