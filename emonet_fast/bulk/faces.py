"""The one place where bulk scoring meets the detector of faces: options to a step of the row pipeline."""

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import InputError
from ..faces import WithFaces, open_finder
from ..faces.detector import FaceFinder
from ..faces.finder import detector_device
from ..faces.model import find_model
from ..job import with_boxes
from ..options import FaceOptions, Options
from ..records import Picture
from ..scores import Scores


class FaceStep:
    """Opened once a process: the detector's network is loaded here. With faces "none" it leaves everything as it is.

    place: of the scorer, beside which faces are found.

    Raises:
        CheckpointError: the detector's model is not to be had.
    """

    def __init__(self, faces: FaceOptions, options: Options, place: tuple[int, int] | None) -> None:
        self._faces, self._options = faces, options
        self._finder: FaceFinder | None = open_finder(faces, options.cache_dir, options.threads, detector_device(place))

    def begin(self, pictures: Iterable[Picture]) -> "ShardFaces":
        """The step over one shard's pictures: the same ones in the same order, with boxes or a status."""
        if self._finder is None:
            return ShardFaces(pictures, None)
        return ShardFaces(pictures, WithFaces(pictures, self._finder, self._options, margin=self._faces.margin))


class ShardFaces:
    """A shard's pictures on their way to the decoder, and afterwards the boxes of their rows."""

    def __init__(self, pictures: Iterable[Picture], found: WithFaces | None) -> None:
        self._pictures, self._found = pictures, found

    def __iter__(self) -> Iterator[Picture]:
        return iter(self._pictures if self._found is None else self._found)

    def boxed(self, scores: Scores) -> Scores:
        """The scores with the box of each row's face; rows must come in order, each once."""
        return scores if self._found is None else with_boxes(scores, self._found)


def known(faces: FaceOptions) -> dict[str, str]:
    """The part of the fingerprint that faces decide and that is known before anything is opened."""
    if faces.faces == "none":
        return {"faces": "none"}
    return {
        "faces": faces.faces.partition(":")[0],
        "face_margin": f"{faces.margin:g}",
        "min_face": f"{faces.min_face:g}",
        "face_score": f"{faces.min_score:g}",
    }


def model_hash(faces: FaceOptions, cache_dir: Path) -> dict[str, str]:
    """The file of the detector, or of boxes, as the fingerprint names it; {} without one.

    Raises:
        CheckpointError: when the detector's model is not to be had; see find_model.
        InputError: when the file of boxes cannot be read.
    """
    kind, _, boxes = faces.faces.partition(":")
    if kind == "none":
        return {}
    name, path = ("face_boxes", Path(boxes)) if boxes else ("face_model", find_model(faces.model, cache_dir))
    try:
        with path.open("rb") as file:
            return {name: "sha256:" + hashlib.file_digest(file, "sha256").hexdigest()}
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from error
