r"""CSV (RFC 4180, but lines end with "\n"): one header, one record a row, an empty field where there is no value.

Keys are written as they are, quoted where CSV needs it and nothing more: a key that begins with = + - or @ is
the name of a file, and a changed name would no longer find that file.
"""

import csv
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow


def encode(table: "pyarrow.Table", begins: bool) -> bytes:
    """The rows of a table; numbers as the shortest text that reads back to the same number of the same type.

    Lists are one field, as JSON.
    """
    lines = _Lines()
    # CRLF goes to the writer, though not to the file: with "\n" it leaves a carriage return in a key unquoted.
    writer = csv.writer(lines, lineterminator="\r\n")
    if begins:
        writer.writerow(table.column_names)
    writer.writerows(zip(*map(_fields, table.columns), strict=True))
    return "".join(lines.parts).encode()


class _Lines:
    """Takes one whole record a call, as csv.writer gives them."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def write(self, line: str) -> None:
        self.parts.append(line.removesuffix("\r\n") + "\n")


def _fields(column: "pyarrow.ChunkedArray") -> Iterable[str]:
    import pyarrow.types as kinds

    if kinds.is_boolean(column.type):
        column = column.cast("string")  # true and false
    if kinds.is_string(column.type):
        texts: list[str] = column.to_pylist()
        return texts
    if kinds.is_fixed_size_list(column.type):
        return ("[" + ", ".join(map(str, cell.values.to_numpy())) + "]" if cell.is_valid else "" for cell in column)
    known = column.is_valid().to_numpy()
    return [str(v) if k else "" for v, k in zip(column.fill_null(0).to_numpy(), known, strict=True)]
