"""Labels of the published data sets: Big's by machines (0..7), Binary's yes and no, HQ's ratings by experts."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..datasets import DataSet, Kind, Record
from ..datasets.labels import head_slug, literal, ratings
from ..errors import DataError
from ..evaluate.annotations import Ratings, hq_from_dataset
from ..evaluate.predictions import SLUGS
from .rows import LabelRows

_CELLS = ("label", "annotations", "labels")  # where Big's labels may stand as text
_MACHINE = "machine"


def dataset_rows(data: DataSet) -> LabelRows:
    """The labels of a data set; its keys are `shard.parquet::row`, as of `score`."""
    if data.kind == Kind.HQ:
        return rating_rows(hq_from_dataset(data, partial=True))
    keys: list[str] = []
    names: dict[str, int] = {}
    people: dict[str, int] = {}
    labels: list[tuple[int, int, int, float]] = []
    kinds = set()
    for record in data.records(images=False):
        for annotator, answers, yes_no in _said(record, data.kind):
            for slug, value in answers.items():
                name, who = names.setdefault(slug, len(names)), people.setdefault(annotator, len(people))
                labels.append((len(keys), name, who, value))
            kinds.add(yes_no)
        keys.append(record.key)
    if not labels:
        raise DataError(
            f"{data.source} has no labels; expected a column {', '.join(_CELLS)} with the emotions' numbers as a dict, "
            "or a column for each emotion"
        )
    if len(kinds) > 1:
        raise DataError(f"{data.source} mixes ratings with yes and no; expected one kind")
    table = np.array(labels, dtype=np.float64)
    key, name_of, who_of = table[:, :3].T.astype(np.int64)
    return LabelRows(data.source, keys, list(names), key, name_of, who_of, table[:, 3], kinds == {True})


def rating_rows(rated: Ratings) -> LabelRows:
    """The humans' ratings of HQ. An emotion that one of them left out counts as 0, as in the paper's notebook."""
    humans = np.flatnonzero(rated.human)
    values = rated.values[humans]
    who, key, name = np.nonzero(~np.isnan(values))
    keys = [image.key or image.name for image in rated.images]
    return LabelRows(
        rated.source, keys, SLUGS, key, name, who, values[who, key, name], False, notes=list(rated.notes), experts=True
    )


def _said(record: Record, kind: Kind) -> Iterator[tuple[str, Mapping[str, float], bool]]:
    """(annotator, {emotion: value}, yes or no) of a record."""
    if kind != Kind.BIG:
        yield from ((who, answers, True) for who, answers in record.annotations.items())
        return
    cell = next((record.extras[c] for c in _CELLS if record.extras.get(c)), None)
    where = f"{record.key}, labels"
    if cell is None:
        columns = {head_slug(n): v for n, v in record.extras.items() if isinstance(v, int | float)}
        yield _MACHINE, {s: float(v) for s, v in columns.items() if s in SLUGS and np.isfinite(v)}, False
        return
    found: Any = literal(cell, where) if isinstance(cell, str) else cell
    for entry in found if isinstance(found, list) else [found]:
        nested = isinstance(entry, Mapping) and entry and all(isinstance(v, Mapping) for v in entry.values())
        for who, answers in entry.items() if nested else ((_MACHINE, entry),):
            values, yes_no = ratings({k: v for k, v in answers.items() if v is not None}, where)
            yield str(who), values, yes_no
