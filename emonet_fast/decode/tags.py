"""The directories of a TIFF, read as far as limits and counts need them. Pillow reads their meaning."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

# Bytes of a value, by the type's number.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_BITS, _SAMPLES, _TILE_WIDTH, _TILE_LENGTH, _STRIPS, _TILES = 258, 277, 322, 323, 273, 324
_MOST = 1_000_000  # entries that are looked at


@dataclass(frozen=True, slots=True)
class Directory:
    """One directory.

    Args:
        tags: count and the first value (or where the values are) of each tag.
        claimed: bytes of all tags' values together, each as far as the file goes.
        following: where the next directory is; 0 for none.
    """

    tags: dict[int, tuple[int, int]]
    claimed: int
    following: int

    @property
    def strips(self) -> int:
        """Strips or tiles."""
        return max(self.tags.get(tag, (0, 0))[0] for tag in (_STRIPS, _TILES))

    @property
    def tile_bytes(self) -> int:
        """Bytes of a decoded tile; 0 for strips, which end with the picture."""
        width, length, samples = (self.tags.get(tag, (0, 0))[1] for tag in (_TILE_WIDTH, _TILE_LENGTH, _SAMPLES))
        count, bits = self.tags.get(_BITS, (1, 8))
        return width * length * max(1, samples) * (max(1, bits // 8) if count == 1 else 2)


def directories(data: bytes) -> Iterator[Directory]:
    """The directories in a row; it ends early where one lies outside the file or comes again."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    head, count, entry, link = ("Q", "Q", "HHQQ", "Q") if big else ("L", "H", "HHLL", "L")
    try:
        (at,) = struct.unpack_from(order + head, data, 8 if big else 4)
        seen: set[int] = set()
        while at and at not in seen:
            seen.add(at)
            (entries,) = struct.unpack_from(order + count, data, at)
            at += struct.calcsize(count)
            size = struct.calcsize(order + entry)
            entries = min(entries, (len(data) - at) // size, _MOST)
            tags: dict[int, tuple[int, int]] = {}
            claimed = 0
            for tag, kind, values, value in struct.iter_unpack(order + entry, data[at : at + entries * size]):
                claimed += min(values * _SIZES.get(kind, 0), len(data))
                if order == ">" and values * _SIZES.get(kind, 0) < (8 if big else 4):  # it stands on the left
                    value >>= 8 * ((8 if big else 4) - _SIZES.get(kind, 1))
                tags.setdefault(tag, (values, value))
            (at,) = struct.unpack_from(order + link, data, at + entries * size)
            yield Directory(tags, claimed, at)
    except (struct.error, OverflowError):
        return


def first_directory(data: bytes) -> Directory | None:
    """The first directory; None where there is none."""
    return next(directories(data), None)
