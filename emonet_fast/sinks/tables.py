"""Tables that grow with a run, by their suffixes: CSV, JSON lines, Parquet, Excel; and what a killed run has left."""

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EmonetError, OptionError
from ..files import PendingFile
from ..optional import require
from .encoders import TextEncoder, companions, encode_csv, encode_excel_csv, encode_jsonl
from .growing import GrowingTable, partial_of, recover_beside
from .npy import recover_npy
from .parquet import ParquetEncoder
from .streamed import MakeEncoder, StreamedTable, TextRows, XlsxTable, of_stream
from .xlsx import XlsxEncoder

if TYPE_CHECKING:
    import pyarrow

# Bytes that are copied at once, and those that an Arrow stream begins with.
_PIECE, _STREAM = 1 << 20, b"\xff\xff\xff\xff"
SUFFIXES = (".parquet", ".csv", ".jsonl", ".xlsx")


class TextTable(GrowingTable):
    """CSV or JSON lines."""

    def __init__(
        self, path: Path, metadata: Mapping[str, str], arrow: Callable[[Any], "pyarrow.Table"], encode: TextEncoder
    ) -> None:
        super().__init__(path, metadata, arrow, text=True)
        self._encode = encode

    def _append(self, table: "pyarrow.Table", *, begins: bool) -> None:
        self.file.write(self._encode(table, begins))


def open_rows(
    path: Path,
    metadata: Mapping[str, str],
    arrow: Callable[[Any], "pyarrow.Table"],
    dictionary: Sequence[str] | bool,
    *,
    excel: bool = False,
    encode: TextEncoder | None = None,
    annotated: bool = False,
) -> GrowingTable:
    """Open a table by its suffix, one of SUFFIXES.

    Args:
        path, metadata, arrow: as of GrowingTable.
        dictionary: as of ParquetEncoder.
        excel: whether .csv begins with the mark by which Excel knows UTF-8.
        encode: of another kind of text than the suffix says.
        annotated: whether columns come at the end, by `annotate`; every table is then a StreamedTable.

    Raises:
        OptionError: when `excel` is asked of another kind, or the file cannot be written there.
        MissingPackageError: for .xlsx without the extra `excel`.
    """
    suffix = path.suffix.lower()
    if excel and suffix not in (".csv", ".xlsx"):
        raise OptionError(f"excel is asked of {path.name!r}; expected a name ending in .csv or .xlsx")
    if suffix == ".parquet":
        return StreamedTable(path, metadata, arrow, functools.partial(ParquetEncoder, dictionary=dictionary))
    if suffix == ".xlsx":
        require("xlsxwriter", "writing .xlsx")
        return XlsxTable(path, metadata, arrow, XlsxEncoder)
    encode = encode or (encode_jsonl if suffix == ".jsonl" else encode_excel_csv if excel else encode_csv)
    if annotated:
        return StreamedTable(path, metadata, arrow, functools.partial(TextRows, encode), text=True)
    return TextTable(path, metadata, arrow, encode)


def recover(path: Path, encoder: MakeEncoder | None = None) -> int | None:
    """Make the file of the `<path>.partial` that a run left. Returns the number of rows of a table.

    A table (one of SUFFIXES) and .npy get the whole rows, and their `<name>.meta.json`. Of other kinds the partial file
    is the file itself: it is renamed, uncounted. Raises EmonetError when there is no partial file, or nothing whole is
    in it.

    encoder: of a kind that is not in this file, whose partial file is an Arrow stream.
    """
    partial = partial_of(path)
    if not partial.is_file():
        raise EmonetError(f"there is no {partial}; expected what a killed run left")
    target = Path(os.path.realpath(path))
    recover_kind = _RECOVERED.get(path.suffix.lower()) if encoder is None else functools.partial(of_stream, encoder)
    if recover_kind is None:
        partial.replace(target)
        return None
    rows = recover_kind(partial, target)
    partial.unlink(missing_ok=True)
    if len(companions(target)) > 1:
        recover_beside(partial, target, rows)
    return rows


def _to_text(partial: Path, target: Path) -> int:
    """Copy the whole records. In CSV a record ends where all quotes are closed, as a key may hold line breaks."""
    is_csv = target.suffix.lower() == ".csv"
    with partial.open("rb") as file:
        if file.read(len(_STREAM)) == _STREAM:  # of a run against its own rows
            return of_stream(functools.partial(TextRows, encode_csv if is_csv else encode_jsonl), partial, target)
    place = end = records = quotes = 0
    with partial.open("rb") as file:
        for line in file:
            place += len(line)
            quotes += line.count(b'"') if is_csv else 0
            if line.endswith(b"\n") and quotes % 2 == 0:
                end, records = place, records + 1
        file.seek(0)
        with PendingFile(target) as pending:
            while end:  # in pieces: the table of a long run need not fit into memory
                end -= pending.file.write(file.read(min(end, _PIECE)))
            pending.finish()
            pending.publish()
    return max(0, records - is_csv)  # without the header


_RECOVERED: dict[str, Callable[[Path, Path], int]] = {
    ".parquet": functools.partial(of_stream, lambda file: ParquetEncoder(file, dictionary=True)),
    ".xlsx": functools.partial(of_stream, XlsxEncoder),
    ".csv": _to_text,
    ".jsonl": _to_text,
    ".npy": recover_npy,
}
