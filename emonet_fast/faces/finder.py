"""Opens what finds faces, and gives pictures the boxes of their faces."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..optional import available
from ..options import FaceOptions, Options
from ..records import Face, Picture
from .crop import MARGIN, face_crop
from .detector import FaceDetector, FaceFinder
from .files import BoxFile
from .model import find_model


class PictureFaces:
    """What finds the faces of a run's pictures, and how they are cropped; see decoders.base.FaceLocator.

    Args:
        finder: the detector, or the boxes of a file.
        margin: added around a face's box on each side, as a part of its longer side.

    Raises:
        OptionError: when the margin is negative or not finite.
    """

    def __init__(self, finder: FaceFinder, margin: float = MARGIN) -> None:
        face_crop(Face(0, 0, 1, 1), margin)  # a margin that cannot work is refused before the first picture
        self._finder, self._margin = finder, margin

    @property
    def name(self) -> str:
        """Of the finder."""
        return self._finder.name

    @property
    def needs_pixels(self) -> bool:
        """Whether the finder looks at decoded pictures."""
        return self._finder.needs_pixels

    @property
    def metadata(self) -> dict[str, str]:
        """What an output says of how its faces came about."""
        return {"faces": self.name, "face_margin": f"{self._margin:g}"}

    def locate(self, pictures: Sequence[Picture], pixels: Sequence[Any]) -> list[Picture]:
        """The same pictures with their faces, and a box for each; see FaceLocator.locate."""
        found = self._finder.detect(pixels, [picture.key for picture in pictures])
        return [
            replace(picture, faces=faces, boxes=tuple(face_crop(face, self._margin) for face in faces))
            for picture, faces in zip(pictures, found, strict=True)
        ]


def open_finder(faces: FaceOptions, options: Options, place: tuple[int, int] | None) -> FaceFinder | None:
    """The detector, or the boxes of a file; None for faces "none".

    Args:
        faces: which faces are scored.
        options: of the scorer.
        place: of the scorer: its GPU and stream, None on the CPU. Where PyTorch is there, faces are found on that GPU.

    Raises:
        CheckpointError: when the detector's model is not to be had.
        InputError: when the file's boxes cannot be used.
    """
    if faces.boxes is not None:
        return BoxFile(faces.boxes, faces.min_face)
    if faces.faces == "none":
        return None
    return FaceDetector(
        find_model(faces.model, options.cache_dir),
        min_score=faces.min_score,
        min_face=faces.min_face,
        threads=options.threads,
        device=f"cuda:{place[0]}" if place is not None and available("torch") else "cpu",
    )


def open_faces(faces: FaceOptions, options: Options, place: tuple[int, int] | None) -> PictureFaces | None:
    """What a Scorer's batches take as `faces`; None for faces "none". Arguments and errors as of `open_finder`."""
    finder = open_finder(faces, options, place)
    return None if finder is None else PictureFaces(finder, faces.margin)
