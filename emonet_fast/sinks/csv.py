"""CSV (RFC 4180): the columns of `Scores.columns()`, empty fields where there is no value.

Keys are written as they are, quoted where CSV needs it and nothing more: a key that begins with = + - or @ is
the name of a file, and a changed name would no longer find that file.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..records import Float32Array
from ..scores import Scores, utf8_text


class CsvEncoder:
    """One header, one record a row; metadata in `<name>.meta.json`, as CSV has no place for it."""

    format = "csv"
    sidecar = True

    def __init__(self, file: BinaryIO, metadata: Mapping[str, str], embeddings: bool) -> None:
        del metadata  # the Sink writes the sidecar
        self._text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        # CRLF, as in the RFC: with "\n" alone, Python's writer leaves a carriage return in a key unquoted.
        self._csv = csv.writer(self._text, lineterminator="\r\n")
        self._embeddings = embeddings
        self._begun = False

    def write(self, scores: Scores) -> None:
        columns = scores.columns()
        self._header([*columns, *(["embedding"] if self._embeddings else [])])
        ok = scores.ok
        fields: list[Iterable[str]] = [
            _numbers(v, ok) if isinstance(v, np.ndarray) else [utf8_text(t) for t in v] for v in columns.values()
        ]
        if self._embeddings and scores.embeddings is not None:
            fields.append(_lists(scores.embeddings, ok))
        self._csv.writerows(zip(*fields, strict=True))

    def finish(self) -> None:
        self._header(["key", "status", "reason"])
        self._text.flush()
        self._text.detach()  # or the wrapper closes the file when it goes

    def abandon(self) -> None:
        self._text.detach()

    def _header(self, names: list[str]) -> None:
        if not self._begun:
            self._csv.writerow(names)
            self._begun = True


def _numbers(values: npt.NDArray[Any], ok: npt.NDArray[np.bool_]) -> list[str]:
    """The shortest text that reads back to the same number of the same dtype; "" where there is none."""
    known = ok & np.isfinite(values)
    return [str(v) if k else "" for v, k in zip(values, known, strict=True)]


def _lists(embeddings: Float32Array, ok: npt.NDArray[np.bool_]) -> Iterable[str]:
    """Each row as a JSON list, one row in memory at a time."""
    known = ok & np.isfinite(embeddings).all(axis=1)
    return ("[" + ", ".join(map(str, row)) + "]" if k else "" for row, k in zip(embeddings, known, strict=True))
