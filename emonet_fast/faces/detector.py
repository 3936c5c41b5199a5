"""Pictures to faces: letterbox, network, decoding, two scales, one suppression over both.

YuNet is best for faces of about 10 to 300 pixels of its input: on a portrait of 1024 pixels its box is a fifth too
small, in a crowd at 480 pixels it misses faces. So the first scale answers for all faces, and the second, finer one
adds those that are small in it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from ..errors import OptionError
from ..options import FaceOptions
from ..records import Face, Float64Array
from .decoding import candidates, suppress
from .letterbox import STRIDE, letterboxed, plan
from .network import BATCH, Network
from .network_torch import TorchNetwork

_DEFAULT = FaceOptions()
SCALES = (480, 960)
_NMS = 0.3  # as OpenCV's FaceDetectorYN
# Pixels of the finer scale's own input up to which it answers.
_SMALL = 128.0
# A finer scale must be that much finer to be worth its time.
_FINER = 1.5


# A picture's key, or the index and the seconds of a video's frame.
PictureKey: TypeAlias = str | tuple[int, float]


class FaceFinder(Protocol):
    """What finds faces in pictures.

    Attributes:
        name: for metadata.
        needs_pixels: whether it looks at the pictures' pixels; else it goes by their keys alone.
    """

    name: str
    needs_pixels: bool

    def detect(self, pictures: Sequence[Any], keys: Sequence[PictureKey]) -> list[tuple[Face, ...]]:
        """The faces of each picture, strongest first.

        Args:
            pictures: [H, W, 3] uint8 RGB each; without any where the finder does not need pixels.
            keys: the pictures' own.
        """
        ...


class FaceDetector:
    """Finds faces by YuNet; see FaceFinder. Not thread-safe.

    Args:
        model: the ONNX file.
        scales: longer sides in pixels at which a picture is looked at, multiples of 32, coarse to fine; no picture is
            enlarged.
        min_score: of the detector, 0..1; weaker faces are left out.
        min_face: in pixels of the picture; faces whose longer side is shorter are left out.
        threads: of the CPU; None for all.
        device: "cpu" (OpenVINO), or one of PyTorch ("cuda:0").

    Raises:
        OptionError: when a setting cannot work.
        CheckpointError: when the file is no YuNet model.
        MissingPackageError: when the device is one of PyTorch, which is not installed.
    """

    name = "yunet"
    needs_pixels = True

    def __init__(
        self,
        model: Path,
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
        """The faces of each picture, strongest first; they do not depend on the pictures beside it.

        Args:
            pictures: [H, W, 3] uint8 RGB each, of any sizes: numpy arrays, or torch tensors on the network's device,
                which stay there.
            keys: not needed here.
        """
        del keys
        rows: list[list[Float64Array]] = [[] for _ in pictures]
        for scale in self._scales:
            chosen = [i for i, rgb in enumerate(pictures) if self._worth(rgb, scale)]
            by_size: dict[tuple[int, int], list[int]] = {}
            for i in chosen:
                frame = plan(pictures[i].shape[1], pictures[i].shape[0], scale)
                by_size.setdefault((frame.width, frame.height), []).append(i)
            for members in by_size.values():
                for start in range(0, len(members), BATCH):
                    self._run(pictures, members[start : start + BATCH], scale, rows)
        return [self._faces(found) for found in rows]

    def _worth(self, rgb: Any, scale: int) -> bool:
        """Whether this scale sees more of the picture than the one before it."""
        first = self._scales[0]
        longer = max(rgb.shape[:2])
        return scale == first or min(longer, scale) >= _FINER * first

    def _run(self, pictures: Sequence[Any], members: list[int], scale: int, rows: list[list[Float64Array]]) -> None:
        frames = [plan(pictures[i].shape[1], pictures[i].shape[0], scale) for i in members]
        outputs = self._network(letterboxed([pictures[i] for i in members], frames))
        for place, (i, frame) in enumerate(zip(members, frames, strict=True)):
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
