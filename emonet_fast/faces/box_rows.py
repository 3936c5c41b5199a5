"""Rows of a file of boxes, each a box and what it is in: COCO JSON, parquet or CSV (layouts: docs/faces.md)."""

import contextlib
import csv
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..records import Face
from ..sources.csv_rows import open_csv, whole_rows
from ..sources.folder import is_image_name, stat_file
from ..sources.keys import picture_of
from ..sources.whole_table import read_whole

_BOXES = (
    ("x", "y", "width", "height"),
    ("face_x", "face_y", "face_width", "face_height"),
    ("left", "top", "right", "bottom"),
)
KEYS = ("key", "file_name", "image", "path")
FRAMES = ("frame_index", "frame", "frame_number")
TIMES = ("seconds", "pts", "timestamp", "time")
_VIDEO = "source"
_TRACKS = ("track_id", "face_id", "track")
_SCORES = ("face_score", "score")
_FRAME_KEY = re.compile(r"(.+)::frame(\d+)")
# Above the largest identity of a file begin our own numbers, in 64 bits.
_MOST = 2**62


@dataclass(frozen=True, slots=True)
class BoxRow:
    """One row.

    Args:
        face: its box; None where the row says that there is no face.
        picture: name of the picture; "" where it names none.
        video: name of the video; "" where it names none.
        frame: index of the frame in the video; None where it names none.
        seconds: time of the frame; None where it names none.
    """

    face: Face | None
    picture: str
    video: str
    frame: int | None
    seconds: float | None


def read_boxes(path: Path) -> Iterator[BoxRow]:
    """The rows of a file. Raises InputError when it cannot be read, or a row has no usable box."""
    for number, row in enumerate(_read(path)):
        try:
            yield _row(row)
        except (TypeError, ValueError, OverflowError) as error:
            raise InputError(f"{path}, row {number + 1}: {str(error)[:300]}") from None


def _row(row: Mapping[str, Any]) -> BoxRow:
    face = _face(row)
    key, video = picture_of(str(_first(row, KEYS) or "")), str(_first(row, (_VIDEO,)) or "")
    frame, seconds = _whole(row, FRAMES), _number(_first(row, TIMES))
    ours = _FRAME_KEY.fullmatch(key)  # of a frame in our own tables of videos
    if ours is not None:
        key, video, frame = "", video or ours[1], int(ours[2]) if frame is None else frame
    elif (frame is not None or seconds is not None) and not is_image_name(key):
        key, video = "", video or key
    if not key and frame is None and seconds is None:
        raise ValueError(
            f"it names no picture ({', '.join(KEYS)}), frame ({', '.join(FRAMES)}) or time ({', '.join(TIMES)})"
        )
    return BoxRow(face, key, video, frame, seconds)


def _read(path: Path) -> Iterator[Mapping[str, Any]]:
    ending = path.suffix.lower()
    try:
        stat_file(path)  # a pipe would be waited for
        if ending == ".json":
            yield from _coco(path, json.loads(path.read_bytes()))
        elif ending == ".csv":
            with open_csv(path) as reader:
                yield from whole_rows(reader)
        elif ending == ".parquet":
            wanted = {*KEYS, *FRAMES, *TIMES, *_TRACKS, *_SCORES, _VIDEO, *(n for names in _BOXES for n in names)}
            for batch in read_whole(path, wanted.__contains__).to_batches():
                yield from batch.to_pylist()
        else:
            raise InputError(f"{path}: expected boxes in a file named .json (COCO), .parquet or .csv")
    except (OSError, ValueError, csv.Error, RecursionError) as error:  # pyarrow's and JSON's are ValueErrors
        raise InputError(f"the boxes of {path} cannot be read: {' '.join(str(error).split())[:200]}") from None


def _coco(path: Path, data: Any) -> list[Mapping[str, Any]]:
    """A row for each annotation, and one without a box for each image that has none."""
    document = data if isinstance(data, dict) else {"annotations": data}
    annotations = _objects(document.get("annotations"), "annotations", path)
    images = _objects(document.get("images", []), "images", path)
    videos = {str(one.get("id")): one.get("name") for one in _objects(document.get("videos", []), "videos", path)}
    images = [{_VIDEO: videos.get(str(image.get("video_id")))} | image for image in images]
    known = {str(image.get("id")): image for image in images}
    if len(known) < len(images):
        raise InputError(f"{path} has {len(images) - len(known)} images with the id of another one; expected one each")
    rows: list[Mapping[str, Any]] = []
    for annotation in annotations:
        bbox = annotation.get("bbox")
        if not isinstance(bbox, list) or len(bbox) != 4:
            raise InputError(
                f"{path}, annotation {annotation.get('id')!r:.40}: bbox is {bbox!r:.80}; expected 4 numbers"
            )
        row = _coco_place(annotation, known.get(str(annotation.get("image_id")), {}))
        row |= {name: annotation.get(name) for name in (*_TRACKS, "score")}
        rows.append(row | dict(zip(_BOXES[0], bbox, strict=True)))
    named = {str(annotation.get("image_id")) for annotation in annotations}
    empty = dict.fromkeys(_BOXES[0])
    rows += [_coco_place({}, image) | empty for name, image in known.items() if name not in named]
    return rows


def _objects(value: Any, what: str, path: Path) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
        raise InputError(f"{path} has no list of {what}; expected COCO JSON")
    return value


def _coco_place(annotation: Mapping[str, Any], image: Mapping[str, Any]) -> dict[str, Any]:
    """What an annotation is in. A video's images have the video's name, or those of pictures of its frames."""
    place = {name: annotation.get(name, image.get(name)) for name in (*FRAMES, *TIMES)}
    name = image.get("file_name", None if any(v is not None for v in place.values()) else annotation.get("image_id"))
    place[_VIDEO] = annotation.get(_VIDEO, image.get(_VIDEO))
    return place | {"key": name}


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
    score, track = _number(_first(row, _SCORES)), _whole(row, _TRACKS)
    if track is not None and track < 0:  # as trackers write it for a face without an identity
        track = None
    return Face(x, y, width, height, 1.0 if score is None else score, track=track)


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) not in (None, "")), None)


def _whole(row: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    """The whole number of a row's first such column, with all its digits; None where it is empty."""
    value = _first(row, names)
    with contextlib.suppress(TypeError, ValueError):
        digits = isinstance(value, int) or (isinstance(value, str) and value.strip().isdecimal())
        number = int(value) if digits else _number(value)
        if number is None or (number == int(number) and number <= _MOST):
            return None if number is None else int(number)
    name = next(name for name in names if row.get(name) not in (None, ""))
    raise ValueError(f"{name} is {value!r:.80}; expected a whole number up to 2^62")


def _number(value: Any) -> float | None:
    if value is None or value == "":
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r:.80} came; expected a finite number")
    return number
