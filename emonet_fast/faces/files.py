"""Boxes that were found elsewhere, in place of the detector's: COCO JSON, parquet or CSV (layouts: docs/faces.md).

A row has a box, and names a picture (key or file name), a video's frame (index) or a time (seconds). A row with an
empty box says that there is no face. Plain lists of COCO annotations, such as VideoAnnotator's, are read too.
"""

import csv
import json
import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..records import Face
from .detector import PictureKey

_BOXES = (
    ("x", "y", "width", "height"),
    ("face_x", "face_y", "face_width", "face_height"),
    ("left", "top", "right", "bottom"),
)
_KEYS = ("key", "file_name", "image", "path")
_FRAMES = ("frame_index", "frame", "frame_number")
_TIMES = ("pts", "timestamp", "time")
_TRACKS = ("track_id", "face_id", "track")
_SCORES = ("face_score", "score")
# How many seconds a box's time may lie from a frame's: half a frame at 10 frames a second.
NEAR = 0.05


class BoxFile:
    """The faces of a file, as a FaceFinder that looks at no pixels. It takes about 200 bytes of memory a box.

    Args:
        path: COCO JSON, parquet or CSV.
        min_face: pixels; faces whose longer side is shorter are left out.

    Raises:
        InputError: when the file cannot be read, has another layout, or has a row without a usable box.
    """

    needs_pixels = False

    def __init__(self, path: Path, min_face: float = 0.0) -> None:
        self.name = f"boxes:{path.name}"
        self._min_face = min_face
        self._by_key: dict[str, list[Face]] = {}
        self._by_frame: dict[int, list[Face]] = {}
        self._by_time: dict[float, list[Face]] = {}
        for number, row in enumerate(_read(path)):
            self._add(path, number, row)
        self._times = sorted(self._by_time)
        if not (self._by_key or self._by_frame or self._by_time):
            raise InputError(
                f"{path} has no rows that name a picture ({', '.join(_KEYS)}), a frame ({', '.join(_FRAMES)}) or a "
                f"time ({', '.join(_TIMES)})"
            )

    def detect(self, pictures: Sequence[Any], keys: Sequence[PictureKey]) -> list[tuple[Face, ...]]:
        """See FaceFinder.detect. The pictures are not looked at."""
        del pictures
        faces = [self.of_picture(key) if isinstance(key, str) else self.of_frame(*key) for key in keys]
        return [tuple(face for face in some if face.longer_side >= self._min_face) for some in faces]

    def of_picture(self, key: str) -> tuple[Face, ...]:
        """The faces of a picture by its key, or by its file name where the file has only that."""
        faces = self._by_key.get(key)
        return tuple(self._by_key.get(_base(key), ()) if faces is None else faces)

    def of_frame(self, index: int, seconds: float) -> tuple[Face, ...]:
        """The faces of a video's frame: by its index where the file has those, else by the nearest time within NEAR."""
        if self._by_frame:
            return tuple(self._by_frame.get(index, ()))
        at = bisect_left(self._times, seconds)
        near = [t for t in self._times[max(0, at - 1) : at + 1] if abs(t - seconds) <= NEAR]
        return tuple(self._by_time[min(near, key=lambda t: abs(t - seconds))]) if near else ()

    def _add(self, path: Path, number: int, row: Mapping[str, Any]) -> None:
        try:
            face = _face(row)
            key, frame, seconds = _first(row, _KEYS), _number(_first(row, _FRAMES)), _number(_first(row, _TIMES))
        except (TypeError, ValueError) as error:
            raise InputError(f"{path}, row {number + 1}: {error}") from None
        new = [] if face is None else [face]
        if key is not None:
            # Our own rows are called key::box0, key::box1, ...
            whole, _, place = str(key).rpartition("::box")
            name = whole if whole and place.isdigit() else str(key)
            for known in {name, _base(name)}:
                self._by_key.setdefault(known, []).extend(new)
        if frame is not None:
            self._by_frame.setdefault(int(frame), []).extend(new)
        if seconds is not None:
            self._by_time.setdefault(seconds, []).extend(new)


def _read(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        if path.suffix.lower() == ".json":
            return _coco(path, json.loads(path.read_text("utf-8")))
        if path.suffix.lower() == ".csv":
            with path.open(newline="", encoding="utf-8-sig") as file:
                rows: list[Mapping[str, Any]] = list(csv.DictReader(file))
            return rows
        if path.suffix.lower() == ".parquet":
            import pyarrow.parquet as pq

            wanted = {*_KEYS, *_FRAMES, *_TIMES, *_TRACKS, *_SCORES, *(n for names in _BOXES for n in names)}
            there = [name for name in pq.read_schema(path).names if name in wanted]
            table: list[Mapping[str, Any]] = pq.read_table(path, columns=there).to_pylist()
            return table
    except (OSError, ValueError, csv.Error, RecursionError) as error:  # pyarrow's and JSON's are ValueErrors
        raise InputError(f"the boxes of {path} cannot be read: {' '.join(str(error).split())[:200]}") from None
    raise InputError(f"{path}: expected boxes in a file named .json (COCO), .parquet or .csv")


def _coco(path: Path, data: Any) -> list[Mapping[str, Any]]:
    annotations = data.get("annotations") if isinstance(data, dict) else data
    if not isinstance(annotations, list) or not all(isinstance(a, dict) for a in annotations):
        raise InputError(f"{path} has no list of annotations; expected COCO JSON")
    images = data.get("images", []) if isinstance(data, dict) else []
    known = {str(i.get("id")): i for i in images if isinstance(i, dict)}
    rows: list[Mapping[str, Any]] = []
    for annotation in annotations:
        image = known.get(str(annotation.get("image_id")), {})
        row = {name: annotation.get(name, image.get(name)) for name in (*_FRAMES, *_TIMES)}
        timed = any(value is not None for value in row.values())
        # A video's annotations all name the video's file; frames and times tell them apart.
        row["key"] = None if timed else image.get("file_name", annotation.get("image_id"))
        row |= {name: annotation.get(name) for name in (*_TRACKS, "score")}
        bbox = annotation.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise InputError(f"{path}, annotation {annotation.get('id')}: bbox is {bbox!r}; expected 4 numbers")
        row |= dict(zip(_BOXES[0], bbox, strict=True))
        rows.append(row)
    return rows


def _face(row: Mapping[str, Any]) -> Face | None:
    """The row's face; None where its box is empty on purpose."""
    names = next((names for names in _BOXES if all(name in row for name in names)), None)
    if names is None:
        raise ValueError(f"no box; expected the columns {', or '.join(', '.join(n) for n in _BOXES)}")
    values = [_number(row[name]) for name in names]
    if all(value is None for value in values):
        return None
    x, y, width, height = (math.nan if value is None else value for value in values)
    if names[0] == "left":
        width, height = width - x, height - y
    if not all(map(math.isfinite, (x, y, width, height))) or width <= 0 or height <= 0:
        raise ValueError(f"the box {dict(zip(names, values, strict=True))}; expected finite numbers, sides above 0")
    score, track = _number(_first(row, _SCORES)), _number(_first(row, _TRACKS))
    return Face(x, y, width, height, 1.0 if score is None else score, track=None if track is None else int(track))


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} came; expected a finite number")
    return number


def _base(key: str) -> str:
    return key.replace("\\", "/").rpartition("/")[2]
