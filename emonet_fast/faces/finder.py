"""FaceOptions to what finds the faces."""

from pathlib import Path

from ..options import FaceOptions
from .detector import FaceFinder, open_detector
from .files import BoxFile, PictureBoxes


def open_finder(options: FaceOptions, cache_dir: Path, threads: int | None = None) -> FaceFinder | None:
    """The detector, or the boxes of a file; None for faces "none".

    Raises:
        CheckpointError: the detector's model is not to be had. InputError: the file's boxes cannot be used.
    """
    if options.faces == "none":
        return None
    if options.faces == "detect":
        return open_detector(
            options.model,
            cache_dir=cache_dir,
            min_score=options.min_score,
            min_face=options.min_face,
            threads=threads,
        )
    return PictureBoxes(BoxFile(Path(options.faces.removeprefix("boxes:"))), options.min_face)
