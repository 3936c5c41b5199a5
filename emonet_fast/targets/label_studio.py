"""Label Studio's exports (JSON, JSON-MIN, CSV) as a wide table: a row for each annotation, a column for each control.

Formats: labelstud.io/guide/task_format and labelstud.io/guide/export. A Number gives `{"number": 3}`, a Rating
`{"rating": 3}`, Choices `{"choices": ["happy"]}`; JSON-MIN and CSV have these, or what is in them.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from ..errors import DataError
from ..evaluate.any_hit import NAME_FIELDS
from ..sources.folder import stat_file
from ..text import utf8_text

if TYPE_CHECKING:
    import pyarrow

# The columns that JSON-MIN and CSV have beside the task's data and the controls.
_OWN = ("id", "annotation_id", "annotator", "created_at", "updated_at", "lead_time")
_ONE = ("number", "rating", "choices")
_UPLOAD = re.compile(r"/data/upload/(?:\d+/)?(?:[0-9a-f]{8}-)?(.+)", re.DOTALL)
_LOCAL = "/data/local-files/"
_MOST_BYTES = 1 << 29
_ANNOTATOR = "annotator"


def export_table(path: Path) -> tuple["pyarrow.Table", list[str]]:
    """The annotations of a JSON or JSON-MIN export, and notes. Raises DataError where it is none."""
    try:
        size = stat_file(path).st_size
        if size > _MOST_BYTES:
            raise ValueError(f"it has {size:,} bytes, of {_MOST_BYTES:,} at most; export it in parts")
        tasks = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path} cannot be read as Label Studio's JSON ({str(error)[:200]})") from None
    tasks = [tasks] if isinstance(tasks, dict) else tasks
    if not isinstance(tasks, list) or not tasks or not all(isinstance(task, dict) for task in tasks):
        raise DataError(f"{path} is no export of Label Studio; expected a list of tasks")
    left_out: Counter[str] = Counter()
    rows = [row for number, task in enumerate(tasks) for row in _rows(task, f"{path}, task {number}", left_out)]
    notes = [f"{n} {what} were left out" for what, n in left_out.items() if n]
    if not rows:
        raise DataError(f"{path} has no annotations" + (f": {'; '.join(notes)}" if notes else ""))
    return _table(rows), notes


def is_export(columns: list[str]) -> bool:
    """Whether a CSV's columns are those of Label Studio."""
    return {"annotation_id", _ANNOTATOR} <= set(columns)


def mended(table: "pyarrow.Table", source: str) -> "pyarrow.Table":
    """The table of a CSV export, with the pictures' names as they were, and numbers as numbers."""
    return _table([_flat(row, f"{source}, row {number}") for number, row in enumerate(table.to_pylist())])


def picture_name(place: str) -> str:
    """The file that a task's picture was made of: without what Label Studio put before it."""
    if "://" not in place and not place.startswith("/data/"):
        return place
    try:
        url = urlsplit(place)
    except ValueError:  # a broken host
        return place
    if url.path.endswith(_LOCAL):
        return (parse_qs(url.query).get("d") or [""])[0]
    upload = _UPLOAD.search(unquote(url.path))
    return upload[1] if upload else unquote(url._replace(query="", fragment="").geturl())


def _rows(task: Mapping[str, Any], where: str, left_out: Counter[str]) -> Iterator[dict[str, Any]]:
    """The annotations of a task, each as {key, annotator, control: value}."""
    if "data" not in task:
        yield _flat(task, where)
        return
    given = task.get("annotations", task.get("completions", []))
    if not isinstance(given, list) or not isinstance(task["data"], dict):
        raise DataError(f"{where} has no list of annotations, or no data; expected Label Studio's JSON")
    left_out["tasks without annotations"] += not given
    for annotation in given:
        if not isinstance(annotation, dict) or not isinstance(annotation.get("result", []), list):
            raise DataError(f"{where} has an annotation without a list `result`; expected Label Studio's JSON")
        if annotation.get("was_cancelled") or annotation.get("skipped"):
            left_out["skipped annotations"] += 1
            continue
        cells: dict[str, Any] = {}
        for result in annotation.get("result", []):
            if not isinstance(result, dict) or not isinstance(result.get("from_name"), str):
                raise DataError(f"{where} has a result without `from_name`; expected Label Studio's JSON")
            value = result.get("value")
            if not isinstance(value, dict) or not any(kind in value for kind in _ONE):
                left_out["results that are no number, rating or choice"] += 1
                continue
            if result["from_name"] in cells:
                raise DataError(f"{where} has two answers of {result['from_name']!r} by one annotator; expected one")
            cells[result["from_name"]] = _value(value, f"{where}, {result['from_name']}")
        yield {"key": _picture(task["data"], where), _ANNOTATOR: _who(annotation.get("completed_by"))} | cells


def _flat(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A row of JSON-MIN or CSV."""
    controls = {n: v for n, v in row.items() if n not in (*_OWN, *NAME_FIELDS) and v is not None}
    cells = {name: _value(value, f"{where}, {name}") for name, value in controls.items()}
    return {"key": _picture(row, where), _ANNOTATOR: _who(row.get(_ANNOTATOR))} | cells


def _value(value: Any, where: str) -> str:
    """A number, or one choice, out of what it is wrapped in, as text."""
    if isinstance(value, str) and value.startswith(("[", "{")):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return str(value)
    for _ in range(3):  # [{"choices": ["happy"]}]
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, dict):
            kind = next((kind for kind in _ONE if kind in value), None)
            value = value if kind is None else value[kind]
    if isinstance(value, dict | list):
        raise DataError(f"{where} is {value!r:.60}; expected one number, rating or choice")
    return "" if value is None else str(value)


def _picture(data: Mapping[str, Any], where: str) -> str:
    """The name of a task's picture: its field `key`, as `labels template` writes it, else the picture's place."""
    if isinstance(data.get("key"), str) and data["key"]:
        return str(data["key"])
    named = [data[field] for field in NAME_FIELDS if isinstance(data.get(field), str)]
    texts = named or [value for value in data.values() if isinstance(value, str)]
    name = picture_name(texts[0]) if texts else ""
    if not name or name.startswith("data:"):
        raise DataError(f"{where} does not name its picture; expected a path or URL in a field image, or a field key")
    return name


def _who(annotator: Any) -> str:
    if isinstance(annotator, dict):  # {"id": 1, "email": "..."}
        annotator = annotator.get("email") or annotator.get("id")
    return "" if annotator is None else str(annotator)


def _table(rows: list[dict[str, Any]]) -> "pyarrow.Table":
    import pyarrow as pa

    names = dict.fromkeys(name for row in rows for name in row)

    def texts(name: str) -> list[str | None]:
        return [None if (cell := row.get(name)) is None else utf8_text(cell) for row in rows]

    return pa.table({utf8_text(name): pa.array(texts(name), pa.string()) for name in names})
