"""The JSON lines that EmoNet-Face's authors published (`eval/results/*.jsonl` of LAION-AI/emonet-face).

    {"image_path": "0001.jpg",
     "results": {"model_elation_best": {"raw": 4.2, "mean_subtracted": 4.1, "softmax": 0.2}, ...}}

softmax is null for the extra dimensions, and everywhere without all 40 emotions; mean_subtracted and softmax
are null without neutral means. A row without scores, which the published files do not have, is
{"image_path": ..., "results": null, "status": ..., "reason": ...}.
"""

from collections.abc import Mapping
from typing import Any, BinaryIO

import numpy as np

from .. import taxonomy
from ..scores import Scores, utf8_text
from .jsonl import json_line


class LaionEncoder:
    """Heads in the order of `Scores.names`, under the published file stems; embeddings have no place here."""

    format = "laion"
    sidecar = True

    def __init__(self, file: BinaryIO, metadata: Mapping[str, str], embeddings: bool) -> None:
        del metadata, embeddings  # the Sink writes the sidecar; open_sink refuses embeddings
        self._file = file

    def write(self, scores: Scores) -> None:
        for line in lines(scores):
            self._file.write(json_line(line))

    def finish(self) -> None:
        """Every line is already in the file."""

    def abandon(self) -> None:
        """Nothing is held."""


def lines(scores: Scores) -> list[dict[str, Any]]:
    """One object a row, in the published layout."""
    stems = [taxonomy.find(n).file_stem for n in scores.names]
    emotions = {d.slug: i for i, d in enumerate(taxonomy.EMOTIONS)}
    places = [emotions.get(n) for n in scores.names]
    out: list[dict[str, Any]] = []
    for r, ok in enumerate(scores.ok):
        path = utf8_text(scores.keys[r])
        if not ok:
            reason = utf8_text(scores.reason[r])
            out.append({"image_path": path, "results": None, "status": str(scores.status[r]), "reason": reason})
            continue
        results = {
            stem: {
                "raw": _number(scores.raw[r, i]),
                "mean_subtracted": _number(scores.mean_subtracted[r, i]),
                "softmax": None if place is None else _number(scores.softmax[r, place]),
            }
            for i, (stem, place) in enumerate(zip(stems, places, strict=True))
        }
        out.append({"image_path": path, "results": results})
    return out


def _number(value: np.floating[Any]) -> float | None:
    return float(value) if np.isfinite(value) else None
