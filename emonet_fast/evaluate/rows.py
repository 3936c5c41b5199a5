"""Which row of the HQ data set is which file of `hq.csv`, whose order is another one."""

from dataclasses import replace
from typing import TypeAlias

import numpy as np

from ..datasets import DataSet, Record
from ..errors import DataError
from .align import ImageId, places
from .annotations import Ratings
from .predictions import SLUGS, listed

_Signature: TypeAlias = tuple[tuple[str, bytes], ...]


def with_rows(ratings: Ratings, data: DataSet) -> Ratings:
    """The ratings, with the data set's row `shard.parquet::row` as the key of each image.

    A row is found by the file name inside the image struct, where every row has one. Otherwise it is found by the
    humans' ratings, which both publish: one image has the same annotators with the same 40 ratings in both. Images
    whose ratings are not unique stay without a row.

    Raises:
        DataError: when no row belongs to any image.
    """
    records = list(data.records(images=False))
    names = [r.file_name for r in records]
    keys = _by_name(ratings, records) if all(names) and len(set(names)) == len(names) else {}
    how = "file name"
    if len(keys) < len(ratings.images):
        by_rating = _by_rating(ratings, records)
        if len(by_rating) > len(keys):
            keys, how = by_rating, "the humans' ratings"
    if not keys:
        raise DataError(
            f"no row of {data.source} belongs to an image of {ratings.source}, neither by file name nor by the humans' "
            f"ratings; the data set's names are such as {listed(names[:3])}. Expected the HQ data set of that file"
        )
    images = tuple(ImageId(image.name, keys.get(i, "")) for i, image in enumerate(ratings.images))
    note = f"{len(keys)} of {len(images)} images were matched with rows of {data.source} by {how}"
    return replace(ratings, images=images, notes=(*ratings.notes, note))


def _by_name(ratings: Ratings, records: list[Record]) -> dict[int, str]:
    at = places([image.name for image in ratings.images], [r.file_name for r in records], "the data set")
    return {i: r.key for i, r in zip(at, records, strict=True) if i is not None}


def _by_rating(ratings: Ratings, records: list[Record]) -> dict[int, str]:
    humans = np.flatnonzero(ratings.human).tolist()
    images: dict[_Signature, list[int]] = {}
    for i in range(len(ratings.images)):
        rated = [h for h in humans if not np.isnan(ratings.values[h, i]).all()]
        signature = tuple(sorted((ratings.raters[h], ratings.values[h, i].tobytes()) for h in rated))
        images.setdefault(signature, []).append(i)
    rows: dict[_Signature, list[str]] = {}
    for record in records:
        vectors = {a: np.array([v.get(s, 0.0) for s in SLUGS]) for a, v in record.annotations.items()}
        rows.setdefault(tuple(sorted((a, v.tobytes()) for a, v in vectors.items())), []).append(record.key)
    return {i[0]: rows[s][0] for s, i in images.items() if len(i) == 1 and len(rows.get(s, ())) == 1}
