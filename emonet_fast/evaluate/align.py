"""Which prediction belongs to which image: by file name, or by table and row index, never by place in a file.

The published files list the same images in different orders, so a row number means something only together
with the table that it counts in, and a file name only if it occurs once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
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
    """What an image is known by. name: a file name, with or without folders and ending. key: `shard.parquet::row`."""

    name: str = ""
    key: str = ""

    def __str__(self) -> str:
        return self.name or self.key


@dataclass(frozen=True, slots=True)
class Aligned:
    """values: [M, 40] in the order of the images asked for, NaN where there is no prediction. notes: for the reader."""

    values: Floats
    notes: tuple[str, ...]


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

    def find(self, key: str) -> int | None:
        """The image of a prediction's key; None if there is none. Raises LookupError if there are several."""
        match = _ROW.fullmatch(key)
        if match:
            return self.by_row.get((_base(match["table"]), int(match["row"])))
        path = _MEMBER.sub("", key)
        if path in self.whole and len(self.whole) == len(self.images):  # else a whole name occurs twice, too
            return self.whole[path]
        # Published names have no ending at times, and then a dot in them is none: so the name itself comes first.
        names = self.by_name
        for found in (names.get(_base(path)), names.get(_stem(path)), self.by_stem.get(_stem(path))):
            if found is not None:
                return found[0] if len(found) == 1 else self._by_folder(path, found)
        return None

    def _by_folder(self, path: str, candidates: list[int]) -> int:
        """One of several images of the same file name: the one whose whole name ends the path."""
        whole = _slashed(path)
        fits = [i for i in candidates if ("/" + whole).endswith("/" + _slashed(self.images[i].name))]
        if len(fits) != 1:
            raise LookupError
        return fits[0]


def align(predictions: Predictions, images: Sequence[ImageId], partial: bool, what: str = "images") -> Aligned:
    """The predictions in the order of `images`.

    A key `table.parquet::row` is found by the table's file name and the row; a path, or `shard.tar::member`, by its
    file name, then by that name without its ending; images of the same file name by their folders too. Predictions
    for other images are counted and passed over.

    Raises:
        DataError: two predictions for one image, a file name that means several images, rows of a table where only file
            names are known, or more than 1% of the images without scores unless `partial`.
    """
    index = _Index(images)
    place: dict[int, int] = {}
    unknown, ambiguous, repeated = [], [], []
    for row, key in enumerate(predictions.keys):
        try:
            found = index.find(key)
        except LookupError:
            ambiguous.append(key)
            continue
        if found is None:
            unknown.append(key)
        elif found in place:
            repeated.append(key)
        else:
            place[found] = row
    _refuse(predictions, index, unknown, ambiguous, repeated)
    values = np.full((len(images), predictions.values.shape[1]), np.nan)
    if place:
        values[list(place)] = predictions.values[list(place.values())]
    scored = {i for i, row in place.items() if predictions.status[row] == "ok"}
    notes = list(predictions.notes)
    failed = predictions.failed()
    if failed:
        notes.append("rows without scores: " + ", ".join(f"{n} {s}" for s, n in failed.most_common()))
    lacking = [str(image) for i, image in enumerate(images) if i not in scored]
    notes += check_share(lacking, len(images), f"{what} have no scores in {predictions.source}", partial)
    if unknown:
        notes.append(f"{len(unknown)} predictions are for other images and were passed over: {listed(unknown)}")
    return Aligned(values, tuple(notes))


def _refuse(
    predictions: Predictions, index: _Index, unknown: list[str], ambiguous: list[str], repeated: list[str]
) -> None:
    source = predictions.source
    if repeated:
        raise DataError(
            f"{source} has more than one prediction for {len(repeated)} images, under different keys: "
            f"{listed(repeated)}; expected one an image. Remove the repeated rows"
        )
    if ambiguous:
        raise DataError(
            f"{len(ambiguous)} keys of {source} name files that occur more than once in the data set: "
            f"{listed(ambiguous)}. Score the data set's parquet shards, whose keys name the row, or give keys with "
            "folders"
        )
    rows = [k for k in unknown if _ROW.fullmatch(k)]
    if len(rows) == len(predictions.keys) and not index.by_row:
        raise DataError(
            f"the keys of {source} name rows of a table ({rows[0]}), but these annotations name files, and the orders "
            "differ between the published files. Give the data set itself with --dataset: it knows both"
        )
    if len(unknown) == len(predictions.keys):
        raise DataError(
            f"none of the {len(unknown)} keys of {source} names an image that is asked for: {listed(unknown)}; "
            f"expected names such as {listed(map(str, index.images[:3]))}"
        )


def named(names: Iterable[str]) -> list[ImageId]:
    """Images known by file names alone."""
    return [ImageId(name=n) for n in names]


def places(names: Sequence[str], keys: Sequence[str], source: str) -> list[int | None]:
    """For each key the place of its file in `names`, by the same rules; None where there is none.

    Raises:
        DataError: a key fits several files, or two keys fit one.
    """
    index = _Index(named(names))
    out: list[int | None] = []
    for key in keys:
        try:
            out.append(index.find(key))
        except LookupError:
            raise DataError(f"{key} of {source} fits several labelled files; give the labels with folders") from None
    times = Counter(i for i in out if i is not None)
    repeated = [k for k, i in zip(keys, out, strict=True) if i is not None and times[i] > 1]
    if repeated:
        raise DataError(f"{source} has more than one prediction for a labelled image: {listed(repeated)}; expected one")
    return out


def _slashed(name: str) -> str:
    return name.replace("\\", "/").strip("/")


def _base(name: str) -> str:
    return PurePosixPath(_slashed(name)).name


def _stem(name: str) -> str:
    return PurePosixPath(_slashed(name)).stem
