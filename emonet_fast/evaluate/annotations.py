"""The experts' annotations: ratings of HQ and yes-or-no answers of Binary, from published CSV files or data sets."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from ..datasets import DataSet, Record
from ..datasets.labels import literal, located_slug, ratings
from ..errors import DataError
from ..sources.csv_rows import open_rows
from ..text import listed
from .align import ImageId, places
from .metrics import Bools, Floats, Ints
from .prediction_files import arrow_table
from .predictions import SLUGS, check_share

_HUME, _HUME_SCALE = "Hume Face*", 7.0  # published on 0..1; the notebook multiplies it
_TRUE, _FALSE = frozenset({"true", "1", "yes"}), frozenset({"false", "0", "no"})
# Who rated an image, each with the 40 ratings as bytes.
_Signature: TypeAlias = tuple[tuple[str, bytes], ...]
_MAX_FIELD = 1 << 24  # characters of one annotator's dict
_PLACE = {s: i for i, s in enumerate(SLUGS)}


@dataclass(frozen=True, slots=True)
class Ratings:
    """The ratings of N images by R raters.

    Args:
        source: the file or data set that they came from.
        images: N images.
        raters: R names in the order of their first row.
        human: [R] whether a rater is a human.
        values: [R, N, 40] float64 in 0..7, NaN where a rater did not rate an image.
        order: places of the 40 emotions in the order of their first mention; the notebook goes through them so.
        notes: what a reader must know.
    """

    source: str
    images: tuple[ImageId, ...]
    raters: tuple[str, ...]
    human: Bools
    values: Floats
    order: tuple[int, ...] = tuple(range(len(SLUGS)))
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answers:
    """Yes-or-no answers, counted for each of P pairs of image and emotion that anybody answered.

    Args:
        source: the file or data set that they came from.
        images: the images with answers.
        image: [P] place of the pair's image in `images`.
        emotion: [P] place of the pair's emotion among the 40.
        yes: [P] how many answers are yes.
        total: [P] how many answers there are.
        answers: number of all answers.
        annotators: number of people who answered.
    """

    source: str
    images: tuple[ImageId, ...]
    image: Ints
    emotion: Ints
    yes: Ints
    total: Ints
    answers: int
    annotators: int


def hq_from_csv(source: object, partial: bool = False) -> Ratings:
    """Ratings from the published `hq.csv`, or a table of its columns.

    The columns are image, annotator, annotations (a dict as text), and human.

    The rules are the notebook's. An emotion missing from a rater's dict counts as 0. Repeated (image, annotator) rows
    are averaged. Without a column `human` everybody is a human. "Hume Face*" is multiplied by 7. An image for which a
    rater has no row stays unrated. Raises DataError, unless `partial`, when nobody names an emotion.
    """
    table = _RatingSums()
    for where, row in _rows(source, ("image", "annotator", "annotations")):
        values, _ = ratings(literal(row["annotations"], where), where)
        rater = row["annotator"]
        scale = _HUME_SCALE if _HUME in rater else 1.0
        human = _flag(row["human"], where) if row.get("human") not in (None, "") else True
        table.add(row["image"], rater, human, {s: v * scale for s, v in values.items()}, where)
    return table.finish(_name_of(source), [ImageId(name=n) for n in table.images], partial)


def hq_from_dataset(data: DataSet, partial: bool = False) -> Ratings:
    """Ratings from the column `label` of the HQ data set; all of its annotators are humans."""
    table = _RatingSums()
    ids = []
    for record in data.records(images=False):
        ids.append(ImageId(record.file_name, record.key))
        table.image(record.key)
        for annotator, values in record.annotations.items():
            table.add(record.key, annotator, True, values, record.key)
    return table.finish(data.source, ids, partial)


def binary_from_csv(source: object) -> Answers:
    """Answers from the published `binary.csv`, or a table: columns path, annotator, value (True or False), emotion."""
    rows = (
        (row["path"], row["annotator"], row["emotion"], _flag(row["value"], where), where)
        for where, row in _rows(source, ("path", "annotator", "value", "emotion"))
    )
    return _answers(_name_of(source), rows, None)


def binary_from_dataset(data: DataSet) -> Answers:
    """Answers from the column `label` of the Binary data set."""
    records = list(data.records(images=False))
    rows = (
        (record.key, annotator, emotion, value != 0, record.key)
        for record in records
        for annotator, values in record.annotations.items()
        for emotion, value in values.items()
    )
    return _answers(data.source, rows, [ImageId(record.file_name, record.key) for record in records])


class _RatingSums:
    """The rating rows, summed by (rater, image) as they come."""

    def __init__(self) -> None:
        self.images: dict[str, int] = {}
        self.raters: dict[str, bool] = {}
        self.sums: dict[tuple[str, str], Floats] = {}
        self.rows: Counter[tuple[str, str]] = Counter()
        self.named: dict[str, None] = {}  # in the order of first mention

    def image(self, name: str) -> None:
        self.images.setdefault(name, len(self.images))

    def add(self, image: str, rater: str, human: bool, values: Mapping[str, float], where: str) -> None:
        if not image or not rater:
            raise DataError(f"{where} has no image or no annotator; expected both")
        if self.raters.setdefault(rater, human) != human:
            raise DataError(f"{where} calls {rater} human={human}, earlier rows say otherwise; expected one of the two")
        self.image(image)
        self.named |= dict.fromkeys(values)
        row = np.zeros(len(SLUGS))
        row[[_PLACE[s] for s in values]] = list(values.values())
        pair = (rater, image)
        self.sums[pair] = self.sums.get(pair, 0.0) + row
        self.rows[pair] += 1

    def finish(self, source: str, ids: list[ImageId], partial: bool) -> Ratings:
        missing = [s for s in SLUGS if s not in self.named]
        if not self.rows:
            raise DataError(f"{source} has no ratings; expected annotators' ratings of images")
        notes = check_share(missing, len(SLUGS), f"emotions are never rated in {source}", partial)
        values = np.full((len(self.raters), len(ids), len(SLUGS)), np.nan)
        places = {r: i for i, r in enumerate(self.raters)}
        for (rater, image), total in self.sums.items():
            values[places[rater], self.images[image]] = total / self.rows[rater, image]
        values[:, :, [_PLACE[s] for s in missing]] = np.nan
        human = np.array(list(self.raters.values()), dtype=bool)
        if not human.any():
            raise DataError(f"{source} has no human annotators; expected some, to compare with")
        repeated = [f"{i} by {r}" for (r, i), n in self.rows.items() if n > 1]
        if repeated:
            notes.append(f"{len(repeated)} repeated ratings were averaged: {listed(repeated)}")
        with np.errstate(invalid="ignore"):
            outside = int(((values < 0) | (values > 7)).sum())
        if outside:
            notes.append(f"{outside} ratings of the annotators lie outside 0..7")
        order = tuple(_PLACE[s] for s in [*self.named, *missing])
        return Ratings(source, tuple(ids), tuple(self.raters), human, values, order, tuple(notes))


def _answers(source: str, rows: Iterable[tuple[str, str, str, bool, str]], ids: list[ImageId] | None) -> Answers:
    """Count answers by pair. rows: image, annotator, emotion, yes, where. ids: of all images, or None."""
    images: dict[str, int] = {}
    seen: set[tuple[str, str, str]] = set()
    yes: Counter[tuple[str, str]] = Counter()
    total: Counter[tuple[str, str]] = Counter()
    annotators = set()
    for image, annotator, emotion, value, where in rows:
        slug = located_slug(emotion, where)
        if slug is None:
            raise DataError(f"{where}: {emotion!r} is no emotion; expected one of the 40")
        if (image, annotator, slug) in seen:
            raise DataError(f"{where}: {annotator} answers {emotion} of {image} twice; expected one answer")
        seen.add((image, annotator, slug))
        annotators.add(annotator)
        images.setdefault(image, len(images))
        total[image, slug] += 1
        yes[image, slug] += value
    if not total:
        raise DataError(f"{source} has no answers; expected annotators' yes or no for emotions of images")
    known = [ImageId(name=n) for n in images] if ids is None else [i for i in ids if i.key in images]
    order = {str(i.key or i.name): at for at, i in enumerate(known)}
    pairs = list(total)
    return Answers(
        source,
        tuple(known),
        np.array([order[i] for i, _ in pairs], dtype=np.int64),
        np.array([_PLACE[e] for _, e in pairs], dtype=np.int64),
        np.array([yes[p] for p in pairs], dtype=np.int64),
        np.array([total[p] for p in pairs], dtype=np.int64),
        len(seen),
        len(annotators),
    )


def _flag(text: str, where: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE | _FALSE:
        raise DataError(f"{where} has {text!r}; expected True or False")
    return word in _TRUE


def _name_of(source: object) -> str:
    return str(source) if isinstance(source, str | Path) else "the table of annotations"


def _rows(source: object, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file, a workbook or a table in memory with these columns, each with its place in words."""
    if isinstance(source, str | Path):
        yield from _file_rows(Path(source), columns)
        return
    table = arrow_table(source, "annotations")
    _check_columns(_name_of(source), columns, table.column_names)
    for number, row in enumerate(table.to_pylist()):
        yield f"{_name_of(source)}, row {number}", {k: "" if v is None else str(v) for k, v in row.items()}


