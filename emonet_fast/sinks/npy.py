"""Embeddings as a NumPy file: [rows, width] float32, row i of row i of the table; NaN where it has no scores.

What made them, and the table of the same run, are told by `<name>.meta.json`.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ..errors import EmonetError, OptionError
from ..files import beside, write_whole, writing
from .encoders import sidecar
from .growing import GrowingSink

if TYPE_CHECKING:
    from ..scores import Scores


class NpySink(GrowingSink):
    """The embeddings of a run. width: numbers of one. metadata: of the run. table: where it writes its rows."""

    def __init__(self, path: Path, width: int, metadata: Mapping[str, str], table: Path | None = None) -> None:
        super().__init__(path)
        self._width = width
        self._metadata = dict(metadata) | ({} if table is None else {"emonet_fast.table": table.name})
        self._keep_beside(self._metadata)
        with self.piece():
            _write_header(self.file, 0, width)

    def write(self, scores: "Scores") -> None:
        """Append the embeddings of some rows. Raises OptionError where they have none."""
        if scores.embeddings is None:
            raise OptionError(f"{self.path} is for embeddings, and these scores have none")
        with self.piece():
            self.file.write(np.where(scores.ok[:, None], scores.embeddings, np.nan).astype("<f4").tobytes())
        self.rows += len(scores)

    def close(self) -> None:
        with self.piece():
            self.file.seek(0)
            _write_header(self.file, self.rows, self._width)
            self.file.seek(0, os.SEEK_END)
        write_whole(beside(self.path), sidecar(self._metadata, self.rows), follow=False)
        super().close()


def recover_npy(partial: Path, target: Path) -> int:
    """Put the whole rows of a partial file in place. Returns their number. Raises EmonetError where it is damaged."""
    try:
        with writing(target), partial.open("r+b") as file:
            np.lib.format.read_magic(file)
            _, width = np.lib.format.read_array_header_1_0(file)[0]
            start = file.tell()
            rows = (file.seek(0, os.SEEK_END) - start) // (4 * width)
            file.truncate(start + 4 * width * rows)
            file.seek(0)
            _write_header(file, rows, width)
    except ValueError as error:
        raise EmonetError(f"{partial} is damaged ({error}); expected embeddings as a killed run leaves them") from None
    partial.rename(target)
    return rows


def _write_header(file: BinaryIO, rows: int, width: int) -> None:
    """NumPy leaves room in a header for any number of rows, so that it can be written again in the same place."""
    header = {"descr": "<f4", "fortran_order": False, "shape": (rows, width)}
    np.lib.format.write_array_header_1_0(file, header)
