"""The table of a file of labels, as it is there: parquet, CSV, JSON lines or a workbook."""

from pathlib import Path
from typing import TYPE_CHECKING

from .. import taxonomy
from ..datasets.labels import head_slug
from ..errors import DataError, EmonetError
from ..sources.json_lines import json_lines
from ..sources.whole_table import read_whole
from ..sources.workbook import WORKBOOK, read_workbook
from .record import Reading

if TYPE_CHECKING:
    import pyarrow
    import pyarrow.csv

TABLES = (".parquet", ".csv", ".jsonl", WORKBOOK)
VALUES = ("value", "rating", "intensity")
KNOWN = {d.slug for d in taxonomy.DIMENSIONS}
_FIRST, _BLOCK = 1 << 20, 1 << 26  # bytes of a CSV at once: a row must fit, however long its texts are


def read_table(path: Path, how: Reading) -> "pyarrow.Table":
    """The table of a file in TABLES; of a CSV, cells are texts, or numbers in columns of labels.

    Raises DataError where it cannot be read.
    """
    import pyarrow as pa

    suffix = path.suffix.lower()
    try:
        if suffix == ".parquet":
            return read_whole(path, lambda name: True)
        if suffix == WORKBOOK:
            return read_workbook(path)
        if suffix == ".csv":
            try:
                return _read_csv(path, None if how.classes else {how.key, how.annotator, *how.groups})
            except pa.ArrowInvalid:  # labels are words, or hold some
                return _read_csv(path, None)
        rows = [line for _, line in json_lines(path)]
        return pa.table({name: [row.get(name) for row in rows] for name in dict.fromkeys(n for r in rows for n in r)})
    except EmonetError:
        raise
    except Exception as error:  # pyarrow's errors have no base of their own
        raise DataError(f"{path} cannot be read as a table of labels ({str(error)[:200]})") from None


def _read_csv(path: Path, texts: set[str | None] | None) -> "pyarrow.Table":
    """A CSV, with the columns of the taxonomy and of values as float64, unless they are in `texts`; None: all texts."""
    import pyarrow as pa
    import pyarrow.csv as pc

    lines = pc.ParseOptions(newlines_in_values=True)
    blocks = pc.ReadOptions(block_size=_BLOCK)
    names = dict.fromkeys(_csv_names(path, lines))
    numeric = set() if texts is None else {n for n in names if n in VALUES or _is_known(n)} - texts
    types = {name: pa.float64() if name in numeric else pa.string() for name in names}
    options = pc.ConvertOptions(column_types=types, null_values=[""], strings_can_be_null=True)
    return pc.read_csv(path, blocks, lines, options)


def _csv_names(path: Path, lines: "pyarrow.csv.ParseOptions", block: int = _FIRST) -> list[str]:
    """The columns of a CSV. The first block is parsed for them: a small one, unless its rows are longer."""
    import pyarrow as pa
    import pyarrow.csv as pc

    try:
        with pc.open_csv(path, pc.ReadOptions(block_size=block), lines) as stream:
            return list(stream.schema.names)
    except pa.ArrowInvalid:
        if block == _BLOCK:
            raise
        return _csv_names(path, lines, _BLOCK)


def _is_known(column: str) -> bool:
    """Whether a column has the name of a head."""
    return head_slug(column.removeprefix("raw_")) in KNOWN
