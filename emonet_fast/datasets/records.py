"""The records of a data set."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


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
        file_name: name inside the image struct; "" where the file keeps none.
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
