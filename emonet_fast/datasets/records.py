"""What a row of a data set is."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """Which data set: what its annotations are."""

    HQ = "hq"  # experts' ratings, 0..7
    BINARY = "binary"  # experts' yes or no
    BIG = "big"  # machine labels, no experts


@dataclass(frozen=True, slots=True)
class Demographics:
    """What the prompt asked the image generator for: never a measured attribute of anybody. "" if not given."""

    age: str = ""
    gender: str = ""
    ethnicity: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One image of a data set with all that is known of it.

    key: `shard.parquet::row`, rows of the shard counted from 0, as `emonet-fast score` names the same row.
    file_name: the name inside the image struct, "" if the file keeps none. row: place in the whole data set,
    shards in the order of their names. image: encoded bytes, or None if not asked for or not there.
    annotations: annotator -> emotion's column name -> rating 0..7 (HQ) or 0 and 1 (Binary); empty for Big.
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
