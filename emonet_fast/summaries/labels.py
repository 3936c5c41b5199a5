"""Whose a row is: its group, its unit, and its track, by columns of the scores, of a CSV, and of its key."""

import csv
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..errors import DataError, OptionError
from ..population.stored import StoredScores
from ..sources.csv_rows import open_rows
from ..sources.keys import AmbiguousKeyError, Names, picture_of
from .functionals import Ids

if TYPE_CHECKING:
    import pyarrow

FOLDER, PARTICIPANT = "folder", "participant"
# What --by and --unit take besides names of columns.
WORDS = {"video": ("source",), "track": ("source", "track")}
# Groups at most: each one has some 45 rows in the table, and takes 25 kB of memory.
MOST = 100_000

_Label: TypeAlias = Callable[[Any], Hashable]


def read_participants(path: Path) -> dict[str, dict[str, str]]:
    """The rows of a CSV or a workbook by their keys.

    Raises DataError when it has no column `key`, no other one, or a key twice.
    """
    rows: dict[str, dict[str, str]] = {}
    try:
        with open_rows(path) as (names, found):
            if "key" not in names or len(names) < 2:
                raise ValueError(f"it has the columns {', '.join(names) or 'none'}")
            for _, row in found:
                if row["key"] in rows:
                    raise ValueError(f"it has the key {row['key']!r} twice")
                rows[row["key"]] = row
        if not rows:
            raise ValueError("it has no rows")
    except (OSError, ValueError, csv.Error) as error:
        expected = "expected a CSV or .xlsx with a column key and others, such as participant, condition"
        raise DataError(f"{path} cannot be used as participants ({error}); {expected}") from None
    return rows


@dataclass
class _Column:
    """A label of each row, as a number from 0; -1 for a row that has none in the CSV."""

    reads: str
    label: _Label
    numbers: dict[Hashable, int] = field(default_factory=dict)

    def __call__(self, columns: Mapping[str, "pyarrow.Array"]) -> Ids:
        import pyarrow as pa

        column = columns[self.reads]
        try:
            coded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
        except pa.ArrowNotImplementedError:
            raise DataError(f"column {self.reads!r} holds {column.type}; expected texts or numbers") from None
        labels = [self.label(value) for value in [*coded.dictionary.to_pylist(), None]]
        places = [-1 if one is _NOBODY else self.numbers.setdefault(one, len(self.numbers)) for one in labels]
        chosen: Ids = np.array(places, np.intp)[coded.indices.fill_null(len(labels) - 1).to_numpy()]
        return chosen


_NOBODY = object()


