"""Which prediction belongs to which image: by file name, or by table and row, never by the place in a file.

The published files list the same images in different orders. So a row number means something only together with
its table, and a file name only if it occurs once.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from ..errors import DataError
from .metrics import Floats
from .predictions import Predictions, check_share, listed

_ROW = re.compile(r"(?P<table>.*\.parquet)::(?P<row>\d+)", re.IGNORECASE | re.DOTALL)
_MEMBER = re.compile(r".*\.tar(\.gz)?::", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class ImageId:
    """What an image is known by.

    Args:
        name: a file name, with or without folders and ending; "" where none is known.
        key: `shard.parquet::row`; "" where none is known.
    """

    name: str = ""
    key: str = ""

    def __str__(self) -> str:
        return self.name or self.key


class _Index:
    """Images by table and row, by name, and by name without its ending."""

    def __init__(self, images: Sequence[ImageId]) -> None:
        self.images = images
        self.by_row: dict[tuple[str, int], int] = {}
        self.by_name: dict[str, list[int]] = {}
        self.by_stem: dict[str, list[int]] = {}
        self.whole = {image.name: i for i, image in enumerate(images)}
        for i, image in enumerate(images):
            match = _ROW.fullmatch(image.key)
            if match:
                self.by_row[_base(match["table"]), int(match["row"])] = i
            if image.name:
                self.by_name.setdefault(_base(image.name), []).append(i)
                self.by_stem.setdefault(_stem(image.name), []).append(i)

    def place(self, key: str) -> int | None:
        """The place of a key's image; None if there is none. Raises LookupError if several images fit."""
        match = _ROW.fullmatch(key)
        if match:
            return self.by_row.get((_base(match["table"]), int(match["row"])))
        path = _MEMBER.sub("", key)
        if path in self.whole and len(self.whole) == len(self.images):  # else a whole name occurs twice, too
            return self.whole[path]
        # Some published names have no ending, and a dot in them begins none. So the whole name is tried first.
        names = self.by_name
        for candidates in (names.get(_base(path)), names.get(_stem(path)), self.by_stem.get(_stem(path))):
            if candidates is not None:
                return candidates[0] if len(candidates) == 1 else self._by_folder(path, candidates)
        return None

    def _by_folder(self, path: str, candidates: list[int]) -> int:
        """One of several images of the same file name: the one whose whole name ends the path."""
        whole = _slashed(path)
        fits = [i for i in candidates if ("/" + whole).endswith("/" + _slashed(self.images[i].name))]
        if len(fits) != 1:
            raise LookupError
        return fits[0]


def align(predictions: Predictions, images: Sequence[ImageId], partial: bool) -> tuple[Floats, tuple[str, ...]]:
    """Scores [M, 40] in the order of M images, NaN where there is no prediction, and notes for the reader.

    A key `table.parquet::row` is found by the file name of the table and the row. A path, or `shard.tar::member`, is
    found by its file name, then by that name without its ending; images of the same file name by their folders too.
    Predictions for other images are counted in a note and left out. Raises DataError when keys do not name one image
    each, none fits, or, unless `partial`, more than 1% of the images lack scores.
    """
    source = predictions.source
    image_places = places(images, predictions.keys, source)
    unknown = [key for key, place in zip(predictions.keys, image_places, strict=True) if place is None]
    if len(unknown) == len(predictions.keys):
        _refuse_all(images, unknown, source)
    values = np.full((len(images), predictions.values.shape[1]), np.nan)
    lacking = dict(enumerate(images))
    for row, place in enumerate(image_places):
        if place is not None:
            values[place] = predictions.values[row]
            if predictions.status[row] == "ok":
                del lacking[place]
    notes = list(predictions.notes)
    failed = Counter(s for s in predictions.status if s != "ok")
    if failed:
        notes.append("rows without scores: " + ", ".join(f"{n} {s}" for s, n in failed.most_common()))
    notes += check_share([*map(str, lacking.values())], len(images), f"images have no scores in {source}", partial)
    if unknown:
        notes.append(f"{len(unknown)} predictions are for other images and were passed over: {listed(unknown)}")
    return values, tuple(notes)


def places(images: Sequence[ImageId], keys: Sequence[str], source: str) -> list[int | None]:
    """For each key the place of its image, by the rules of `align`; None where there is none.

    Raises DataError when a key fits several images, or two keys fit one image.
    """
    index = _Index(images)
    image_places: list[int | None] = []
    ambiguous = []
    for key in keys:
        try:
            image_places.append(index.place(key))
        except LookupError:
            image_places.append(None)
            ambiguous.append(key)
    rows: dict[int, list[str]] = {}
    for key, place in zip(keys, image_places, strict=True):
        if place is not None:
            rows.setdefault(place, []).append(key)
    repeated = [key for several in rows.values() for key in several[1:]]
    if repeated:
        raise DataError(
            f"{source} has more than one prediction for {len(repeated)} images, under different keys: "
            f"{listed(repeated)}; expected one for each image. Remove the repeated rows"
        )
    if ambiguous:
        raise DataError(
            f"{len(ambiguous)} keys of {source} fit several files of the same name: {listed(ambiguous)}. Give keys, or "
            "labels, with folders, or score the data set's parquet shards, whose keys name the row"
        )
    return image_places


def _refuse_all(images: Sequence[ImageId], keys: Sequence[str], source: str) -> None:
    if all(map(_ROW.fullmatch, keys)) and not any(_ROW.fullmatch(image.key) for image in images):
        raise DataError(
            f"the keys of {source} name rows of a table ({keys[0]}), but these annotations name files, and the orders "
            "differ between the published files. Give the data set itself with --dataset: it knows both"
        )
    raise DataError(
        f"none of the {len(keys)} keys of {source} names an image of the data set: {listed(keys)}; expected names "
        f"such as {listed(map(str, images[:3]))}"
    )


def _slashed(name: str) -> str:
    return name.replace("\\", "/").strip("/")


def _base(name: str) -> str:
    return PurePosixPath(_slashed(name)).name


def _stem(name: str) -> str:
    return PurePosixPath(_slashed(name)).stem
