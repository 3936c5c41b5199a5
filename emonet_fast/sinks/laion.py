"""The JSON lines that EmoNet-Face's authors published (`eval/results/*.jsonl` of LAION-AI/emonet-face).

    {"image_path": "0001.jpg",
     "results": {"model_elation_best": {"raw": 4.2, "mean_subtracted": 4.1, "softmax": 0.2}, ...}}

softmax is null for the extra dimensions, and everywhere without all 40 emotions; mean_subtracted and softmax
are null without neutral means. A row without scores, which the published files do not have, is
{"image_path": ..., "results": null, "status": ..., "reason": ...}.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .. import taxonomy
from ..records import Status
from .jsonl import json_line

if TYPE_CHECKING:
    import pyarrow


def encode(table: "pyarrow.Table", begins: bool) -> bytes:
    """The rows of a table as lines: heads in the table's order, under the published file stems."""
    del begins
    slugs = [name.removeprefix("raw_") for name in table.column_names if name.startswith("raw_")]
    stems = {slug: taxonomy.find(slug).file_stem for slug in slugs}
    return b"".join(json_line(_line(row, stems)) for row in table.to_pylist())


def _line(row: Mapping[str, Any], stems: Mapping[str, str]) -> dict[str, Any]:
    if row["status"] != Status.OK:
        return {"image_path": row["key"], "results": None, "status": row["status"], "reason": row["reason"]}
    results = {
        stem: {
            "raw": row["raw_" + slug],
            "mean_subtracted": row.get("score_" + slug),
            "softmax": row.get("prob_" + slug),
        }
        for slug, stem in stems.items()
    }
    return {"image_path": row["key"], "results": results}
