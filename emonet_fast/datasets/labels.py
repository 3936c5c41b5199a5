"""The texts in which annotations are published: Python literals of lists and dicts, read without running them."""

import ast
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from .. import taxonomy
from ..errors import DataError

_MAX_TEXT = 1 << 20  # a label of 13 raters and 40 emotions has 30 kB
_EXTRA_GROUP = "extra dimensions"
_SPELLINGS = {"hopelessness": "helplessness"}  # as the Binary data set has it; the guide calls it a synonym


def literal(text: str, where: str) -> Any:
    """The value of a Python or JSON literal. where: names the row in the error.

    Raises:
        DataError: not a literal, or longer than a label can be.
    """
    if len(text) > _MAX_TEXT:
        raise DataError(f"{where} is {len(text)} characters long; expected at most {_MAX_TEXT}")
    if '"' not in text and "\\" not in text:  # ten times as fast, and the usual case
        try:
            return json.loads(text.replace("'", '"'))
        except (ValueError, RecursionError):
            pass  # True, None and tuples are Python's alone
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
        raise DataError(
            f"{where} is not a list or dict of annotations: {text[:80]!r}; expected the published form, "
            "such as [{'human-1': {'Awe': True}}]"
        ) from None


@lru_cache(maxsize=1024)  # the same 40 names in every row of a file
def emotion_slug(name: str) -> str | None:
    """The column name of "Group|Emotion" or "Emotion"; None for an extra dimension.

    "Hopelessness", as Binary has it, is Helplessness. Raises DataError for a name outside the taxonomy.
    """
    group, _, bare = name.rpartition("|")
    slug = taxonomy.slug(bare)
    slug = _SPELLINGS.get(slug, slug)
    dimension = taxonomy.find(slug)
    if dimension.is_emotion:
        return slug
    if dimension in taxonomy.EXTRA_DIMENSIONS or group.lower() == _EXTRA_GROUP:
        return None
    raise DataError(
        f"{name!r} is not one of the 40 emotions of EmoNet-Face, so these annotations follow another taxonomy"
    )


def ratings(given: Any, where: str) -> tuple[dict[str, float], bool]:
    """{emotion's column name: value} of one annotator's dict, and whether its values are yes or no.

    Raises:
        DataError: not a dict of numbers or booleans, or a name outside the taxonomy or twice.
    """
    if not isinstance(given, Mapping):
        raise DataError(f"{where} holds {type(given).__name__} {given!r:.60}; expected a dict of emotions")
    out: dict[str, float] = {}
    kinds = set()
    for name, value in given.items():
        try:
            slug = emotion_slug(str(name))
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        if not isinstance(value, bool | int | float) or not math.isfinite(value):
            raise DataError(f"{where}: {name!r} is {value!r}; expected a number from 0 to 7, or True or False")
        if slug is None:
            continue
        if slug in out:
            raise DataError(f"{where} names {name!r} twice, in two spellings")
        out[slug] = float(value)
        kinds.add(isinstance(value, bool))
    return out, kinds == {True}


def annotations(text: str, where: str) -> tuple[dict[str, dict[str, float]], bool]:
    """{annotator: {emotion: value}} of a `label` cell, and whether its values are yes or no.

    An annotator that occurs in several entries of the list keeps all of them; an emotion twice is refused.
    """
    entries = literal(text, where)
    entries = entries if isinstance(entries, list) else [entries]
    out: dict[str, dict[str, float]] = {}
    binary: set[bool] = set()
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise DataError(f"{where} holds {entry!r:.60}; expected {{annotator: {{emotion: value}}}}")
        for annotator, given in entry.items():
            values, yes_or_no = ratings(given, f"{where}, {annotator}")
            mine = out.setdefault(str(annotator), {})
            twice = mine.keys() & values.keys()
            if twice:
                raise DataError(f"{where}: {annotator} rates {min(twice)} twice")
            mine.update(values)
            if values:
                binary.add(yes_or_no)
    if len(binary) > 1:
        raise DataError(f"{where} mixes ratings with yes and no; expected one kind")
    return out, binary == {True}
