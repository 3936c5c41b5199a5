"""JSON lines: one object a row, as `Scores.to_dicts()`; null where there is no value, never NaN."""

import json
from collections.abc import Mapping
from typing import Any, BinaryIO

from ..scores import Scores


def json_line(row: Mapping[str, Any]) -> bytes:
    """One UTF-8 line with its line feed. Raises ValueError for NaN and infinities, which JSON lacks."""
    return json.dumps(row, ensure_ascii=False, allow_nan=False).encode() + b"\n"


class JsonlEncoder:
    """Metadata in `<name>.meta.json`, so that every line of the file is a row."""

    format = "jsonl"
    sidecar = True

    def __init__(self, file: BinaryIO, metadata: Mapping[str, str], embeddings: bool) -> None:
        del metadata  # the Sink writes the sidecar
        self._file = file
        self._embeddings = embeddings

    def write(self, scores: Scores) -> None:
        for row in scores.to_dicts():
            if not self._embeddings:
                row.pop("embedding", None)
            self._file.write(json_line(row))

    def finish(self) -> None:
        """Every line is already in the file."""

    def abandon(self) -> None:
        """Nothing is held."""
