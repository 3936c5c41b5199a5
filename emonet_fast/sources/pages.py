"""How large the pages of a parquet column are, by the headers in front of them: known before anything is unpacked.

The footer's sizes are only claims; a reader makes room for what a page's own header says. The footer is read here, too:
asked for a column of a damaged one, pyarrow 26 ends the process. Format: https://github.com/apache/parquet-format
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ..records import Status
from .thrift import LIST, Compact, Struct

_WINDOW, _LONGEST = 1 << 14, 1 << 22  # bytes of a header that are looked at first, and at most
_DICTIONARY, _INDEX = 2, 1
_VALUES = {
    0: 5,
    _DICTIONARY: 7,
    3: 8,
}  # the field of a header, by the page's type, whose field 1 is the number of values
# Pages up to so many bytes are always unpacked. Larger ones only where the file itself has a share of them, as encoded
# pictures hardly shrink; 6.7 kB claimed 200 rows of 200 MB.
_FREE, _SHRINKS = 64 << 20, 4


@dataclass(frozen=True, slots=True)
class Chunk:
    """A column of a row group, as the footer tells it.

    Args:
        values: how many it has.
        start: place of its first page in the file.
        stop: place after its last one.
    """

    values: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Page:
    """What a page's header says.

    Args:
        dictionary: whether its values are a dictionary's, which pages of data refer to.
        values: how many it has.
        size: bytes once it is unpacked.
        packed: bytes in the file.
    """

    dictionary: bool
    values: int
    size: int
    packed: int


@dataclass(frozen=True, slots=True)
class Readable:
    """How much of a row group may be unpacked.

    Args:
        rows: the first ones, which can be read.
        batch: rows to read at once at most, by the largest page.
        status: of the rows after them.
        reason: why they are not read, or where all can be, what it means that one does not come.
    """

    rows: int
    batch: int
    status: Status
    reason: str


def readable_rows(
    file: BinaryIO, rows: int, columns: Iterable[tuple[Chunk, bool]], max_bytes: int, most: int
) -> Readable:
    """What may be read of these columns of a row group, at most `most` rows at once.

    columns: each with whether a row has one value of it; else the rows of a page are not known.
    """
    largest = 1
    status, reason = Status.UNREADABLE, "it has fewer rows than the footer says"
    for chunk, flat in columns:
        row = 0
        try:
            for page in read_pages(file, chunk):
                if page.size > _FREE and page.size > min(page.packed * _SHRINKS, page.values * max_bytes):
                    fault = Status.TOO_LARGE, f"a page that unpacks to {page.size:,} bytes, from {page.packed:,}"
                    break
                largest = max(largest, page.size)
                row += page.values if flat and not page.dictionary else 0
            else:
                continue
        except (OSError, ValueError) as error:
            fault = Status.UNREADABLE, str(error)
        if row < rows:
            rows, (status, reason) = row, fault
    return Readable(rows, max(1, min(most, _FREE // largest)), status, reason)


def read_chunks(file: BinaryIO, columns: Sequence[int]) -> list[list[Chunk]]:
    """The chunks of columns, by their numbers, of each row group. Raises ValueError for a damaged footer."""
    file.seek(-8, 2)
    length = int.from_bytes(file.read(4), "little")
    file.seek(-8 - length, 2)
    reader, groups = Compact(file.read(length)), []
    try:
        for number, kind in reader.fields():
            if (number, kind) == (4, LIST):
                groups = [_chunks(reader.value(item, 0), columns) for item in reader.items()]
            else:
                reader.value(kind, 0)
    except (LookupError, TypeError, AttributeError):
        raise ValueError("a damaged footer") from None
    return groups


def _chunks(group: Struct, columns: Sequence[int]) -> list[Chunk]:
    chunks = []
    for column in columns:
        facts = group[1][column].get(3, {})
        values, length, start = (_count(facts, field) for field in (5, 7, 9))
        start = min(start, facts.get(11) or start)  # of the dictionary
        chunks.append(Chunk(values, start, start + length))
    return chunks


def read_pages(file: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """The pages of a column chunk in their order. Raises ValueError for a damaged header."""
    at, values = chunk.start, 0
    while values < chunk.values and at < chunk.stop:
        header, length = _header(file, at)
        kind, size, packed = (_count(header, field) for field in (1, 2, 3))
        at += length + packed
        if kind == _INDEX:
            continue
        inner = header.get(_VALUES.get(kind, 0))
        number = _count(inner if isinstance(inner, dict) else {}, 1)
        yield Page(kind == _DICTIONARY, number, size, packed)
        values += 0 if kind == _DICTIONARY else number


def _count(fields: Struct, field: int) -> int:
    """A number that must be there."""
    number = fields.get(field)
    if not isinstance(number, int) or number < 0:
        raise ValueError("a damaged page header or footer")
    return number


def _header(file: BinaryIO, at: int) -> tuple[Struct, int]:
    """The header at a place of the file, and its length. It may be long: some writers put values into it."""
    window = _WINDOW
    while True:
        file.seek(at)
        data = file.read(window)
        reader = Compact(data)
        try:
            return reader.struct(), reader.at
        except IndexError:
            if len(data) < window or window >= _LONGEST:
                raise ValueError("a page header without an end") from None
            window *= 16
