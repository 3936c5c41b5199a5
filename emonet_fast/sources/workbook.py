"""Excel workbooks as tables, by openpyxl (extra `excel`): the sheet `rows`, as ours have, else the first one.

Its first row names the columns. Formulas are what Excel computed last, and times are texts.
"""

import zipfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError
from ..optional import need
from .folder import stat_file

if TYPE_CHECKING:
    import pyarrow

WORKBOOK = ".xlsx"
_ROWS, _METADATA = "rows", "metadata"
_MOST_BYTES = 1 << 30  # that it may unpack to
_PURPOSE = "reading .xlsx"


def is_workbook(path: Path) -> bool:
    """Whether a file name ends in .xlsx, in upper or lower case."""
    return path.suffix.lower() == WORKBOOK


def read_workbook(path: Path) -> "pyarrow.Table":
    """All rows. A column of numbers alone is float64 (int64 of whole ones), of yes and no bool; others are texts.

    Raises DataError where it cannot be read, and MissingPackageError without openpyxl.
    """
    with _sheet(path) as (names, rows):
        return _table(names, list(rows)).replace_schema_metadata(workbook_facts(path))


def workbook_batches(path: Path, rows: int) -> Iterator["pyarrow.Table"]:
    """As `read_workbook`, so many rows at once: columns have the kinds of their own rows."""
    with _sheet(path) as (names, found):
        while block := list(islice(found, rows)):
            yield _table(names, block)


def workbook_columns(path: Path) -> tuple[str, ...]:
    """The names of the columns. Raises as `read_workbook` does."""
    with _sheet(path) as (names, _):
        return names


def workbook_facts(path: Path) -> dict[str, str]:
    """What our workbooks say of their rows in the sheet `metadata`; {} of others."""
    with _opened(path) as book:
        if _METADATA not in book.sheetnames or _ROWS not in book.sheetnames:
            return {}
        return {str(row[0]): str(row[1]) for row in islice(_lines(book[_METADATA]), 1, None) if len(row) > 1}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The workbook; errors inside, of a damaged file, become a DataError that names it."""
    openpyxl = need("openpyxl", _PURPOSE)
    try:
        stat_file(path)
        with zipfile.ZipFile(path) as packed:
            size = sum(part.file_size for part in packed.infolist())
        if size > _MOST_BYTES:
            raise ValueError(f"it unpacks to {size:,} bytes, of {_MOST_BYTES:,} at most; save it as CSV")
        with closing(openpyxl.load_workbook(path, read_only=True, data_only=True)) as book:
            yield book
    except (DataError, GeneratorExit):
        raise
    except Exception as error:  # openpyxl's errors have no base of their own
        raise DataError(f"{path} cannot be read as an Excel workbook ({str(error)[:200]})") from None


@contextmanager
def _sheet(path: Path) -> Iterator[tuple[tuple[str, ...], Iterator[tuple[Any, ...]]]]:
    """The names of the columns, and the rows that are not empty, each with a cell of every column."""
    with _opened(path) as book:
        lines = _lines(book[_ROWS] if _ROWS in book.sheetnames else book.worksheets[0])
        header = next(lines, ())
        names = tuple("" if name is None else str(_plain(name)) for name in header)
        while names and not names[-1]:
            names = names[:-1]
        if not names:
            raise DataError(f"{path} has no names of columns in the first row of its sheet")
        yield names, _rows(path, names, lines)


def _rows(path: Path, names: Sequence[str], lines: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    for number, line in enumerate(lines, 2):
        row = tuple(map(_plain, line))
        for place, cell in enumerate(row):
            if cell is not None and (place >= len(names) or not names[place]):
                raise DataError(f"{path}, row {number} has {cell!r:.60} in a column without a name")
        if any(cell is not None for cell in row):
            yield (*row, *[None] * (len(names) - len(row)))[: len(names)]


def _lines(sheet: Any) -> Iterator[tuple[Any, ...]]:
    sheet.reset_dimensions()  # what the file says of its size may be wrong
    yield from sheet.iter_rows(values_only=True)


def _plain(cell: Any) -> Any:
    """A number, yes or no, or a text with the control characters that Excel escapes."""
    if cell is None or isinstance(cell, bool | int | float):
        return cell
    if isinstance(cell, str):
        return need("openpyxl.utils.escape", _PURPOSE).unescape(cell) or None
    return cell.isoformat() if hasattr(cell, "isoformat") else str(cell)


def _table(names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> "pyarrow.Table":
    import pyarrow as pa

    columns = list(zip(*rows, strict=True)) or [()] * len(names)
    kept = [place for place, name in enumerate(names) if name]
    return pa.table([_column(columns[place]) for place in kept], names=[names[place] for place in kept])


def _column(cells: Sequence[Any]) -> "pyarrow.Array":
    import pyarrow as pa

    kinds = {type(cell) for cell in cells if cell is not None}
    if kinds <= {int} or kinds == {bool}:
        return pa.array(cells)
    if kinds <= {int, float}:
        return pa.array(cells, pa.float64())
    return pa.array([cell if cell is None else _text(cell) for cell in cells], pa.string())


def _text(cell: Any) -> str:
    return str(cell).lower() if isinstance(cell, bool) else str(cell)