def _check_columns(name: str, columns: tuple[str, ...], there: Sequence[str]) -> None:
    missing = [c for c in columns if c not in there]
    if missing:
        raise DataError(
            f"{name} has no column {', '.join(missing)}; expected {', '.join(columns)}, as in LAION's published file. "
            f"Its columns: {listed(there or ['none'])}"
        )


def _file_rows(path: Path, columns: tuple[str, ...]) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file or a workbook that has these columns, each with its place in words."""
    before = csv.field_size_limit(_MAX_FIELD)  # of the whole process: put back at the end
    try:
        with open_rows(path) as (names, rows):
            _check_columns(str(path), columns, names)
            yield from rows
    except (OSError, ValueError, csv.Error) as error:
        raise DataError(f"{path} cannot be read as CSV ({error}); expected the published annotations") from None
    finally:
        csv.field_size_limit(before)


def with_rows(ratings: Ratings, data: DataSet) -> Ratings:
    """The ratings, with the data set's row `shard.parquet::row` as the key of each image.

    A row is found by the file name inside the image struct, where every row has one. Otherwise it is found by the
    humans' ratings, which both publish: one image has the same annotators with the same 40 ratings in both. Images
    whose ratings are not unique stay without a row.
    """
    records = list(data.records(images=False))
    names = [r.file_name for r in records]
    keys: dict[int, str] = {}
    if all(names) and len(set(names)) == len(names):
        at = places([ImageId(image.name) for image in ratings.images], names, "the data set")
        keys = {i: r.key for i, r in zip(at, records, strict=True) if i is not None}
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
