"""Lists of inputs: `@F.txt` has one in each line, `@F.csv:COLUMN` in a column.

Paths are relative to the working folder, not to the list's, as on the command line.
"""

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from ..errors import InputError
from .csv_rows import csv_reader, whole_rows
from .folder import reason_of, stat_file

_LONGEST = 1 << 16  # bytes of a line; no path has so many


def list_of(text: str) -> tuple[Path, str] | None:
    """The list that an input names, and its column, "" for lines; None where it names none, as a file called @a.jpg."""
    if not text.startswith("@") or os.path.lexists(text):
        return None
    name, mark, column = text[1:].rpartition(":")
    whole = Path(text[1:])
    return (whole, "") if not mark or os.path.lexists(whole) else (Path(name), column)


def expand(text: str) -> Iterator[str]:
    """The inputs that `text` stands for: those of a list, else itself.

    An entry that begins with @ is a path. Raises InputError where the list cannot be read or is empty.
    """
    found = list_of(text)
    if found is None:
        yield text
        return
    path, column = found
    empty = True
    try:
        stat_file(path)  # a pipe would be waited for
        for entry in _column(path, column) if column or path.suffix.lower() == ".csv" else _lines(path):
            empty = False
            yield entry
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"the list {str(path)!r} cannot be read: {reason_of(error)}") from None
    if empty:
        raise InputError(f"the list {str(path)!r} names no input; expected one in each line")


def _lines(path: Path) -> Iterator[str]:
    with path.open("rb") as file:
        start = True
        while line := file.readline(_LONGEST + 1):
            if len(line) > _LONGEST:
                raise ValueError(f"a line has more than {_LONGEST:,} bytes: it is no list of paths")
            name = line.removeprefix(b"\xef\xbb\xbf" if start else b"").rstrip(b"\r\n")
            start = False
            if b"\0" in name:
                raise ValueError("a line has a zero byte: it is no list of paths, or not in UTF-8")
            if name.strip():
                yield os.fsdecode(name)


def _column(path: Path, column: str) -> Iterator[str]:
    with path.open(newline="", encoding="utf-8-sig", errors="surrogateescape") as file:
        reader = csv_reader(file)
        names = list(reader.fieldnames or ())
        if column not in names:
            raise ValueError(
                f"name one of its columns, as @{path}:{names[0] if names else 'path'}; it has {', '.join(names)}"
            )
        yield from (row[column] for row in whole_rows(reader) if row[column])
