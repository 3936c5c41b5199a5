"""FaceOptions to what finds the faces."""

from pathlib import Path

from ..optional import available
from ..options import FaceOptions, Options
from .attach import PictureFaces
from .detector import FaceFinder, open_detector
from .files import BoxFile


def detector_device(place: tuple[int, int] | None) -> str:
    """Where to find faces: on the GPU that scores (its index and stream), where PyTorch is there; else on the CPU."""
    return f"cuda:{place[0]}" if place is not None and available("torch") else "cpu"


def open_finder(
    options: FaceOptions, cache_dir: Path, threads: int | None = None, device: str = "cpu"
) -> FaceFinder | None:
    """The detector, or the boxes of a file; None for faces "none". device: see FaceDetector.

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
            device=device,
        )
    assert options.boxes is not None  # noqa: S101 - there is no other kind
    return BoxFile(options.boxes, options.min_face)


def open_faces(faces: FaceOptions, options: Options, place: tuple[int, int] | None) -> PictureFaces | None:
    """What a Scorer's batches take as `faces`; None for faces "none".

    Args:
        faces: which faces are scored.
        options: of the scorer.
        place: of the scorer: its GPU and stream; faces are found beside them.

    Raises:
        CheckpointError: when the detector's model is not to be had.
        InputError: when the file's boxes cannot be used.
    """
    finder = open_finder(faces, options.cache_dir, options.threads, detector_device(place))
    return None if finder is None else PictureFaces(finder, faces.margin)
