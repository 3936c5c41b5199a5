"""What passes between the rooms. Every field names its shape, dtype and layout."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

UInt8Array: TypeAlias = npt.NDArray[np.uint8]
FloatArray: TypeAlias = npt.NDArray[np.floating]


class Status(StrEnum):
    """What became of one input. Everything but `OK` has no scores."""

    OK = "ok"
    UNREADABLE = "unreadable"  # the path or shard member could not be read
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"  # no decoder knows it
    TRUNCATED = "truncated"  # it begins as an image, but its data ends early or is damaged
    TOO_LARGE = "too_large"  # more pixels or bytes than Options.max_pixels / max_bytes allow
    BAD_INPUT = "bad_input"  # an object in memory of the wrong type, dtype, shape or with NaN
    FAILED = "failed"  # the engine gave a value that is not finite


@dataclass(frozen=True, slots=True)
class Picture:
    """One input as a source found it, not decoded yet.

    key: stable name, unique in its source: a path, `shard.tar::member`, `table.parquet::row`, `#index`.
    data: encoded bytes, a PIL image, or an array [H, W, 3] uint8 RGB; None where reading it failed.
    status, reason: OK and "" unless the source could not read it.
    """

    key: str
    data: "bytes | Image.Image | npt.NDArray[np.generic] | None"
    status: Status = Status.OK
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Decoded:
    """One input as RGB.

    rgb: [H, W, 3] uint8, RGB, upright (EXIF applied unless switched off); None unless status is OK.
    reason: why it has no pixels; where status is OK, a note on what decoding had to do ("" mostly).
    """

    key: str
    rgb: UInt8Array | None
    status: Status = Status.OK
    reason: str = ""
