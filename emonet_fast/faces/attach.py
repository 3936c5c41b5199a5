"""What a decoder calls to give pictures the boxes of their faces."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..records import Face, Picture
from .crop import MARGIN, face_crop
from .detector import FaceFinder


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
