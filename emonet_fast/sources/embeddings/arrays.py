"""Embeddings in NumPy files, whose rows are named by the table of their run."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...files import beside
from ...records import Status
from ..csv_rows import open_csv, whole_rows
from ..folder import open_file, reason_of, stat_file
from ..json_lines import json_lines
from ..table import open_table
from .rows import EmbeddingBatch, EmbeddingFile, Row, checked_batch, number_key, status_of

_ROWS, _TABLE = "emonet_fast.rows", "emonet_fast.table"
_KINDS = {"float16": "f2", "float32": "f4", "float64": "f8"}
_MOST_FACTS = 1 << 22  # bytes of the file of metadata
_NAMES = 4096  # rows of the table at once


def open_array(path: str, columns: Sequence[str]) -> EmbeddingFile:
    """What a NumPy file and the file beside it say. Raises OSError, ValueError or DataError for another kind."""
    if columns:
        raise DataError(f"{path} is a NumPy file, which has no column {columns[0]!r}; take the table of embeddings")
    (rows, width), dtype, _ = _npy_header(path)
    facts = _facts_beside(Path(path))
    if facts.get(_ROWS, str(rows)) != str(rows):
        raise DataError(
            f"{path} has {rows} rows, and {beside(Path(path)).name} is of one with {facts[_ROWS]}: they do not belong "
            "together; remove the latter, or get the embeddings again"
        )
    table = Path(path).parent / Path(facts[_TABLE]).name if facts.get(_TABLE) else None
    return EmbeddingFile(path, rows, width, dtype, facts, table=table if table and table.is_file() else None)


def _npy_header(path: str) -> tuple[tuple[int, int], str, int]:
    """Shape, dtype, and where the numbers begin. Nothing of it is a pickle."""
    with open_file(path) as file:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}.get(version)
        if read is None:
            raise ValueError(f"version {version} of NumPy's format; expected 1.0 or 2.0")
        shape, fortran, dtype = read(file)
        place = file.tell()
    if dtype.kind != "f" or dtype.name not in _KINDS or len(shape) != 2 or 0 in shape[1:]:
        raise ValueError(f"an array of {dtype} {list(shape)}; expected float16, float32 or float64 [rows, width]")
    if fortran and shape[0] > 1:
        raise ValueError("its columns follow each other (Fortran order); save it with numpy.ascontiguousarray")
    size, needed = stat_file(path).st_size, place + shape[0] * shape[1] * dtype.itemsize
    if size < needed:
        raise ValueError(f"it has {size:,} bytes of the {needed:,} that its header tells: it was cut short")
    return (int(shape[0]), int(shape[1])), dtype.name, place


def _facts_beside(path: Path) -> dict[str, str]:
    """What the file beside it says; {} without any."""
    try:
        with beside(path).open("rb") as file:
            facts = json.loads(file.read(_MOST_FACTS))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{beside(path)} cannot be read: {reason_of(error)}; remove it, or get it again") from None
    return {str(k): str(v) for k, v in facts.items()} if isinstance(facts, dict) else {}


def array_batches(
    file: EmbeddingFile, width: int, columns: Sequence[str], most: int, start: int = 0, stop: int | None = None
) -> Iterator[EmbeddingBatch]:
    """Rows start to stop of a NumPy file, at most so many at once.

    Raises DataError where another number of rows have names.
    """
    import pyarrow as pa

    del columns  # it has none, see open_array
    _, name, place = _npy_header(file.path)
    rows, end = islice(_rows_of(file), start, None), file.rows if stop is None else min(stop, file.rows)
    # Read, not mapped: what is mapped counts as this process' memory until somebody else needs it.
    with open_file(file.path) as raw:
        size, done = file.width * int(_KINDS[name][1]), start
        raw.seek(place + start * size)
        while done < end:
            n = min(most, end - done)
            data = raw.read(n * size)
            with np.errstate(over="ignore"):
                values = np.frombuffer(data, "<" + _KINDS[name]).reshape(n, file.width).astype(np.float32)
            own, done = list(islice(rows, n)), done + n
            if len(own) < n or (done == file.rows and next(rows, None) is not None):
                raise DataError(
                    f"{file.path} has {file.rows} rows, and {file.table}, which its run wrote, has another number: "
                    f"they do not belong together; remove {beside(Path(file.path)).name} to take row numbers as keys"
                )
            yield checked_batch(own, values, None, pa.table({}))


def _rows_of(file: EmbeddingFile) -> Iterator[Row]:
    """Key, status and reason of each row: of the table that was written in the same run, else numbers."""
    if file.table is None:
        return ((number_key(file.path, i), Status.OK, "") for i in range(file.rows))
    return _own_rows(file.table)


def _own_rows(table: Path) -> Iterator[Row]:
    names = ("key", "status", "reason")
    suffix = table.suffix.lower()
    try:
        if suffix == ".parquet":
            with open_table(str(table)) as file:
                for batch in file.iter_batches(_NAMES, columns=list(names), use_threads=False):
                    yield from map(_row, batch.to_pylist())
        elif suffix == ".csv":
            with open_csv(table) as reader:
                yield from map(_row, whole_rows(reader))
        else:
            yield from (_row(line) for _, line in json_lines(table))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{table}, which names the rows, cannot be read: {reason_of(error)}") from None


def _row(cells: dict[str, Any]) -> Row:
    key = cells.get("key", cells.get("image_path"))
    return str(key), status_of(cells.get("status", "ok")), str(cells.get("reason") or "")
