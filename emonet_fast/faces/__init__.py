"""Where the faces of a picture are: found by YuNet or read from a file, and the crop that is scored of each."""

from .detector import FaceDetector, FaceFinder
from .files import BoxFile
from .finder import PictureFaces, Place, open_faces, open_finder, prepare_faces, prepare_finder
from .geometry import MARGIN, face_crop
from .sample import FaceSample, Looked

__all__ = [
    "MARGIN",
    "BoxFile",
    "FaceDetector",
    "FaceFinder",
    "FaceSample",
    "Looked",
    "PictureFaces",
    "Place",
    "face_crop",
    "open_faces",
    "open_finder",
    "prepare_faces",
    "prepare_finder",
]
