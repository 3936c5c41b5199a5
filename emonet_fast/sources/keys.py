"""How names are joined with the keys of pictures: the one rule for boxes, predictions, labels and annotations.

A key finds the name that it equals. Else one of the two must be the tail of the other, in whole parts of a path:
`/data/anna/1.jpg` and `anna/1.jpg` are one picture, `cleo/1.jpg` and `anna/1.jpg` never. The longest tail counts. Names
that fit equally well are an error, as the wrong one would give a picture another one's faces or labels.

Parts are compared in Unicode's composed form (NFC). A member of a tar lies in it as in a folder, whatever the tar's
ending. A row of a table, `t.parquet::17`, is one part: a bare 17 is no name. The row of a face is its picture's, and
`a.jpg#2` is the file `a.jpg`, given again; but `x.tar::a.jpg#2` is another member of the tar than `x.tar::a.jpg`.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable
from functools import cached_property
from typing import TypeAlias

from .folder import IMAGE_SUFFIXES

_TAR = re.compile(r"(\.(?:tar|tar\.gz|tgz)(?:#\d+)?)::", re.IGNORECASE)
_BOX = re.compile(r"::box\d+$")
_REPEAT = re.compile(r"#\d+$")
# Names by their path from its end, such as ("1.jpg/anna/", "anna/1.jpg"), sorted.
_Sorted: TypeAlias = list[tuple[str, str]]


class AmbiguousKeyError(LookupError):
    """A key that fits several names equally well; the text names two of them."""


class Names:
    """Names that keys are joined with, by the rule of this file.

    Args:
        names: in any order; each counts once.
        endings: False also joins names that differ in an image's ending alone, where nothing else fits: published
            annotations leave it out.
    """

    def __init__(self, names: Iterable[str], *, endings: bool = True) -> None:
        self._names = dict.fromkeys(names)
        self._endings = endings

    def find(self, key: str) -> str | None:
        """The name of a key; None where there is none. Raises AmbiguousKeyError where several fit equally well."""
        if key in self._names:
            return key
        picture = picture_of(key)
        for text in dict.fromkeys((key, picture, unnumbered(picture))):
            path = _from_end(text)
            name = text if text in self._names else _by_tail(key, path, self._sorted)
            if name is None and not self._endings:
                name = _by_tail(key, _without_ending(path), self._bare)
            if name is not None:
                return name
        return None

    @cached_property
    def _sorted(self) -> _Sorted:  # made when a key first equals no name: for 262,000 names it takes seconds
        return sorted((_from_end(name), name) for name in self._names)

    @cached_property
    def _bare(self) -> _Sorted:
        return sorted((_without_ending(path), name) for path, name in self._sorted)


def picture_of(key: str) -> str:
    """The key of a row's picture: without `::box0`, which the row of a face has."""
    return _BOX.sub("", key)


def unnumbered(key: str) -> str:
    """The key without the number that the same file has when it is given again, as `a.jpg#2` or `x.tar#2::a.jpg`."""
    file, mark, inside = key.partition("::")
    return _REPEAT.sub("", file) + mark + inside


def numbered(key: str, number: int) -> str:
    """The key that `unnumbered` takes back: that of the same file, given for the second or a later time."""
    file, mark, inside = key.partition("::")
    return f"{file}#{number}{mark}{inside}"


def _by_tail(key: str, path: str, names: _Sorted) -> str | None:
    """The name of which `path` is the tail, or else the longest one that is a tail of `path`."""
    # A longer path from its end begins with the shorter one, so that all of which this is a tail are neighbours.
    fits = _between(names, path, path[:-1] + "0")  # "0" follows "/"
    if fits and fits[0][0] == path:
        fits = [one for one in fits if one[0] == path]
    while path and not fits:
        path = path[: path.rfind("/", 0, -1) + 1]
        fits = _between(names, path, path + "\0")
    if len(fits) > 1:
        raise AmbiguousKeyError(f"{key!r} fits both {fits[0][1]!r} and {fits[1][1]!r}")
    return fits[0][1] if fits and path else None


def _between(names: _Sorted, low: str, high: str) -> _Sorted:
    """The first two names whose path is at least `low` and below `high`."""
    first = bisect_left(names, (low,))
    return [name for name in names[first : first + 2] if name[0] < high]


def _from_end(name: str) -> str:
    """The parts of a name's path, the last one first, each followed by "/"."""
    text = _TAR.sub(r"\1/", unicodedata.normalize("NFC", name)).replace("\\", "/")
    parts: list[str] = []
    for part in text.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "".join(part + "/" for part in reversed(parts))


def _without_ending(path: str) -> str:
    """A path from its end, without the ending of an image."""
    last, mark, folders = path.partition("/")
    stem, dot, ending = last.rpartition(".")
    return (stem if stem and dot + ending.lower() in IMAGE_SUFFIXES else last) + mark + folders
