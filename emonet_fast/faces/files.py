"""Boxes that were found elsewhere, in place of the detector's.

A row names a picture, or a video's frame (index) or time (seconds), with or without the video. A row with an empty box
says that there is no face. Pictures and videos are found by the rule of sources/keys.py, and a name is one picture's:
what could be another one's faces is an error.

Boxes of every third frame serve the frames between them too: a frame takes the nearest row within half the spacing of
the video's rows. The spacing is the lower quartile of the distances between neighbouring rows, as frames without a face
may have no row.
"""

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..records import Face
from ..sources.keys import AmbiguousKeyError, Names, picture_of, unnumbered
from ..text import utf8_text
from .box_rows import FRAMES, KEYS, TIMES, BoxRow, read_boxes
from .detector import PictureKey

# How many seconds a box's time may lie from a frame's where the file has no second time.
NEAR = 0.05
# The farthest that any row reaches, in frames and in seconds: after that a face is elsewhere.
_FARTHEST = 30, 1.0
# Boxes are parts of the picture where none is larger; a detector's may reach over the picture's edges.
_PART = 2
_ROUNDED = 1e-6  # seconds; times are written with few digits


@dataclass(slots=True)
class _Count:
    """How many keys came, how many of them the file names, and the first that it does not."""

    kind: str
    asked: int = 0
    named: int = 0
    first: str = ""

    def add(self, key: str, named: bool) -> None:
        self.asked += 1
        self.named += named
        if not named and not self.first:
            self.first = key


