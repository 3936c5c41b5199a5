"""The published form of annotations: Python literals of lists and dicts, read without running them."""

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
    """The value of a Python or JSON literal. where: the row's name in an error.

    Raises DataError when the text is no literal, or longer than a label can be.
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

    "Hopelessness", as Binary has it, is Helplessness. Raises DataError when the name is outside the taxonomy.
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


def head_slug(name: str) -> str:
    """The column name of any spelling of a head, as of taxonomy.find; it knows Binary's name of Helplessness, too."""
    slug = taxonomy.find(name).slug
    return _SPELLINGS.get(slug, slug)


def located_slug(name: str, where: str) -> str | None:
    """`emotion_slug`, with the row's name in its error."""
    try:
        return emotion_slug(name)
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def ratings(answers: Any, where: str) -> tuple[dict[str, float], bool]:
    """{emotion's column name: value} of one annotator's dict, and whether its values are yes or no.

    Raises DataError when it is no dict of numbers or booleans, or a name stands in it twice or is outside the taxonomy.
    """
    if not isinstance(answers, Mapping):
        raise DataError(f"{where} holds {type(answers).__name__} {answers!r:.60}; expected a dict of emotions")
    out: dict[str, float] = {}
    kinds = set()
    for name, value in answers.items():
        slug = located_slug(str(name), where)
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

    An annotator may stand in several entries of the list. Raises DataError when the cell has another form, or an
    annotator rates an emotion twice.
    """
    entries = literal(text, where)
    entries = entries if isinstance(entries, list) else [entries]
    out: dict[str, dict[str, float]] = {}
    binary: set[bool] = set()
    for entry in entries:
        if not isinstance(entry, Mapping):
            raise DataError(f"{where} holds {entry!r:.60}; expected {{annotator: {{emotion: value}}}}")
        for annotator, answers in entry.items():
            values, yes_or_no = ratings(answers, f"{where}, {annotator}")
            earlier = out.setdefault(str(annotator), {})
            twice = earlier.keys() & values.keys()
            if twice:
                raise DataError(f"{where}: {annotator} rates {min(twice)} twice")
            earlier.update(values)
            if values:
                binary.add(yes_or_no)
    if len(binary) > 1:
        raise DataError(f"{where} mixes ratings with yes and no; expected one kind")
    return out, binary == {True}
