"""Rows of stored scores in JSON lines: ours, and those that EmoNet-Face's authors published."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .. import taxonomy
from ..errors import DataError
from ..sources.json_lines import json_lines

RAW, SCORE = "raw_", "score_"
_LAION = {RAW: "raw", SCORE: "mean_subtracted"}
_LARGEST = 1e300  # JSON knows whole numbers that no float64 holds; refused with NaN and infinities


@dataclass(frozen=True, slots=True)
class JsonRow:
    """A line.

    Args:
        where: file and line, for errors.
        cells: what stands in it, LAION's `image_path` as `key`.
        status: "ok" where it says none; "failed" for LAION's row without results.
        scores: one number of each head, by slug; NaN for null.
    """

    where: str
    cells: Mapping[str, Any]
    status: str
    scores: Mapping[str, float]


def json_rows(path: Path, prefix: str) -> Iterator[JsonRow]:
    """The rows of a file, with the numbers RAW or SCORE of each head.

    Raises DataError where a line is no object, a score is no number, or a head comes in two spellings.
    """
    for number, line in json_lines(path):
        where, state = f"{path}, line {number}", "ok"
        scores = {name.removeprefix(prefix): value for name, value in line.items() if name.startswith(prefix)}
        if "results" in line:
            missing = line["results"] is None
            state, scores = ("failed", {}) if missing else ("ok", _laion(line["results"], prefix, where))
            line = {"key" if name == "image_path" else name: value for name, value in line.items()}
        yield JsonRow(where, line, str(line.get("status", state)), _numbers(scores, where))


def _laion(results: Any, prefix: str, where: str) -> dict[str, Any]:
    if not isinstance(results, Mapping) or not all(isinstance(v, Mapping) for v in results.values()):
        raise DataError(f"{where}: `results` is not an object of heads; expected the published layout")
    cells = {head: values.get(_LAION[prefix]) for head, values in results.items()}
    # scored without neutral means: no such column at all
    return {} if all(value is None for value in cells.values()) else cells


def _numbers(cells: Mapping[str, Any], where: str) -> dict[str, float]:
    out: dict[str, float] = {}
    for name, value in cells.items():
        slug = taxonomy.find(name).slug
        if slug in out:
            raise DataError(f"{where} has {slug} twice, in two spellings")
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise DataError(f"{where}: {name} is {value!r:.60}; expected a number or null")
        out[slug] = float("nan") if value is None or abs(value) > _LARGEST else float(value)
    return out
