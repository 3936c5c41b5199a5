"""Opens what finds faces, and gives pictures the boxes of their faces."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from ..checkpoint.detector import packed_detector
from ..checkpoint.fetch import VARIANTS, Repository, snapshot
from ..errors import CheckpointError
from ..files import is_file
from ..gpu import driver_present, torch_uses
from ..options import FaceOptions, Options
from ..records import Face, Picture
from .detector import FaceDetector, FaceFinder, PictureKey
from .files import BoxFile
from .geometry import MARGIN, face_crop

FILE = "face_detection_yunet_2023mar.onnx"
# MIT licence. The same bytes as yunet_s_640_640.onnx of the authors' own repository.
REVISION = "3cc26e7f1014a5ee5d74a42acee58bafc9d0a310"
SHA256 = "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4"
REPOSITORY = Repository(
    role="detector",
    name="opencv/face_detection_yunet",
    patterns=(FILE,),
    other_ways=f"(2) {FILE} (or another YuNet of 2023) from elsewhere, named by --detector-model PATH",
)
# The index of the scorer's GPU and its stream; None on the CPU.
Place: TypeAlias = tuple[int, int] | None


class PictureFaces:
    """Finds the faces of a run's pictures and crops them; see decoders.base.FaceLocator and FaceFinder.

    Args:
        finder: the detector, or the boxes of a file.
        margin: added around a face's box on each side, as a part of its longer side.

    Raises:
        OptionError: when the margin is negative or not finite.
    """

    def __init__(self, finder: FaceFinder, margin: float = MARGIN) -> None:
        face_crop(Face(0, 0, 1, 1), margin)  # a margin that cannot work is refused before the first picture
        self._finder, self._margin = finder, margin
        self._lock = threading.Lock()  # a scorer's threads share the finder

    @property
    def name(self) -> str:
        """The finder's name."""
        return self._finder.name

    @property
    def needs_pixels(self) -> bool:
        """Whether the finder looks at decoded pictures."""
        return self._finder.needs_pixels

    @property
    def metadata(self) -> dict[str, str]:
        """What an output says of how its faces came about."""
        return {"faces": self.name, "face_margin": f"{self._margin:g}"}

    def notes(self) -> list[str]:
        """What a user must know of the pictures so far, see FaceFinder.notes."""
        return self._finder.notes()

    @property
    def identities(self) -> int:
        """See FaceFinder."""
        return self._finder.identities

    def detect(self, pictures: Sequence[Any], keys: Sequence[PictureKey]) -> list[tuple[Face, ...]]:
        """See FaceFinder; threads take turns."""
        with self._lock:
            return self._finder.detect(pictures, keys)

    def locate(self, pictures: Sequence[Picture], pixels: Sequence[Any]) -> list[Picture]:
        """See FaceLocator.locate."""
        found = self.detect(pixels, [picture.key for picture in pictures])
        return [
            replace(picture, faces=faces, boxes=tuple(face_crop(face, self._margin) for face in faces))
            for picture, faces in zip(pictures, found, strict=True)
        ]


def find_model(path: Path | None, cache_dir: Path, checkpoint: str | Path = "") -> bytes:
    """The content of the detector's ONNX file: that of `path`, else of the packed checkpoint, else the hub's.

    The hub's is downloaded once at one commit, and held to its SHA-256.

    Raises CheckpointError when there is no such file, it cannot be downloaded, or another file was downloaded.
    """
    if path is not None:
        if not is_file(path):
            raise CheckpointError(f"the detector's model {path} does not exist; expected a YuNet ONNX file")
        return _read(path)
    known = known_model(checkpoint)
    return _checked(snapshot(REPOSITORY, REVISION, cache_dir) / FILE) if known is None else known


def known_model(checkpoint: str | Path) -> bytes | None:
    """The detector where it is on this machine: in the packed checkpoint, else in the hub's cache; None elsewhere.

    Raises CheckpointError when it is there and not what it must be.
    """
    packed = None if checkpoint in ("", *VARIANTS) else packed_detector(checkpoint)
    if packed is not None:
        return packed
    from huggingface_hub import constants  # its function for this takes half a second to import

    name = "models--" + REPOSITORY.name.replace("/", "--")
    cached = Path(constants.HF_HUB_CACHE) / name / "snapshots" / REVISION / FILE
    return _checked(cached) if cached.is_file() else None


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror or error}); remove it and run again") from error


def _checked(model: Path) -> bytes:
    """The content of the hub's file."""
    content = _read(model)
    digest = hashlib.sha256(content).hexdigest()
    if digest != SHA256:
        raise CheckpointError(
            f"{model} has the SHA-256 {digest}; expected {SHA256}. Remove the file to download it again, or name "
            "a model of your own by --detector-model PATH"
        )
    return content


def prepare_finder(
    faces: FaceOptions, options: Options, checkpoint: str | Path = ""
) -> Callable[[Place], FaceFinder | None]:
    """What opens the finder (None for faces "none") once the scorer's place is known.

    Options and checkpoint are the scorer's (`Scorer.options`, `Scorer.where`): a packed file may hold the detector.

    So faults are told before weights are read: CheckpointError when there is no model of the detector, and InputError
    when the file's boxes cannot be used. Where PyTorch can use the scorer's GPU, faces are found there.
    """
    if faces.boxes is not None:
        boxes = BoxFile(faces.boxes, faces.min_face)
        return lambda place: boxes
    if faces.faces == "none":
        return lambda place: None
    model = find_model(faces.model, options.cache_dir, checkpoint)

    def detector(place: Place) -> FaceDetector:
        return FaceDetector(
            model,
            min_score=faces.min_score,
            min_face=faces.min_face,
            threads=options.threads,
            device=f"cuda:{place[0]}" if place is not None and torch_uses(place[0]) else "cpu",
        )

    if options.device != "cpu" and driver_present():
        return detector
    on_cpu = detector(None)
    return lambda place: on_cpu


def open_finder(faces: FaceOptions, options: Options, place: Place, checkpoint: str | Path = "") -> FaceFinder | None:
    """The finder at once, see prepare_finder."""
    return prepare_finder(faces, options, checkpoint)(place)


def prepare_faces(
    faces: FaceOptions, options: Options, checkpoint: str | Path = ""
) -> Callable[[Place], PictureFaces | None]:
    """See open_faces and prepare_finder."""
    opened = prepare_finder(faces, options, checkpoint)
    if faces.boxes is not None and isinstance(boxes := opened(None), BoxFile):
        boxes.need_pictures()

    def at(place: Place) -> PictureFaces | None:
        finder = opened(place)
        return None if finder is None else PictureFaces(finder, faces.margin)

    return at


def open_faces(faces: FaceOptions, options: Options, place: Place, checkpoint: str | Path = "") -> PictureFaces | None:
    """Open what a Scorer's batches take as `faces`.

    Args:
        faces: which faces are scored.
        options: of the scorer.
        place: the scorer's GPU and stream; None on the CPU. Where PyTorch can use that GPU, faces are found there.
        checkpoint: of the scorer (`Scorer.where`); a packed file may hold the detector. "" asks none.

    Returns:
        None for faces "none".

    Raises:
        CheckpointError: when there is no model of the detector.
        InputError: when the file's boxes cannot be used.
    """
    return prepare_faces(faces, options, checkpoint)(place)
