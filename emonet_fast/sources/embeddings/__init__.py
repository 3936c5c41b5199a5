"""Stored embeddings, block by block: our tables (parquet, folders of bulk) and NumPy files, checked row by row.

The contract is docs/embeddings.md. A row that cannot be used keeps its place, with a status and a reason.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import DataError, InputError
from ...files import place_of
from ...records import Float32Array, Picture, Status
from ...text import listed, utf8_text
from ..finished import finished_tables
from ..folder import reason_of
from ..keys import numbered
from ..table import is_table_name
from .arrays import array_batches, open_array
from .rows import EmbeddingBatch, EmbeddingFile, checked_batch
from .tables import open_vectors, table_batches
from .vectors import vectors_of

__all__ = [
    "EmbeddingBatch",
    "EmbeddingFile",
    "Embeddings",
    "batch_of",
    "batch_of_cells",
    "batches_of",
    "is_embeddings_name",
    "open_embeddings",
]

ENCODER = "encoder_hash"
BATCH_ROWS = 8192
# Norms this near to 1 are those of normalised vectors: float16 rounds each number by 5e-4 of it at most.
_NEAR_ONE = 2e-3


class Embeddings:
    """The stored embeddings of some files, in the order given.

    Args:
        inputs: parquet tables, folders of `emonet-fast bulk` or of parquet files, NumPy files [rows, width].
        columns: further columns of the tables that batches carry.
        column: of the embeddings in tables; None takes `embedding`, else the only column of lists of floats.
        once: whether a file that comes again is left out, with a note. Else its keys get a number, as those of pictures
            do: `a.jpg#2`.

    Attributes:
        files: what each file says of itself.
        rows: how many rows there are.
        width: numbers of an embedding.
        dtype: as stored, "float16", "float32" or "float64"; the first one's where files differ.
        encoder: "sha256:..." of what made the embeddings, as checkpoint.encoder_hash gives it; None where a file
            does not say.
        metadata: of the first file.
        notes: what a reader must know.

    Raises:
        DataError: when a file is missing, damaged or without embeddings, or of another width or encoder than the first.
        InputError: when a table has several columns that may be embeddings, and none is named.
    """

    def __init__(
        self,
        inputs: "str | Path | Sequence[str | Path]",
        columns: Sequence[str] = (),
        *,
        column: str | None = None,
        once: bool = False,
    ) -> None:
        places = [inputs] if isinstance(inputs, str | Path) else list(inputs)
        paths = [path for place in places for path in _files_of(os.fspath(place))]
        if not paths:
            raise DataError("no embeddings were named; expected parquet tables, folders of them, or .npy files")
        seen: Counter[object] = Counter()
        times = []
        for place in map(place_of, paths):
            seen[place] += 1
            times.append(seen[place])
        again = [Path(path).name for path, time in zip(paths, times, strict=True) if time > 1] if once else []
        if again:
            paths = [path for path, time in zip(paths, times, strict=True) if time == 1]
        self._times = [1] * len(paths) if once else times
        self._columns, self._column = tuple(columns), column
        self.files = tuple(open_embeddings(path, column, self._columns) for path in paths)
        known = [file for file in self.files if file.width]
        if not known:
            raise DataError(f"{paths[0]} has no embedding in any row; expected some, of as many numbers each")
        first = known[0]
        for file in known:
            _check_same(file, first)
        self.rows = sum(file.rows for file in self.files)
        self.width, self.dtype, self.metadata = first.width, first.dtype, first.metadata
        stated = [file.metadata.get(ENCODER) for file in self.files]
        self.encoder = stated[0] if all(stated) else None
        notes = [note for file in self.files for note in _notes_of(file)]
        notes += [f"embeddings that came again count once: {listed(dict.fromkeys(again))}"] if again else []
        self.notes = tuple(dict.fromkeys(notes))

    def with_columns(self, columns: Sequence[str]) -> "Embeddings":
        """The same files, whose batches carry these columns. Raises DataError where one has not all of them."""
        return Embeddings([file.path for file in self.files], columns, column=self._column)

    @cached_property
    def normalized(self) -> bool:
        """Whether the first rows that can be used have norm 1; ours are stored as they come, longer."""
        for batch in self.batches():
            if batch.ok.any():
                norms = np.linalg.norm(batch.values[batch.ok].astype(np.float64), axis=1)
                return bool((np.abs(norms - 1) < _NEAR_ONE).all())
        return False

    def check(self, encoder: str, width: int, *, l2_normalise: bool = True) -> None:
        """Raise DataError where embeddings are not of this encoder, width and scale, so that heads would be wrong.

        A file that does not say its encoder passes, see `notes`.

        Args:
            encoder: as checkpoint.encoder_hash gives it.
            width: numbers of its embeddings.
            l2_normalise: whether the heads take embeddings of any scale.
        """
        if not l2_normalise and self.normalized:
            raise DataError(
                f"the embeddings of {self.files[0].path} have norm 1, and these heads take them as the encoder gives "
                "them; score the pictures again"
            )
        for file in self.files:
            if file.width not in (0, width):
                raise DataError(
                    f"{file.path} has embeddings of {file.width} numbers; the checkpoint's encoder gives {width}. Take "
                    "the checkpoint whose encoder made them, or score the pictures again"
                )
            stated = file.metadata.get(ENCODER)
            if stated is not None and stated != encoder:
                raise DataError(
                    f"{file.path} has embeddings of the encoder {stated}; the checkpoint's encoder is {encoder}. Take "
                    "a checkpoint with the encoder that made them, or score the pictures again"
                )

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[EmbeddingBatch]:
        """All rows in order, at most so many at once, in memory that does not grow with the files.

        A part of a file that cannot be read gives rows with status UNREADABLE.
        """
        for file, time in zip(self.files, self._times, strict=True):
            for batch in batches_of(file, self.width, self._columns, rows):
                yield batch if time == 1 else replace(batch, keys=[numbered(key, time) for key in batch.keys])

    def pictures(self) -> Iterator[Picture]:
        """All rows as what a Scorer `of_embeddings` takes."""
        for batch in self.batches():
            yield from batch.pictures()

    @property
    def facts(self) -> dict[str, str]:
        """What scores of these embeddings say of them.

        The precision is that of the encoder, as heads are float32 behind every one: the scores are the same bits.
        """
        names = [file.path for file in self.files]
        precision = dict.fromkeys(file.metadata.get("precision", "unknown") for file in self.files)
        return {
            "embedding_source": ", ".join(names[:3]) + (", ..." if len(names) > 3 else ""),
            "embedding_dtype": "; ".join(dict.fromkeys(file.dtype for file in self.files)),
            "precision": "; ".join(precision),
        }

    def array(self) -> Float32Array:
        """[rows, width] float32 of all rows, NaN where one cannot be used: 4.6 kB a row of 1152 numbers."""
        return np.concatenate([batch.values for batch in self.batches()] or [np.empty((0, self.width), np.float32)])


def batch_of(values: npt.ArrayLike, width: int, keys: Sequence[str] | None = None) -> EmbeddingBatch:
    """An array in memory as a checked batch. keys: None for `#0`, `#1`, ... Raises InputError for another shape."""
    import pyarrow as pa

    try:
        with np.errstate(over="ignore"):
            vectors = np.asarray(values).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(f"{type(values).__name__} came as embeddings ({error}); expected numbers [n, width]") from None
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise InputError(f"embeddings of shape {list(vectors.shape)} came; expected [n, {width}] of this encoder")
    names = [f"#{i}" for i in range(len(vectors))] if keys is None else [utf8_text(key) for key in keys]
    if len(names) != len(vectors):
        raise InputError(f"{len(names)} keys came with {len(vectors)} embeddings; expected one for each")
    return checked_batch([(name, Status.OK, "") for name in names], vectors, None, pa.table({}))


def batch_of_cells(cells: Sequence[Any] | npt.NDArray[Any], width: int) -> EmbeddingBatch:
    """A column in memory, a list or array of numbers or None in each row, as a checked batch with keys `#0`, ..."""
    import pyarrow as pa

    try:
        column = pa.array([None if one is None else np.asarray(one, np.float64).ravel() for one in cells])
    except (TypeError, ValueError) as error:
        raise InputError(f"a column of embeddings came with something else ({error}); expected numbers") from None
    values, widths = vectors_of(column.cast(pa.list_(pa.float64())), width)
    rows = [(f"#{i}", Status.OK, "") for i in range(len(values))]
    return checked_batch(rows, values, widths, pa.table({}))


def is_embeddings_name(name: str) -> bool:
    """Whether a file name is that of a NumPy file, which can only hold embeddings."""
    return name.lower().endswith(".npy")


def _files_of(place: str) -> list[str]:
    if Path(place).is_dir():
        return [str(path) for path in finished_tables(Path(place))]
    if not (is_embeddings_name(place) or is_table_name(place)):
        raise DataError(f"{place!r} came as embeddings; expected a .parquet table, a folder of them, or a .npy file")
    return [place]


def batches_of(
    file: EmbeddingFile,
    width: int,
    columns: Sequence[str] = (),
    rows: int = BATCH_ROWS,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[EmbeddingBatch]:
    """Rows start to stop of one file in order, at most so many at once; see Embeddings.batches."""
    read = array_batches if file.column is None else table_batches
    return read(file, width, columns, rows, start, stop)


def open_embeddings(path: str, column: str | None, columns: Sequence[str] = ()) -> EmbeddingFile:
    """What one file says of itself. Raises DataError where it cannot be read as embeddings."""
    try:
        return open_array(path, columns) if is_embeddings_name(path) else open_vectors(path, column, columns)
    except (OSError, ValueError, EOFError) as error:  # pyarrow's errors are ValueErrors
        raise DataError(f"{path} cannot be read as embeddings: {reason_of(error)}") from None


def _check_same(file: EmbeddingFile, first: EmbeddingFile) -> None:
    came, wanted = file.metadata.get(ENCODER), first.metadata.get(ENCODER)
    if file.width != first.width:
        raise DataError(f"{file.path} has embeddings of {file.width} numbers, {first.path} of {first.width}")
    if came and wanted and came != wanted:
        raise DataError(f"{file.path} has embeddings of the encoder {came}, {first.path} of {wanted}")


def _notes_of(file: EmbeddingFile) -> Iterator[str]:
    if ENCODER not in file.metadata:
        yield "the embeddings do not say which encoder made them: only their width was checked"
    if file.column is None and file.table is None:
        yield "a .npy file without the table of its run: the keys are row numbers"
