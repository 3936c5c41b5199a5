"""The faces of sampled frames: where they are, who they are, and what is scored of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from ..faces import FaceFinder, face_crop
from ..faces.looks import looks_of
from ..faces.track import GapLimit, Tracker
from ..options import VideoOptions
from ..records import Face, Picture, Status, UInt8Array
from ..sources.video.frames import Frame
from ..timeline import NO_TRACK

# A track's number and its scene: what scores may be taken over in, and smoothed in.
Curve: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class FrameFaces:
    """A sampled frame and its rows: one a face, or a single one for the whole frame or for a frame without a face.

    The picture has the frame's pixels, faces and their crops; its `row_keys()` are the keys of the rows, and its status
    is NO_FACE where faces were looked for and none was found. A row without a track has NO_TRACK. `number` counts the
    sampled frames.
    """

    frame: Frame
    picture: Picture
    tracks: tuple[int, ...]
    number: int

    def curves(self) -> list[Curve]:
        """The curve of each row."""
        return [(track, self.frame.scene) for track in self.tracks]


class FaceFollower:
    """Finds the faces of one video's sampled frames and follows them; without a finder it takes whole frames."""

    def __init__(self, name: str, finder: FaceFinder | None, options: VideoOptions) -> None:
        self._name, self._finder, self._margin = name, finder, options.faces.margin
        self._tracker: Tracker | None = None
        if options.track and finder is not None:
            self._tracker = Tracker(GapLimit(options.track_memory), finder.identities + 1)
        self._number = 0

    def find(self, sampled: Sequence[tuple[Frame, UInt8Array]]) -> Sequence[tuple[Face, ...] | None]:
        """The faces of each frame [H, W, 3] uint8 RGB; None where the whole frame is scored."""
        if self._finder is None:
            return [None] * len(sampled)
        keys = [(frame.index, frame.seconds, self._name) for frame, _ in sampled]
        return self._finder.detect([rgb for _, rgb in sampled], keys)

    def follow(self, frame: Frame, rgb: UInt8Array, faces: tuple[Face, ...] | None) -> FrameFaces:
        """The frame's rows. Call it once a frame, in the order of the video."""
        key = f"{self._name}::frame{frame.index}"
        self._number += 1
        if faces is None:
            return FrameFaces(frame, Picture(key, rgb), (NO_TRACK,), self._number)
        if self._tracker is None:
            tracks = [NO_TRACK if face.track is None else face.track for face in faces]
        else:
            size = rgb.shape[1], rgb.shape[0]
            tracks = self._tracker.update(frame.seconds, faces, size, frame.scene, looks_of(rgb, faces))
        if not faces:
            empty = Picture(key, None, Status.NO_FACE, "no face found", faces=())
            return FrameFaces(frame, empty, (NO_TRACK,), self._number)
        boxes = tuple(face_crop(face, self._margin) for face in faces)
        return FrameFaces(frame, Picture(key, rgb, boxes=boxes, faces=faces), tuple(tracks), self._number)
