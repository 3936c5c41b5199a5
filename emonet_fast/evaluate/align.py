"""Which prediction belongs to which image: by file name, or by table and row, never by the place in a file.

The published files list the same images in different orders. So a row number means something only together with
its table, and a file name only if it occurs once.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import DataError
from ..sources.keys import AmbiguousKeyError, Names
from ..text import listed
from .metrics import Floats
from .predictions import NAMED, Predictions, check_share

_ROW = re.compile(r".*\.parquet::\d+", re.IGNORECASE | re.DOTALL)


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


def align(predictions: Predictions, images: Sequence[ImageId], partial: bool) -> tuple[Floats, tuple[str, ...]]:
    """Scores [M, 40] in the order of M images, NaN where there is no prediction, and notes for the reader.

    A key finds its image by the rule of sources/keys.py, at last without the ending of its name. Predictions for other
    images are counted in a note and left out. Raises DataError when keys do not name one image each, none fits, or,
    unless `partial`, more than 1% of the images lack scores.
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
    by_name: dict[str, list[int]] = {}
    for i, image in enumerate(images):
        for known in filter(None, dict.fromkeys((image.key, image.name))):
            by_name.setdefault(known, []).append(i)
    names = Names(by_name, endings=False)
    image_places: list[int | None] = []
    ambiguous = []
    for key in keys:
        found: list[int] = []
        try:
            name = names.find(key)
            found = [] if name is None else by_name[name]
        except AmbiguousKeyError as error:
            ambiguous.append(str(error))
        if len(found) > 1:
            ambiguous.append(f"{key!r} fits {len(found)} images of the name {name!r}")
        image_places.append(found[0] if len(found) == 1 else None)
    first: dict[int, str] = {}
    placed = [(key, place) for key, place in zip(keys, image_places, strict=True) if place is not None]
    repeated = [key for key, place in placed if first.setdefault(place, key) != key]
    if repeated:
        raise DataError(
            f"{source} has more than one prediction for {len(repeated)} images, under different keys: "
            f"{listed(repeated)}; expected one for each image. Remove the repeated rows"
        )
    if ambiguous:
        raise DataError(
            f"{len(ambiguous)} keys of {source} fit several files of the same name: {'; '.join(ambiguous[:NAMED])}. "
            "Give keys, or labels, with folders, or score the data set's parquet shards, whose keys name the row"
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
        f"such as {listed(map(str, images[:3]))}, of which one is the end of the other, folders included"
    )
