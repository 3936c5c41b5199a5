"""The records that pass between the rooms. Every field names its shape, dtype and unit."""

import math
import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePath
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


# What stands at the end of a key beside its file: the face, the frame, how often the file was given before.
_BOX = re.compile(r"::box(\d+)$")
_FRAME = re.compile(r"::frame\d+$")
_REPEAT = re.compile(r"#\d+$")


class Status(StrEnum):
    """What became of one input. Everything but `OK` has no scores."""

    OK = "ok"
    UNREADABLE = "unreadable"  # the path or shard member could not be read
    CHANGED = "changed"  # it is not the file any more that a bulk run's plan was made with
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # no decoder knows it
    TRUNCATED = "truncated"  # it begins as an image, but its data ends early or is damaged
    TOO_LARGE = "too_large"  # more pixels, bytes or memory than Options.max_pixels, max_bytes, max_memory allow
    TOO_SLOW = "too_slow"  # decoding would take longer than Options.max_seconds allows
    BAD_INPUT = "bad_input"  # an object in memory of the wrong type, dtype, shape or with NaN
    NO_FACE = "no_face"  # faces were looked for, and it has none
    FAILED = "failed"  # the engine gave a value that is not finite, or a step failed that no data should


@dataclass(frozen=True, slots=True)
class Box:
    """A crop of an upright picture, [left, right) x [top, bottom); it may reach over the picture's edges.

    Args:
        left: first column, in whole pixels of the picture.
        top: first row.
        right: the column after the last one.
        bottom: the row after the last one.

    Raises:
        InputError: when the box is empty, or a side is not a whole number.
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
        """Pixels from left to right."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """Pixels from top to bottom."""
        return self.bottom - self.top

    def inside(self, width: int, height: int) -> "Box | None":
        """The part of the box that lies in a picture of that size; None where no part does."""
        left, top = max(self.left, 0), max(self.top, 0)
        right, bottom = min(self.right, width), min(self.bottom, height)
        return Box(left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True, slots=True)
class Face:
    """The box of a face as it was found; it may reach over the picture's edges.

    Args:
        x: left edge, in pixels of the upright picture.
        y: top edge, in pixels.
        width: of the box, in pixels.
        height: of the box, in pixels.
        score: confidence of the detector, 0..1; 1 where the finder gave none.
        landmarks: (x, y) in pixels of right eye, left eye, nose tip, right and left corner of the mouth; empty where
            there are none.
        track: the identity that came with a box from a file; None without one.
        sharpness: of its crop, see quality.py; NaN before a decoder has cut it out. On a GPU a tensor of one number.
        brightness: of its crop, 0..255; likewise.
    """

    x: float
    y: float
    width: float
    height: float
    score: float = 1.0
    landmarks: tuple[tuple[float, float], ...] = ()
    track: int | None = None
    # Measured of its crop, no part of what it is: and NaN equals itself up to Python 3.12 alone.
    sharpness: float = field(default=math.nan, compare=False)
    brightness: float = field(default=math.nan, compare=False)

    @property
    def longer_side(self) -> float:
        """The longer one of width and height, in pixels."""
        return max(self.width, self.height)


@dataclass(frozen=True, slots=True)
class Picture:
    """One input as a source found it, not decoded yet.

    Args:
        key: stable name, unique in its source: a path, `shard.tar::member`, `table.parquet::row`, `#index`.
        data: encoded bytes, a PIL image, or an array [H, W, 3] uint8 RGB; None where reading it failed.
        status: OK unless the source could not read it.
        reason: why the source could not read it; "" where it could.
        boxes: crops to score instead of the whole picture, each a row of its own with the key `key::box0`,
            `key::box1`, ...
        faces: the face of each box; () where faces were looked for and none was found, None where they were not
            looked for.
        origin: anything that its rows carry along, see Decoded.
    """

    key: str
    data: "bytes | Image.Image | npt.NDArray[np.generic] | None"
    status: Status = Status.OK
    reason: str = ""
    boxes: tuple[Box, ...] = ()
    faces: tuple[Face, ...] | None = None
    origin: object = None

    def row_keys(self) -> tuple[str, ...]:
        """The keys of its rows: one for each box, or its own."""
        return tuple(f"{self.key}::box{i}" for i in range(len(self.boxes))) or (self.key,)


def face_index(key: str) -> int | None:
    """Which face of its picture a row is, by the end of its key (Picture.row_keys); None for a whole picture."""
    found = _BOX.search(key)
    return int(found[1]) if found else None


def file_name(key: str) -> str | None:
    """The name, without its folders, of the file that a row is of; None for a picture in memory.

    A tar's member is such a file. A table's row is of its table, a frame of its video. `a.jpg#2` is `a.jpg` again.
    """
    file, mark, inside = _FRAME.sub("", _BOX.sub("", key)).rpartition("::")
    path = file if inside.isdecimal() and mark else inside if mark else _REPEAT.sub("", inside)
    return PurePath(path).name or None


@dataclass(frozen=True, slots=True)
class Photograph:
    """A small copy of the picture that faces were found in, to be shown.

    Args:
        rgb: [h, w, 3] uint8 RGB.
        width: of the whole upright picture in pixels, in which faces have their places.
        height: of it.
    """

    rgb: UInt8Array
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Decoded:
    """One row to score: a picture, or a box of one, after decoding.

    Args:
        key: of the row, see Picture.row_keys.
        rgb: [H, W, 3] uint8 RGB, upright (EXIF applied unless switched off); None unless status is OK and pictures
            were asked for. Where a decoder goes straight to the network's input, that input in the picture's
            proportions.
        status: OK where the row has pixels.
        reason: why it has no pixels; where status is OK, a note on what decoding had to do ("" mostly).
        face: whose crop the row is; None for any other row.
        origin: of the row's picture.
        photograph: the picture that the face is in, where pictures were asked for and all of it was decoded; the faces
            of one picture share it.
    """

    key: str
    rgb: UInt8Array | None
    status: Status = Status.OK
    reason: str = ""
    face: Face | None = None
    origin: object = None
    photograph: Photograph | None = None
