"""What a client asks of its rows, and the rows as JSON or Arrow."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..baseline import Baseline
from ..errors import OptionError
from ..records import Float64Array, face_index
from ..scores import Scores
from ..scores.parts import FACE_COLUMNS, QUALITY_COLUMNS
from ..text import utf8_text
from .limits import RefusedError

ARROW = "application/vnd.apache.arrow.stream"
FIELDS = ("raw", "score", "softmax", "z", "embedding")
_DEFAULT = ("raw", "score", "softmax")
MOST_TOP = 40


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asks of its rows.

    Args:
        faces: a row for each face; None as the server was told.
        top: so many strongest emotions of each row.
        fields: of FIELDS; None takes raw, and score and softmax where there are any.
        baseline: the population of z; None without one.
        deadline: seconds until the answer; None takes the server's.
    """

    faces: bool | None = None
    top: int = 0
    fields: tuple[str, ...] | None = None
    baseline: Baseline | None = None
    deadline: float | None = None

    @classmethod
    def of(
        cls, query: Mapping[str, str], baselines: Mapping[str, Baseline], own: tuple[str, ...] = ("deadline",)
    ) -> "Wanted":
        """What the parameters of a URL say. Raises RefusedError (422) for a name or value that is none.

        own: the names that this route has beside those of every route.
        """
        names = ("faces", "top", "fields", "baseline", *own)
        unknown = set(query) - set(names)
        if unknown:
            raise _unfit("the parameters", ", ".join(sorted(unknown)), f"some of {', '.join(names)}")
        faces, top, deadline = query.get("faces"), query.get("top", "0"), query.get("deadline")
        if faces not in (None, "none", "detect"):
            raise _unfit("faces", faces, "none or detect")
        if not (top.isascii() and top.isdecimal() and int(top) <= MOST_TOP):
            raise _unfit("top", top, f"0 to {MOST_TOP}")
        fields = tuple(query["fields"].split(",")) if "fields" in query else None
        if fields is not None and not set(fields) <= set(FIELDS):
            raise _unfit("fields", query["fields"], f"some of {','.join(FIELDS)}")
        name = query.get("baseline")
        if name is not None and name not in baselines:
            raise _unfit("baseline", name, ", ".join(baselines) or "none, as this server was started without any")
        if fields is not None and "z" in fields and name is None:
            raise RefusedError(422, "the field z came without a baseline; expected baseline=NAME too")
        return cls(
            None if faces is None else faces == "detect",
            int(top),
            fields,
            None if name is None else baselines[name],
            None if deadline is None else _seconds(deadline),
        )

    def applied(self, scores: Scores) -> Scores:
        """The scores beside the baseline. Raises RefusedError (422) where they lack a field."""
        try:
            scores = scores if self.baseline is None else scores.against(self.baseline)
        except OptionError as error:
            raise RefusedError(422, str(error)) from None
        lacking = set(self.fields or ()) - {*scores.kinds, "embedding"}
        if lacking:
            raise _unfit("fields", ", ".join(sorted(lacking)), f"what this checkpoint has: {','.join(scores.kinds)}")
        return scores

    def kinds(self, scores: Scores) -> tuple[str, ...]:
        """The kinds of values that an answer has."""
        wanted = self.fields or (*_DEFAULT, *(["z"] if self.baseline is not None else []))
        return tuple(kind for kind in wanted if kind in scores.kinds)

    @property
    def embeddings(self) -> bool:
        """Whether the answer has them."""
        return "embedding" in (self.fields or ())


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds < 1e6:
        raise _unfit("deadline", text, "seconds above 0")
    return seconds


def _unfit(name: str, came: str, expected: str) -> RefusedError:
    return RefusedError(422, f"{name}: {came[:200]} came; expected {expected}")


def rows_of(scores: Scores, wanted: Wanted) -> list[dict[str, Any]]:
    """A dict a row: key, status, reason, its face, the wanted fields by emotion, the strongest emotions."""
    ok = scores.ok
    tables: dict[str, tuple[tuple[str, ...], Float64Array]] = {}
    for kind in wanted.kinds(scores):
        names = scores.emotions if kind == "softmax" else scores.names
        tables[kind] = (names, np.asarray(getattr(scores, kind), np.float64))
    top = scores.top(wanted.top) if wanted.top else None
    rows = []
    for i, key in enumerate(scores.keys):
        row: dict[str, Any] = {"key": utf8_text(key), "status": scores.status[i], "reason": utf8_text(scores.reason[i])}
        if scores.faces is not None:
            columns = (*FACE_COLUMNS, *QUALITY_COLUMNS)
            values = dict(zip(columns, map(number, scores.faces[i].tolist()), strict=True))
            row["face"] = {"index": face_index(key), **values} if values["face_x"] is not None else None
        for kind, (names, table) in tables.items():
            row[kind] = dict(zip(names, map(number, table[i].tolist()), strict=True)) if ok[i] else None
        if wanted.embeddings and scores.embeddings is not None:
            row["embedding"] = scores.embeddings[i].tolist() if ok[i] else None
        if top is not None:
            row["top"] = [{"emotion": slug, "value": value} for slug, value in top[i]]
        rows.append(row)
    return rows


def as_json(scores: Scores, wanted: Wanted) -> bytes:
    """The whole answer. Numbers have all their digits: those of raw are float32 exactly."""
    answer = {
        "rows": rows_of(scores, wanted),
        "value_kind": scores.value_kind,
        "notes": scores.notes,
        "metadata": metadata_of(scores),
    }
    return dumped(answer)


def dumped(answer: object) -> bytes:
    """An answer as JSON in UTF-8."""
    return json.dumps(answer, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def metadata_of(scores: Scores) -> dict[str, str]:
    """What every answer says of the run and of the baseline, without a place of this machine."""
    facts = dict(scores.baseline.facts) if scores.baseline is not None else {}
    facts.pop("baseline", None)  # its files
    return {utf8_text(k): utf8_text(v) for k, v in {**scores.metadata, **facts}.items()}


def as_arrow(scores: Scores, wanted: Wanted) -> bytes:
    """The columns of the wanted fields as one Arrow stream; the notes are JSON in the schema's metadata."""
    import pyarrow as pa

    table = scores.to_arrow()
    left_out = tuple(f"{kind}_" for kind in FIELDS if kind not in wanted.kinds(scores))
    names = [n for n in table.column_names if not n.startswith(left_out) or n == "embedding"]
    metadata = {**metadata_of(scores), "notes": json.dumps(scores.notes)}
    table = table.select(names).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def number(value: float) -> float | None:
    """A number as JSON has it: None where it is not finite."""
    return value if math.isfinite(value) else None
