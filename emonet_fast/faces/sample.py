"""Looks whether some pictures of a run that scores whole ones hold several or small faces, which it should not."""

import math
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..decode import decode
from ..errors import CheckpointError
from ..options import Options
from ..records import Face, Picture
from .detector import SCALES, FaceDetector
from .finder import known_model

# Looks are spread evenly over the pictures: of each so many, every second one is left out, and so on.
_MOST = 32
# Looking takes at most this part of the time so far, the detector's own opening (0.1 s) aside.
_SHARE = 0.01
# A picture of more pixels, or that takes longer to decode, is not looked at.
_PIXELS, _SECONDS = 25_000_000, 0.5
# A face is small where its box is less than this part of the picture. Of the published portraits it is a third or more.
_SMALL = 1 / 16


@dataclass(slots=True)
class Looked:
    """What was seen so far.

    Args:
        pictures: how many were looked at.
        unfit: how many of them hold several faces, or a small one alone.
    """

    pictures: int = 0
    unfit: int = 0
    seen: dict[int, bool] = field(default_factory=dict)

    def add(self, number: int, unfit: bool, step: int) -> None:
        """Take in picture `number`, and leave out those that are no multiples of the step."""
        self.seen = {n: fit for n, fit in (self.seen | {number: unfit}).items() if n % step == 0}
        self.pictures, self.unfit = len(self.seen), sum(self.seen.values())

    def text(self) -> str:
        """For people; "" where there is nothing to say."""
        if not self.unfit:
            return ""
        verb = "holds" if self.unfit == 1 else "hold"
        return f"{self.unfit} of {self.pictures} looked at {verb} several or small faces (--faces detect scores each)"


class FaceSample:
    """Looks at some of the pictures that pass by. Not thread-safe.

    Args:
        model: content of the detector's ONNX file.
        options: of the scorer; larger pictures and slower ones are passed over.
    """

    def __init__(self, model: bytes, options: Options) -> None:
        most = min(options.max_pixels, _PIXELS)
        self._options = replace(options, max_pixels=most, max_seconds=min(options.max_seconds, _SECONDS))
        self._detector = FaceDetector(model, scales=SCALES[:1], threads=options.threads)
        self._began = time.perf_counter()
        self._spent = 0.0

    @classmethod
    def where_known(cls, checkpoint: str | Path, options: Options) -> "FaceSample | None":
        """With the detector that is on this machine; None where there is none. Never downloads."""
        try:
            model = known_model(checkpoint)
            return None if model is None else cls(model, options)
        except CheckpointError:
            return None  # who asks for faces is told of a bad file; this run needs none

    def of(self, pictures: Iterable[Picture], looked: Looked) -> Iterator[Picture]:
        """The same pictures; `looked` says what was seen in some of them."""
        step = 1
        for number, picture in enumerate(pictures):
            affordable = self._spent <= _SHARE * (time.perf_counter() - self._began)
            if number % step == 0 and affordable:
                unfit = self._look(picture)
                if unfit is not None:
                    step *= 2 if len(looked.seen) + 1 >= _MOST else 1
                    looked.add(number, unfit, step)
            yield picture

    def _look(self, picture: Picture) -> bool | None:
        """Whether it holds several or small faces; None where it cannot be told."""
        began = time.perf_counter()
        rgb = decode(picture, self._options).rgb
        if rgb is None:
            return None
        decoded = time.perf_counter()
        try:
            faces = self._detector.detect([rgb])[0]
        except (CheckpointError, MemoryError, RuntimeError):  # OpenVINO's; a hint ends no run
            self._spent = math.inf
            return None
        self._spent += (time.perf_counter() if self._spent else decoded) - began  # the first one compiles
        return _unfit(faces, rgb.shape[1], rgb.shape[0])


def _unfit(faces: tuple[Face, ...], width: int, height: int) -> bool:
    return len(faces) > 1 or any(face.width * face.height < _SMALL * width * height for face in faces)
