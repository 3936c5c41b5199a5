"""How large the pages of a parquet column are, by the headers in front of them: known before anything is unpacked.

The footer's sizes are only claims; a reader makes room for what a page's own header says. Format: parquet.thrift and
Thrift's compact protocol (https://github.com/apache/parquet-format).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

from ..records import Status

if TYPE_CHECKING:
    import pyarrow.parquet

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
_Struct: TypeAlias = dict[int, Any]


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
        reason: why they are not read; "" where all can be.
    """

    rows: int
    batch: int
    status: Status
    reason: str


def readable_rows(
    file: BinaryIO, group: "pyarrow.parquet.RowGroupMetaData", columns: Mapping[int, bool], max_bytes: int, most: int
) -> Readable:
    """What may be read of these columns of a row group, at most `most` rows at once.

    columns: whether a row has one value of the column, by the column's number; else a page's rows are not known.
    """
    rows, largest, status, reason = group.num_rows, 1, Status.OK, ""
    for column, flat in columns.items():
        row = 0
        try:
            for page in read_pages(file, group.column(column)):
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


def read_pages(file: BinaryIO, chunk: "pyarrow.parquet.ColumnChunkMetaData") -> Iterator[Page]:
    """The pages of a column chunk in their order. Raises ValueError for a damaged header."""
    at = chunk.data_page_offset
    if chunk.has_dictionary_page and chunk.dictionary_page_offset is not None:
        at = min(at, chunk.dictionary_page_offset)
    end, values = at + chunk.total_compressed_size, 0
    while values < chunk.num_values and at < end:
        header, length = _header(file, at)
        kind, size, packed = (_count(header, field) for field in (1, 2, 3))
        at += length + packed
        if kind == _INDEX:
            continue
        inner = header.get(_VALUES.get(kind, 0))
        number = _count(inner if isinstance(inner, dict) else {}, 1)
        yield Page(kind == _DICTIONARY, number, size, packed)
        values += 0 if kind == _DICTIONARY else number


def _count(fields: _Struct, field: int) -> int:
    """A number of a header that must be there."""
    number = fields.get(field)
    if not isinstance(number, int) or number < 0:
        raise ValueError("a damaged page header")
    return number


def _header(file: BinaryIO, at: int) -> tuple[_Struct, int]:
    """The header at a place of the file, and its length. It may be long: some writers put values into it."""
    window = _WINDOW
    while True:
        file.seek(at)
        data = file.read(window)
        reader = _Compact(data)
        try:
            return reader.struct(), reader.at
        except IndexError:
            if len(data) < window or window >= _LONGEST:
                raise ValueError("a page header without an end") from None
            window *= 16


class _Compact:
    """Reads a struct of Thrift's compact protocol: numbers and structs by the number of their field."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def struct(self, depth: int = 0) -> _Struct:
        if depth > 8:
            raise ValueError("a damaged page header")
        fields: _Struct = {}
        number = 0
        while kind := self._byte():
            step = kind >> 4
            number = number + step if step else self._number()
            fields[number] = self._value(kind & 15, depth)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        match kind:
            case 1 | 2:
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._number()
            case 7:
                self.at += 8
            case 8:
                length = self._varint()
                self.at += length
            case 9 | 10:
                head = self._byte()
                for _ in range(head >> 4 if head >> 4 < 15 else self._varint()):
                    self._value(3 if head & 15 in (1, 2) else head & 15, depth + 1)
            case 12:
                return self.struct(depth + 1)
            case _:  # a map: no page header has one
                raise ValueError("a damaged page header")
        return None

    def _byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def _varint(self) -> int:
        value = shift = 0
        while shift < 70:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
        raise ValueError("a damaged page header")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)
