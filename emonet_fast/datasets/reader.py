"""Rows of the published parquet layout, one at a time. Images are read only if the caller wants them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, InputError
from ..options import MAX_BYTES
from ..sources.table import choose_column, open_table, read_batches
from .labels import annotations

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.parquet


class Kind(StrEnum):
    """A data set, by the kind of its annotations."""

    HQ = "hq"  # experts' ratings, 0..7
    BINARY = "binary"  # experts' yes or no
    BIG = "big"  # machine labels, no experts


@dataclass(frozen=True, slots=True)
class Demographics:
    """What the prompt asked the image generator for, or ""; never a measured attribute of anybody."""

    age: str = ""
    gender: str = ""
    ethnicity: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a data set with everything that the data set says of it.

    Args:
        key: `shard.parquet::row`, rows of the shard counted from 0; `emonet-fast score` gives the row the same key.
        file_name: name inside the image struct, with its folders; "" where the file keeps none.
        row: place in the whole data set, with the shards in the order of their names.
        image: encoded bytes; None if the caller did not ask for images, or the row has none.
        prompt: the text that the image was generated from.
        emotion: the emotion that the prompt asked for.
        subset: name of the part of the data set.
        demographics: what else the prompt asked for.
        annotations: annotator -> column name of an emotion -> rating 0..7 (HQ), or 0 and 1 (Binary); empty for Big.
        extras: every other column by its name.
    """

    key: str
    file_name: str
    row: int
    image: bytes | None
    prompt: str
    emotion: str
    subset: str
    demographics: Demographics
    annotations: Mapping[str, Mapping[str, float]]
    extras: Mapping[str, Any] = field(default_factory=dict)


_DEMOGRAPHICS = ("age", "gender", "ethnicity")
TEXTS = ("prompt", "emotion", "subset", *_DEMOGRAPHICS)
_BATCH_IMAGES = 16  # portraits of 1 MB
_BATCH_TEXTS = 1024


@dataclass(frozen=True, slots=True)
class _Layout:
    """How to read a shard: the column of images, all columns to read, the names of a column's class labels."""

    image: str
    columns: list[str]
    classes: Mapping[str, Sequence[str]]


class DataSet:
    """The shards of a data set, in the order of their names. Iterating gives records with images, lazily.

    Args:
        source: where the data set came from, for titles.
        files: its shards.
        experts: whether the column `label` holds experts' annotations. Big's machine labels have another form and stay
            in `extras`.
        skipped: names of tables in its folder that are no shards, such as scores: they have no images or no labels.

    Raises:
        DataError: when there is no shard, or two have one name; while reading, when a shard is damaged or has another
            layout.
    """

    def __init__(self, source: str, files: Sequence[Path], experts: bool = True, skipped: tuple[str, ...] = ()) -> None:
        if not files:
            raise DataError(f"{source} holds no .parquet file; expected the data set's published shards")
        self.source, self.files, self.skipped = source, tuple(files), skipped
        names = [f.name for f in self.files]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise DataError(
                f"{source} has two shards of the name {twice[0]}, so keys like {twice[0]}::0 would mean two images; "
                "name the folder of one split"
            )
        self._kind: Kind | None = None if experts else Kind.BIG

    def __len__(self) -> int:
        return sum(self._open(f).metadata.num_rows for f in self.files)

    def __iter__(self) -> Iterator[Record]:
        return self.records()

    @property
    def kind(self) -> Kind:
        """HQ, Binary or Big, by the first row with annotations; Big if no row has any."""
        if self._kind is None:
            self._kind = next((k for _, k in self._rows(False) if k is not None), Kind.BIG)
        return self._kind

    def records(self, images: bool = True) -> Iterator[Record]:
        """Every row in order.

        Args:
            images: False leaves the image bytes in the file, so that the annotations of 2.2 GB take seconds.

        Raises:
            DataError: when a shard is damaged or has another layout, or annotations cannot be read.
        """
        return (record for record, _ in self._rows(images))

    def _rows(self, images: bool) -> Iterator[tuple[Record, Kind | None]]:
        row = 0
        for path in self.files:
            with self._open(path) as file:
                layout = _layout(file, path, images)
                for at, cells in enumerate(_cells(file, layout.columns, images, path)):
                    yield _record(cells, layout, f"{path.name}::{at}", row, self._kind != Kind.BIG)
                    row += 1

    def _open(self, path: Path) -> "pyarrow.parquet.ParquetFile":
        try:
            return open_table(str(path))
        except Exception as error:  # pyarrow's errors have no base of their own
            raise DataError(f"{path} cannot be read as parquet ({_first_line(error)}); get the file again") from None


