"""Thrift's compact protocol, as far as parquet's headers and footers need it: numbers, structs and lists.

https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from collections.abc import Iterator
from typing import Any, TypeAlias

# The fields of a struct by their numbers. Texts are passed over.
Struct: TypeAlias = dict[int, Any]
LIST = 9
_DEPTH = 8


class Compact:
    """Reads values of bytes, from a place on that goes forward.

    Args:
        data: the bytes. Where they end within a value, IndexError is raised.

    Attributes:
        at: the place.

    Raises:
        ValueError: by every method, where the bytes are no such value.
    """

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def struct(self, depth: int = 0) -> Struct:
        """A whole struct."""
        if depth > _DEPTH:
            raise ValueError("structs within structs without end")
        return {number: self.value(kind, depth) for number, kind in self.fields()}

    def fields(self) -> Iterator[tuple[int, int]]:
        """Number and kind of each field of a struct; the caller reads its value before the next one."""
        number = 0
        while head := self._byte():
            number = number + (head >> 4) if head >> 4 else self._number()
            yield number, head & 15

    def items(self) -> Iterator[int]:
        """The kind of each item of a list; the caller reads its value before the next one."""
        head = self._byte()
        for _ in range(head >> 4 if head >> 4 < 15 else self._varint()):
            yield _within(head & 15)

    def value(self, kind: int, depth: int) -> Any:
        """A value of a kind; None for one that is passed over."""
        match kind:
            case 1 | 2:
                return kind == 1
            case 3:
                return self._byte()
            case 4 | 5 | 6:
                return self._number()
            case 7:
                self._skip(8)
            case 8:
                self._skip(self._varint())
            case 9 | 10:
                return [self.value(item, depth + 1) for item in self.items()] if depth <= _DEPTH else self._refuse()
            case 11:
                kinds = self._byte() if (pairs := self._varint()) else 0
                for _ in range(pairs):
                    self.value(_within(kinds >> 4), depth + 1)
                    self.value(_within(kinds & 15), depth + 1)
            case 12:
                return self.struct(depth + 1)
            case _:
                self._refuse()
        return None

    def _refuse(self) -> None:
        raise ValueError("a value of no known kind")

    def _skip(self, length: int) -> None:
        self.at += length
        if self.at > len(self.data):
            raise IndexError

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
        raise ValueError("a number of more than 64 bits")

    def _number(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)


def _within(kind: int) -> int:
    """The kind of a value in a list or map: there each takes a byte at least, so that a forged count soon ends."""
    return 3 if kind in (1, 2) else kind