class Labels:
    """Groups, units and cells of rows.

    Args:
        stored: the scores.
        by: columns of the scores or the CSV, "folder", or a word of WORDS; None: tracks where there are, else all.
        unit: as by: what intervals are over; None: participants, else tracks, else rows.
        participants: a CSV of key and more columns; None without. Its keys are joined with those of the rows (of
            videos: with the source) by sources/keys.py.

    Attributes:
        by, unit: the names of the columns that groups and units are of; no unit: each row is one.
        timed: whether rows have times.
        reads: the columns of the scores to read.
        groups: the numbers of each group's labels, in the order of `by`.
        units: as groups, each with its unit's labels.
        cells: as units, each with its track.

    Raises:
        DataError: when a file lacks a column, or the CSV cannot be used.
        OptionError: when a name stands for two columns, or none of the CSV is used.
    """

    def __init__(
        self,
        stored: StoredScores,
        by: str | Sequence[str] | None,
        unit: str | Sequence[str] | None,
        participants: Path | None,
    ) -> None:
        people = {} if participants is None else read_participants(participants)
        self._people, self._names = people, Names(people)
        self.timed = stored.has("seconds")
        series = [name for name in ("source", "track") if self.timed and stored.has(name)]
        self._key = "source" if "source" in series else "key"
        known = [name for name in next(iter(people.values()), {}) if name != "key"]
        self.by = _named(series if by is None else by)
        levels = [[PARTICIPANT] if PARTICIPANT in known else [], series]
        self.unit = _named(unit) if unit is not None else next((u for u in levels if not set(u) <= set(self.by)), [])
        # Frames of one track are no units of their own: without another unit such a group has one.
        self.rows_are_units = not self.unit and not self.timed
        names = dict.fromkeys([*self.by, *self.unit, *series])
        clash = [name for name in names if name in known and (name == FOLDER or stored.has(name))]
        if clash:
            raise OptionError(f"column {clash[0]!r} is in the scores and in {participants}; rename one of them")
        self._columns = {name: self._column(name, known, stored) for name in names}
        self.reads = tuple(dict.fromkeys([*(c.reads for c in self._columns.values()), *["seconds"] * self.timed]))
        if known and not set(names) & set(known):
            raise OptionError(f"no column of {participants} is used; give --by or --unit one of {', '.join(known)}")
        stored.check_columns([*(c.reads for c in self._columns.values() if c.reads not in series)])
        self.groups: dict[tuple[int, ...], int] = {}
        self.units: dict[tuple[int, ...], int] = {}
        self.cells: dict[tuple[int, ...], int] = {}
        self._series = series

    def __call__(self, columns: Mapping[str, "pyarrow.Array"], rows: int) -> tuple[Ids, Ids]:
        """[n] groups and cells of the rows; -1 for those that the CSV does not name."""
        names = [*self.by, *self.unit, *self._series]
        codes = {name: self._columns[name](columns) for name in dict.fromkeys(names)}
        table = np.stack([*(codes[name] for name in names), np.zeros(rows, np.intp)], axis=1)
        distinct, place = np.unique(table, axis=0, return_inverse=True)
        groups, cells = np.full(len(distinct), -1, np.intp), np.full(len(distinct), -1, np.intp)
        for i, code in enumerate(distinct.tolist()):
            if -1 not in code:
                group, unit = tuple(code[: len(self.by)]), tuple(code[: len(self.by) + len(self.unit)])
                groups[i] = self.groups.setdefault(group, len(self.groups))
                self.units.setdefault(unit, len(self.units))
                cells[i] = self.cells.setdefault(tuple(code), len(self.cells))
        if len(self.groups) > MOST:
            raise OptionError(
                f"--by {' '.join(self.by)} makes more than {MOST:,} groups; choose what fewer rows differ in"
            )
        place = place.reshape(-1)
        return groups[place], cells[place]

    def values(self, name: str) -> list[Hashable]:
        """The value of each group in a column of `by`."""
        known, at = list(self._columns[name].numbers), self.by.index(name)
        return [known[group[at]] for group in self.groups]

    def _column(self, name: str, known: Sequence[str], stored: StoredScores) -> _Column:
        if name in known:
            return _Column(self._key, lambda key: self._person(key, name))
        if name == FOLDER and not stored.has(FOLDER):
            return _Column(self._key, _folder)
        return _Column(name, lambda value: None if value == "" or value != value else value)

    def _person(self, key: str | None, name: str) -> Hashable:
        try:
            found = None if key is None else self._names.find(key)
        except AmbiguousKeyError as error:
            raise DataError(f"{error} among the participants; write more of their paths") from None
        return _NOBODY if found is None else self._people[found][name] or None

    def owners(self) -> tuple[Ids, Ids]:
        """The unit of each cell, and the group of each unit."""
        units = [self.units[cell[: len(self.by) + len(self.unit)]] for cell in self.cells]
        groups = [self.groups[unit[: len(self.by)]] for unit in self.units]
        return np.array(units, np.intp), np.array(groups, np.intp)


def _named(names: str | Sequence[str]) -> list[str]:
    words = [names] if isinstance(names, str) else names
    return list(dict.fromkeys(name for word in words for name in WORDS.get(word, (word,))))


def _folder(key: str | None) -> str | None:
    """The folder, tar or table that a key lies in; "." for a bare name."""
    if key is None:
        return None
    picture = picture_of(key).replace("\\", "/")
    return picture[: max(picture.rfind("/"), picture.rfind("::"), 0)] or "."
