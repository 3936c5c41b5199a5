"""Rows of a table that people made (CSV, Excel), which may be cut short or damaged: no cell is lost or guessed."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .workbook import is_workbook, read_workbook


@contextmanager
def open_rows(path: Path) -> Iterator[tuple[list[str], Iterator[tuple[str, dict[str, str]]]]]:
    """The columns of a CSV or a workbook, and its rows as texts, each with its place in words.

    Raises as `open_csv` does, of a workbook as `read_workbook`.
    """
    if is_workbook(path):
        table = read_workbook(path)
        texts = ({name: _text(cell) for name, cell in row.items()} for row in table.to_pylist())
        yield table.column_names, ((f"{path}, row {n} of data", row) for n, row in enumerate(texts, 1))
        return
    with open_csv(path) as reader:
        rows = whole_rows(reader)
        yield list(reader.fieldnames or ()), ((f"{path}, line {reader.line_num}", row) for row in rows)


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


@contextmanager
def open_csv(path: Path) -> "Iterator[csv.DictReader[str]]":
    """A `csv_reader` of a file in UTF-8. Raises OSError, csv.Error, or ValueError, for another encoding too."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield csv_reader(file)
    except UnicodeDecodeError as error:
        raise ValueError(f"it is not UTF-8 ({error.reason}); save it as UTF-8, in Excel as CSV UTF-8") from None


def csv_reader(file: TextIO) -> "csv.DictReader[str]":
    """A reader that stops at a quote without an end. Raises ValueError for a column that is named twice."""
    reader = csv.DictReader(file, strict=True)
    names = list(reader.fieldnames or ())
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"it has the column {twice[0]!r} twice")
    return reader


def whole_rows(reader: "csv.DictReader[str]") -> Iterator[dict[str, str]]:
    """Its rows. Raises ValueError for one with fewer fields than the header, or more that are not empty."""
    for row in reader:
        more = row.pop(None, ())  # DictReader's key for fields beyond the header
        if None in row.values() or any(more):
            raise ValueError(f"line {reader.line_num} has {'more' if any(more) else 'fewer'} fields than the header")
        yield row