class _Places:
    """Places on one axis, frames or seconds, in any order."""

    def __init__(self, places: Iterable[float], alone: float, farthest: float) -> None:
        self._places = sorted(places)
        gaps = sorted(after - before for before, after in pairwise(self._places))
        self._reach = min(gaps[(len(gaps) - 1) // 4] / 2, farthest) if gaps else alone

    def nearest(self, at: float) -> float | None:
        """The nearest place within the reach, the earlier one of two; None where there is none."""
        i = bisect_left(self._places, at)
        near = min(self._places[max(0, i - 1) : i + 1], key=lambda place: abs(place - at), default=None)
        return near if near is not None and abs(near - at) <= self._reach + _ROUNDED else None


@dataclass
class _Frames:
    """The faces of one video, by the index of their frame, or by their time where the row has no index."""

    by_index: dict[float, list[Face]] = field(default_factory=dict)
    by_time: dict[float, list[Face]] = field(default_factory=dict)
    pictures: dict[int, str] = field(default_factory=dict)  # the names that rows give frames as pictures

    @cached_property
    def _axes(self) -> tuple[_Places, _Places]:
        return _Places(self.by_index, 0, _FARTHEST[0]), _Places(self.by_time, NEAR, _FARTHEST[1])

    def first(self) -> str:
        """The first place that has a row, in words."""
        return f"frame {next(iter(self.by_index))}" if self.by_index else f"{next(iter(self.by_time)):.3f} s"

    def at(self, index: int, seconds: float) -> list[Face] | None:
        """The faces of the nearest index, else of the nearest time; None where nothing is near."""
        for axis, faces, at in zip(self._axes, (self.by_index, self.by_time), (index, seconds), strict=True):
            near = axis.nearest(at)
            if near is not None:
                return faces[near]
        return None


class BoxFile:
    """The faces of a file, as a FaceFinder that looks at no pixels. It takes about 200 bytes of memory a box, and 350 a
    picture.

    Args:
        path: COCO JSON, parquet or CSV.
        min_face: pixels; faces whose longer side is shorter are left out.

    Attributes:
        identities: see FaceFinder.

    Raises:
        InputError: when the file cannot be read, has another layout, or has a row without a usable box. `detect`
            raises it too, when a key fits several names or two keys one, or the file names nothing of that kind.
    """

    needs_pixels = False

    def __init__(self, path: Path, min_face: float = 0.0) -> None:
        self.name = f"boxes:{path.name}"
        self._path, self._min_face = path, min_face
        self._pictures: dict[str, list[Face]] = {}
        self._videos: dict[str, _Frames] = {}
        self._owners: dict[str, str] = {}  # the key that a picture's name was found for
        self.identities = 0
        self._given = self._small = self._double = 0  # faces so far, those too small, those of an identity twice
        self._asked, self._asked_frames = _Count("pictures"), _Count("sampled frames")
        largest = max((self._add(row) for row in read_boxes(path)), default=None)
        if largest is None:
            raise InputError(f"{path} has no rows; expected at least one")
        if 0 < largest <= _PART:
            raise InputError(
                f"no box of {path} is larger than {_PART} pixels: they look like parts of the picture, 0 to 1; "
                "expected pixels: multiply x and width by the picture's width, y and height by its height"
            )
        self._picture_names, self._video_names = Names(self._pictures), Names(filter(None, self._videos))

    def need_pictures(self) -> None:
        """Raise InputError where the file names no picture."""
        if not self._pictures:
            raise InputError(
                f"{self._path} names frames or times of a video, and no picture; expected a column of "
                f"{', '.join(KEYS)} with the pictures' names"
            )

    def need_frames(self) -> None:
        """Raise InputError where the file names no frame or time of a video."""
        if not self._videos:
            raise InputError(
                f"{self._path} names pictures, and no frame or time of a video; expected a column of "
                f"{', '.join(FRAMES)}, or of {', '.join(TIMES)} in seconds"
            )

    def detect(self, pictures: Sequence[Any], keys: Sequence[PictureKey]) -> list[tuple[Face, ...]]:
        """See FaceFinder.detect. The pictures are not looked at."""
        del pictures
        found = [self.of_picture(key) if isinstance(key, str) else self.of_frame(*key) for key in keys]
        large = [tuple(face for face in some if face.longer_side >= self._min_face) for some in found]
        self._given += sum(map(len, found))
        self._small += sum(map(len, found)) - sum(map(len, large))
        return large

    def notes(self) -> list[str]:
        """What a user must know: how many of the pictures or frames so far the file does not name, and odd faces."""
        odd = {
            f"are smaller than {self._min_face:g} pixels (--min-face) and were left out": self._small,
            "have the identity of another face of their frame; they are followed as faces without one": self._double,
        }
        names = [next(iter(self._pictures), "")], [v.first() for v in self._videos.values()][:1]
        return [f"{n} of {self._given} faces of {self._path} {what}" for what, n in odd.items() if n] + [
            f"{count.asked - count.named} of {count.asked} {count.kind} have no row in {self._path}, such as "
            f"{count.first!r}; its rows name such as {name[0]!r}"
            for count, name in zip((self._asked, self._asked_frames), names, strict=True)
            if count.named < count.asked
        ]

    def of_picture(self, key: str) -> tuple[Face, ...]:
        """The faces of a picture by its key."""
        self.need_pictures()
        name = self._find(self._picture_names, key)
        self._asked.add(key, name is not None)
        if name is None:
            return ()
        mine = unnumbered(picture_of(key))
        other = self._owners.setdefault(name, mine)
        if other != mine:
            raise InputError(
                f"{name!r} of {self._path} could be {other!r} or {mine!r}; name the pictures with their folders there"
            )
        return tuple(self._pictures[name])

    def of_frame(self, index: int, seconds: float, video: str = "") -> tuple[Face, ...]:
        """The faces of a video's frame: of the row with the nearest index, else of the nearest time."""
        self.need_frames()
        frames = self._videos.get(self._find(self._video_names, utf8_text(video)) or "")
        if frames is None:
            names = ", ".join(map(repr, list(self._videos)[:3]))
            raise InputError(f"{self._path} has the boxes of {names}; none of these is {video!r}")
        faces = frames.at(index, seconds)
        self._asked_frames.add(f"frame {index} at {seconds:.3f} s", faces is not None)
        distinct: list[Face] = []
        for face in faces or ():
            double = face.track is not None and any(face.track == other.track for other in distinct)
            self._double += double
            distinct.append(replace(face, track=None) if double else face)
        return tuple(distinct)

    def _find(self, names: Names, key: str) -> str | None:
        try:
            return names.find(key)
        except AmbiguousKeyError as error:
            raise InputError(f"{error} of {self._path}; name them there with their folders") from None

    def _add(self, row: BoxRow) -> float:
        """Take a row; the longer side of its box, 0 for none."""
        if row.face is not None and row.face.track is not None:
            self.identities = max(self.identities, row.face.track)
        new = [] if row.face is None else [row.face]
        if row.picture:
            self._pictures.setdefault(row.picture, []).extend(new)
        if row.frame is not None or row.seconds is not None:
            frames = self._videos.setdefault(row.video, _Frames())
            if row.frame is not None:
                frames.by_index.setdefault(row.frame, []).extend(new)
                other = frames.pictures.setdefault(row.frame, row.picture) if row.picture else row.picture
                if other != row.picture:
                    raise InputError(
                        f"{self._path} has frame {row.frame} as {other!r} and as {row.picture!r}; if they are of two "
                        "videos, name each in a column source"
                    )
            elif row.seconds is not None:
                frames.by_time.setdefault(row.seconds, []).extend(new)
        return 0.0 if row.face is None else row.face.longer_side