def _layout(file: "pyarrow.parquet.ParquetFile", path: Path, images: bool) -> _Layout:
    """Without images, of the image struct only its path is read."""
    schema = file.schema_arrow
    try:
        image = choose_column(schema, None, str(path))
    except InputError as error:
        raise DataError(str(error)) from None
    kind = schema.field(image).type
    columns = [n for n in schema.names if n != image]
    if images:
        columns.append(image)
    elif any(kind.field(i).name == "path" for i in range(kind.num_fields)):
        columns.append(f"{image}.path")
    return _Layout(image, columns, class_names(schema, path))


def class_names(schema: "pyarrow.Schema", path: Path) -> dict[str, list[str]]:
    """Names of class labels from the `huggingface` entry of the schema's metadata; {} without one."""
    raw = (schema.metadata or {}).get(b"huggingface")
    if raw is None:
        return {}
    try:
        features = json.loads(raw)["info"]["features"]
        return {
            column: [str(n) for n in feature["names"]]
            for column, feature in features.items()
            if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{path}: the schema's huggingface metadata cannot be read ({error}); get the file again"
        ) from None


def _cells(
    file: "pyarrow.parquet.ParquetFile", columns: list[str], images: bool, path: Path
) -> Iterator[dict[str, Any]]:
    """Each row as a dict."""
    batches = read_batches(file, str(path), columns, MAX_BYTES, _BATCH_IMAGES if images else _BATCH_TEXTS)
    try:
        for batch in batches:
            if batch.num_columns == 0:
                yield from ({} for _ in range(batch.num_rows))
            yield from batch.to_pylist()
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(f"{path} is damaged ({_first_line(error)}); get the file again") from None


def _record(cells: dict[str, Any], layout: _Layout, key: str, row: int, experts: bool) -> tuple[Record, Kind | None]:
    image = cells.pop(layout.image, None)
    data, name = (image.get("bytes"), image.get("path")) if isinstance(image, dict) else (image, None)
    texts = {c: _text(cells.pop(c, None), c, layout, key) for c in TEXTS}
    answers: dict[str, dict[str, float]] = {}
    kind = None
    label = cells.get("label")
    if experts and isinstance(label, str) and label.strip():
        answers, binary = annotations(label, f"{key}, column label")
        kind = (Kind.BINARY if binary else Kind.HQ) if any(answers.values()) else None
        cells.pop("label")
    file_name = str(name) if name else ""
    demographics = Demographics(*(texts.pop(c) for c in _DEMOGRAPHICS))
    record = Record(key, file_name, row, data, **texts, demographics=demographics, annotations=answers, extras=cells)
    return record, kind


def _text(value: Any, column: str, layout: _Layout, key: str) -> str:
    """A cell as text: class labels by name, -1 and null as ""."""
    if value is None:
        return ""
    names = layout.classes.get(column)
    if names is None or not isinstance(value, int):
        return str(value)
    if value == -1:  # the published layout's "no label"
        return ""
    if not 0 <= value < len(names):
        raise DataError(f"{key}: {column} is class {value}; expected 0 to {len(names) - 1}, as the schema names them")
    return names[value]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
