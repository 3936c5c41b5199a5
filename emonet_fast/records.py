"""What passes between the rooms. Every field names its shape, dtype and layout."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from .errors import InputError

if TYPE_CHECKING:
    from PIL import Image

UInt8Array: TypeAlias = npt.NDArray[np.uint8]
FloatArray: TypeAlias = npt.NDArray[np.floating]
Float32Array: TypeAlias = npt.NDArray[np.float32]
Float64Array: TypeAlias = npt.NDArray[np.float64]


class Status(StrEnum):
    """What became of one input. Everything but `OK` has no scores."""

    OK = "ok"
    UNREADABLE = "unreadable"  # the path or shard member could not be read
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # no decoder knows it
    TRUNCATED = "truncated"  # it begins as an image, but its data ends early or is damaged
    TOO_LARGE = "too_large"  # more pixels or bytes than Options.max_pixels / max_bytes allow
    BAD_INPUT = "bad_input"  # an object in memory of the wrong type, dtype, shape or with NaN
    NO_FACE = "no_face"  # faces were looked for, and it has none
    FAILED = "failed"  # the engine gave a value that is not finite


@dataclass(frozen=True, slots=True)
class Box:
    """A crop of an upright picture in whole pixels, [left, right) x [top, bottom); may reach over its edges.

    Raises:
        InputError: it is empty, or not of whole numbers.
    """

    left: int
    top: int
    right: int
    bottom: int

    def __post_init__(self) -> None:
        sides = (self.left, self.top, self.right, self.bottom)
        if not all(type(side) is int for side in sides) or self.right <= self.left or self.bottom <= self.top:
            raise InputError(f"a box {sides} came; expected whole numbers with left < right and top < bottom")

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top

    def inside(self, width: int, height: int) -> "Box | None":
        """What of it lies in a picture of that size; None where nothing does."""
        left, top = max(self.left, 0), max(self.top, 0)
        right, bottom = min(self.right, width), min(self.bottom, height)
        return Box(left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True, slots=True)
class Picture:
    """One input as a source found it, not decoded yet.

    key: stable name, unique in its source: a path, `shard.tar::member`, `table.parquet::row`, `#index`.
    data: encoded bytes, a PIL image, or an array [H, W, 3] uint8 RGB; None where reading it failed.
    status, reason: OK and "" unless the source could not read it.
    boxes: crops to score instead of the whole picture, each a row of its own with the key `key::box0`, `key::box1`, ...
    """

    key: str
    data: "bytes | Image.Image | npt.NDArray[np.generic] | None"
    status: Status = Status.OK
    reason: str = ""
    boxes: tuple[Box, ...] = ()

    def row_keys(self) -> tuple[str, ...]:
        """The keys of its rows: one a box, or its own."""
        return tuple(f"{self.key}::box{i}" for i in range(len(self.boxes))) or (self.key,)


@dataclass(frozen=True, slots=True)
class Decoded:
    """One input as RGB.

    rgb: [H, W, 3] uint8, RGB, upright (EXIF applied unless switched off); None unless status is OK and pictures
        were asked for. Where a decoder goes straight to the network's input, that input in the picture's proportions.
    reason: why it has no pixels; where status is OK, a note on what decoding had to do ("" mostly).
    """

    key: str
    rgb: UInt8Array | None
    status: Status = Status.OK
    reason: str = ""
