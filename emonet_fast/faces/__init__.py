"""Where the faces of a picture are: found by YuNet or read from a file, and the crop that is scored of each."""

from .attach import WithFaces
from .crop import MARGIN, face_crop
from .detector import FaceDetector, open_detector
from .face import Face
from .files import BoxFile, PictureBoxes
from .finder import open_finder

__all__ = [
    "MARGIN",
    "BoxFile",
    "Face",
    "FaceDetector",
    "PictureBoxes",
    "WithFaces",
    "face_crop",
    "open_detector",
    "open_finder",
]
