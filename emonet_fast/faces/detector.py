"""Pictures to faces: letterbox, network, decoding, two scales, one suppression over both.

YuNet is best for faces of about 10 to 300 pixels of its input. On a portrait of 1024 pixels its box is a fifth too
small; in a crowd at 480 pixels it misses faces. So the first scale answers for all faces, and the second, finer scale
adds those that are small in its own input.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import OptionError
from ..options import FaceOptions
from ..records import Face, Float64Array
from .decoding import candidates, suppress
from .letterbox import STRIDE, Letterbox, letterboxed, plan
from .network import BATCH, Network
from .network_torch import TorchNetwork

_DEFAULT = FaceOptions()
SCALES = (480, 960)
_NMS = 0.3  # as OpenCV's FaceDetectorYN
# The finer scale answers for faces of at most so many pixels of its own input.
_SMALL = 128.0
# A finer scale is looked at where it is finer by at least this factor.
_FINER = 1.5

# A picture's key, or the index and the seconds of a video's frame, and the video's name.
PictureKey: TypeAlias = str | tuple[int, float, str]


class FaceFinder(Protocol):
    """Finds faces in pictures."""

    @property
    def name(self) -> str:
        """For metadata."""
        ...

    @property
    def needs_pixels(self) -> bool:
        """Whether it looks at the pictures' pixels; else it goes by their keys alone."""
        ...

    @property
    def identities(self) -> int:
        """The largest identity (Face.track) that any of its faces has; 0 where none has one."""
        ...

    def detect(self, pictures: Sequence[Any], keys: Sequence[PictureKey]) -> list[tuple[Face, ...]]:
        """The faces of each picture, strongest first.

        Pictures are [H, W, 3] uint8 RGB each. None need come where the finder does not need pixels.
        """
        ...

    def notes(self) -> list[str]:
        """What a user must know of the pictures so far, such as how many a file of boxes does not name."""
        ...


class FaceDetector:
    """Finds faces by YuNet; see FaceFinder. Not thread-safe.

    Args:
        model: the ONNX file, or its content.
        scales: longer sides in pixels to which a picture is shrunk, multiples of 32, coarse to fine; no picture is
            enlarged.
        min_score: 0..1; faces of which the detector is less sure are left out.
        min_face: in pixels of the picture; faces whose longer side is shorter are left out.
        threads: of the CPU; None for all.
        device: "cpu" (OpenVINO), or a device of PyTorch ("cuda:0").

    Raises:
        OptionError: when a setting cannot work.
        CheckpointError: when the file is no YuNet model.
        MissingPackageError: when the device is one of PyTorch, which is not installed.
    """

    name = "yunet"
    needs_pixels = True
    identities = 0

    def __init__(
        self,
        model: Path | bytes,
        *,
        scales: tuple[int, ...] = SCALES,
        min_score: float = _DEFAULT.min_score,
        min_face: float = _DEFAULT.min_face,
        threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        if not scales or any(s % STRIDE or s < STRIDE for s in scales) or list(scales) != sorted(set(scales)):
            raise OptionError(f"scales is {scales}; expected multiples of {STRIDE} in rising order")
        if not 0 < min_score <= 1:
            raise OptionError(f"min_score is {min_score}; expected above 0 and at most 1")
        if not 0 <= min_face < float("inf"):
            raise OptionError(f"min_face is {min_face}; expected 0 or more pixels")
        self._scales, self._min_score, self._min_face = scales, min_score, min_face
        self._network = Network(model, threads) if device == "cpu" else TorchNetwork(model, device)

    def detect(self, pictures: Sequence[Any], keys: Sequence[PictureKey] = ()) -> list[tuple[Face, ...]]:
        """The faces of each picture, strongest first, whatever the pictures beside it. Keys are not needed.

        Pictures are [H, W, 3] uint8 RGB each, of any sizes: numpy arrays, or torch tensors, which stay on their device.
        """
        del keys
        first = self._scales[0]
        rows: list[list[Float64Array]] = [[] for _ in pictures]
        for scale in self._scales:
            by_size: dict[tuple[int, int], list[tuple[int, Letterbox]]] = {}
            for i, rgb in enumerate(pictures):
                height, width = rgb.shape[:2]
                if scale == first or min(max(height, width), scale) >= _FINER * first:
                    frame = plan(width, height, scale)
                    by_size.setdefault((frame.width, frame.height), []).append((i, frame))
            for members in by_size.values():
                for start in range(0, len(members), BATCH):
                    self._run(pictures, members[start : start + BATCH], scale, rows)
        return [self._faces(found) for found in rows]

    def notes(self) -> list[str]:
        """Nothing: every picture was looked at."""
        return []

    def _run(
        self, pictures: Sequence[Any], members: list[tuple[int, Letterbox]], scale: int, rows: list[list[Float64Array]]
    ) -> None:
        outputs = self._network(letterboxed([pictures[i] for i, _ in members], [frame for _, frame in members]))
        for place, (i, frame) in enumerate(members):
            found = suppress(candidates(outputs, place, frame.width, frame.height, self._min_score), _NMS)
            if scale != self._scales[0]:
                found = found[found[:, 2:4].max(axis=1, initial=0) <= _SMALL]
            inside = (found[:, 0] < frame.inner_width) & (found[:, 1] < frame.inner_height)
            found = found[inside & (found[:, 0] + found[:, 2] > 0) & (found[:, 1] + found[:, 3] > 0)]
            found[:, [0, 2, *range(5, 15, 2)]] /= frame.factor_x
            found[:, [1, 3, *range(6, 15, 2)]] /= frame.factor_y
            rows[i].append(found)

    def _faces(self, found: list[Float64Array]) -> tuple[Face, ...]:
        rows = np.concatenate(found) if found else np.empty((0, 15))
        rows = rows[rows[:, 2:4].max(axis=1, initial=0) >= self._min_face]
        rows = suppress(rows[np.argsort(-rows[:, 4], kind="stable")], _NMS)
        return tuple(
            Face(x, y, width, height, score, tuple(zip(marks[::2], marks[1::2], strict=True)))
            for x, y, width, height, score, *marks in rows.tolist()
        )
