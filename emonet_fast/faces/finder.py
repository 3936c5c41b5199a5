"""Opens what finds faces, by FaceOptions."""

from ..optional import available
from ..options import FaceOptions, Options
from .attach import PictureFaces
from .detector import FaceFinder, open_detector
from .files import BoxFile


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
    return open_detector(
        faces.model,
        cache_dir=options.cache_dir,
        min_score=faces.min_score,
        min_face=faces.min_face,
        threads=options.threads,
        device=f"cuda:{place[0]}" if place is not None and available("torch") else "cpu",
    )


def open_faces(faces: FaceOptions, options: Options, place: tuple[int, int] | None) -> PictureFaces | None:
    """What a Scorer's batches take as `faces`; None for faces "none". Arguments and errors as of `open_finder`."""
    finder = open_finder(faces, options, place)
    return None if finder is None else PictureFaces(finder, faces.margin)
