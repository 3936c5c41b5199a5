"""Stored scores as blocks of raw values: parquet, CSV, JSON lines, LAION's JSON lines, and folders of bulk."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..baseline import known_facts
from ..errors import DataError
from ..files import is_file, is_folder, place_of
from ..records import Float32Array, Float64Array, Status
from ..sources.finished import finished_tables
from ..sources.workbook import WORKBOOK
from .json_rows import RAW, SCORE
from .tables import BLOCK_ROWS, facts_of, fields_of, names_of, read_blocks

if TYPE_CHECKING:
    import pyarrow

SUFFIXES = (".parquet", ".csv", ".jsonl", WORKBOOK)
# Raw scores are float32, their neutral mean is taken off in float64: what reading a text back may cost.
_SAME_MEAN = 1e-6


@dataclass(frozen=True, slots=True)
class _Head:
    """What a file says before its rows are read: its heads, what made it, and what it subtracts (None: nothing)."""

    names: tuple[str, ...]
    columns: tuple[str, ...]
    facts: dict[str, str]
    means: Float64Array | None


class StoredScores:
    """The rows with scores of some files, all of one checkpoint and precision.

    Args:
        places: files that end in one of SUFFIXES, and folders of `emonet-fast bulk` or of parquet files.
        anonymous: also take files that do not say which checkpoint their scores are of, where none does.

    Attributes:
        files: every file that is read.
        names: D slugs, in the order of `Scores.names`.
        facts: the metadata of the first file.
        metadata: what a baseline keeps of it.
        neutral_mean: [D] float64, what the files subtract from raw scores; None where they have no such scores.
        left_out: rows without scores by status, once `blocks` was read to its end.

    Raises:
        DataError: when a file is named twice, cannot be read, has no scores, names no checkpoint, or is of another
            checkpoint, precision, heads or neutral means than the first one.
    """

    def __init__(self, places: Sequence[Path], *, anonymous: bool = False) -> None:
        self.files = tuple(file for place in places for file in files_of_scores(place))
        _check_once(self.files)
        self.left_out: Counter[str] = Counter()
        self._columns: dict[tuple[str, ...], Path] = {}  # each set of columns with its first file
        first: _Head | None = None
        for path in self.files:
            head = _head(path)
            self._columns.setdefault(head.columns, path)
            first = first or head
            _check_same(path, head, self.files[0], first, anonymous)
            if first.means is None and head.means is not None:
                first = head
        assert first is not None  # noqa: S101 - there is a file, else files_of_scores has raised
        self.names, self.facts, self.neutral_mean = first.names, first.facts, first.means
        self.metadata = known_facts(first.facts)

    def blocks(self) -> Iterator[Float32Array]:
        """[n, D] float32 raw scores of the rows that have some, file by file. Raises DataError for a damaged file."""
        waiting: list[Float32Array] = []  # our parquet files have row groups of 4096
        for _, values, _ in self.rows():
            waiting.append(values)
            if sum(map(len, waiting)) >= BLOCK_ROWS:
                yield np.concatenate(waiting)
                waiting = []
        if waiting:
            yield np.concatenate(waiting)

    def rows(self, columns: Sequence[str] = ()) -> Iterator[tuple[Any, Float32Array, dict[str, "pyarrow.Array"]]]:
        """([n] statuses, [m, D] float32 raw scores of the m rows that are ok, n values of each column), block by block.

        A column that a file does not have is null. Raises DataError for a damaged file.
        """
        left_out: Counter[str] = Counter()
        for path in self.files:
            for status, raw, more in read_blocks(path, self.names, RAW, more=columns):
                ok = status == Status.OK
                left_out.update(status[~ok].tolist())
                values = raw[ok].astype(np.float32)
                if not np.isfinite(values).all():
                    raise DataError(
                        f"{path} has NaN, infinite or missing raw scores in rows that say they are ok; expected finite "
                        "numbers, or another status than ok"
                    )
                yield status, values, more
        self.left_out = left_out

    def check_columns(self, columns: Iterable[str]) -> None:
        """Raise DataError where a file has none of a name."""
        for name in columns:
            for there, path in self._columns.items():
                if name not in there or name.startswith((RAW, SCORE)):
                    others = [one for one in there if one.partition("_")[2] not in self.names]
                    raise DataError(f"{path} has no column {name!r} of labels; it has {', '.join(others)}")

    def has(self, column: str) -> bool:
        """Whether any file has a column of this name."""
        return any(column in there for there in self._columns)


def files_of_scores(place: Path) -> list[Path]:
    """The files of scores that a path names: of a folder its parquet files, of bulk's folder its finished shards.

    Raises DataError where there is none.
    """
    if is_folder(place):
        return finished_tables(place)
    if place.suffix.lower() not in SUFFIXES:
        raise DataError(f"{place} ends in {place.suffix!r}; expected scores in {', '.join(SUFFIXES)}, or a folder")
    if not is_file(place):
        raise DataError(f"{place} is not a file; expected scores, as `emonet-fast score --output` writes them")
    return [place]


def _check_once(files: Iterable[Path]) -> None:
    places: dict[object, Path] = {}
    for path in files:
        place = place_of(path)
        if place in places:
            raise DataError(f"{path} is the file {places[place]}: its rows would count twice; name each file once")
        places[place] = path


def _check_same(path: Path, head: _Head, first: Path, expected: _Head, anonymous: bool) -> None:
    advice = "One baseline or summary is of one checkpoint and precision: give the others one of their own"
    for name in ("checkpoint_hash", "precision"):
        came, wanted = head.facts.get(name, ""), expected.facts.get(name, "")
        if not came and name == "checkpoint_hash" and not anonymous:
            raise DataError(
                f"{path} does not say which checkpoint its scores are of; expected the metadata that emonet-fast "
                f"writes into parquet, and beside texts as {path.name}.meta.json"
            )
        if came != wanted:
            raise DataError(f"{path} has {name} {came or 'unknown'}, {first} has {wanted or 'unknown'}. {advice}")
    if head.names != expected.names:
        other = sorted(set(head.names) ^ set(expected.names))
        raise DataError(f"{path} has other heads than {first} ({', '.join(other[:5])}). {advice}")
    if head.means is not None and expected.means is not None:
        far = np.flatnonzero(np.abs(head.means - expected.means) > _SAME_MEAN)
        if far.size:
            raise DataError(
                f"{path} subtracts another neutral mean than {first} ({head.names[far[0]]}: {head.means[far[0]]:.6g}, "
                f"{expected.means[far[0]]:.6g}): their mean-subtracted scores cannot be compared. {advice}"
            )


def _head(path: Path) -> _Head:
    """What the file says of its scores; the neutral means are those of its first row with scores."""
    columns = fields_of(path)
    names = names_of(path, columns)
    if not names:
        raise DataError(f"{path} has no columns {RAW}<emotion>; expected scores, as emonet-fast writes them")
    means = None
    for (status, raw, _), (_, score, _) in zip(
        read_blocks(path, names, RAW, 256), read_blocks(path, names, SCORE, 256), strict=False
    ):
        row = np.flatnonzero((status == Status.OK) & np.isfinite(score).all(axis=1))
        if row.size:
            means = raw[row[0]].astype(np.float32).astype(np.float64) - score[row[0]]
        if (status == Status.OK).any():
            break
    return _Head(names, columns, facts_of(path), means)
