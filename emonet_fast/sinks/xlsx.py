"""Excel workbooks by XlsxWriter (extra `excel`): a sheet of rows and a sheet of metadata, in bounded memory.

Texts are always texts: none becomes a formula, a link or a number. Numbers have Excel's 16 digits.
"""

import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import EmonetError, OptionError
from ..optional import need

if TYPE_CHECKING:
    import pyarrow

# Excel's own limits: https://support.microsoft.com/office/1672b34d-7043-467e-8e27-269d656771c3
MOST_ROWS, MOST_COLUMNS, LONGEST_TEXT = 1_048_576, 16_384, 32_767
_ADVICE = "write .parquet or .csv instead"
# Whole numbers beyond are texts: Excel would show other ones.
_MOST_EXACT = 10**15
_TEXTS_STAY = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}


def check_fits(path: Path, table: "pyarrow.Table", before: int) -> None:
    """Raise OptionError where rows do not fit into a sheet. before: the number of rows above them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.num_columns > MOST_COLUMNS:
        raise OptionError(f"{path}: {table.num_columns:,} columns came; Excel takes {MOST_COLUMNS:,}: {_ADVICE}")
    if before + table.num_rows >= MOST_ROWS:
        raise OptionError(f"{path}: Excel takes {MOST_ROWS:,} rows with the header, and more came: {_ADVICE}")
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_fixed_size_list(column.type):
            raise OptionError(f"{path}: Excel has no place for lists as in column {name!r}: {_ADVICE}")
        longest = pc.max(pc.utf8_length(column)).as_py() if pa.types.is_string(column.type) else None
        if longest is not None and longest > LONGEST_TEXT:
            raise OptionError(
                f"{path}: a text in column {name!r} has {longest:,} characters; Excel takes {LONGEST_TEXT:,}: {_ADVICE}"
            )


class XlsxEncoder:
    """Writes Arrow tables of one schema to a binary file that it never closes, as ParquetEncoder does.

    Args:
        file: where the bytes go.

    Raises:
        MissingPackageError: without the extra `excel`.
    """

    def __init__(self, file: BinaryIO) -> None:
        xlsxwriter = need("xlsxwriter", "writing .xlsx")
        # XlsxWriter keeps the rows in a file of its own until the end.
        self._folder = tempfile.TemporaryDirectory(prefix="emonet-fast-", ignore_cleanup_errors=True)
        self._book = xlsxwriter.Workbook(file, _TEXTS_STAY | {"constant_memory": True, "tmpdir": self._folder.name})
        self._rows: Any = None
        self._metadata: dict[str, str] = {}
        self._row = 0

    def write(self, table: "pyarrow.Table") -> None:
        """Append the rows of a table; the first table, which may be empty, fixes the columns."""
        if self._rows is None:
            self._rows = self._sheet("rows", table.column_names)
            self._metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        for values in zip(*(column.to_pylist() for column in table.columns), strict=True):
            self._row += 1
            for place, value in enumerate(values):
                _put(self._rows, self._row, place, value)

    def finish(self) -> None:
        """Hand everything to the file. Raises EmonetError where the workbook becomes too large, or the disk refuses."""
        sheet = self._sheet("metadata", ["name", "value"])
        for row, pair in enumerate(self._metadata.items(), 1):
            for place, text in enumerate(pair):
                sheet.write_string(row, place, text[:LONGEST_TEXT])
        try:
            self._book.close()
        except need("xlsxwriter.exceptions", "writing .xlsx").XlsxWriterException as error:
            raise EmonetError(f"the workbook cannot be written ({error}): {_ADVICE}") from None
        self.abandon()

    def abandon(self) -> None:
        """Let go of the rows kept aside."""
        self._folder.cleanup()

    def _sheet(self, name: str, header: Iterable[str]) -> Any:
        sheet = self._book.add_worksheet(name)
        # XlsxWriter takes a text from "<r>" to "</r>" for markup; here it is a file's name.
        sheet._xml_rich_inline_string = lambda text, attributes=(): sheet._xml_inline_string(text, False, attributes)
        sheet.freeze_panes(1, 1)
        for place, title in enumerate(header):
            sheet.write_string(0, place, title)
        return sheet


def _put(sheet: Any, row: int, place: int, value: Any) -> None:
    """A cell; None leaves it empty."""
    if isinstance(value, bool):
        sheet.write_boolean(row, place, value)
    elif isinstance(value, float):
        if math.isfinite(value):
            sheet.write_number(row, place, value)
    elif isinstance(value, int) and abs(value) < _MOST_EXACT:
        sheet.write_number(row, place, value)
    elif value is not None:
        sheet.write_string(row, place, str(value))
