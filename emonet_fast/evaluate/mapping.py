"""Which of the 40 emotions stand for which class of another data set: the mapping file and its checks."""

import json
import unicodedata
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import taxonomy
from ..errors import DataError
from ..files import is_file
from ..text import listed
from .predictions import SLUGS

# Published mappings, kept beside this file.
PUBLISHED = ("ferd", "affectnet")
_FIELDS = {"name", "source", "classes", "labels"}


@dataclass(frozen=True, slots=True)
class Mapping:
    """Which emotions stand for which class.

    Args:
        name: what the mapping is called.
        source: where it comes from, for the reader.
        classes: class -> the emotions (column names) mapped to it.
        labels: other spelling of a class -> class.
    """

    name: str
    source: str
    classes: dict[str, tuple[str, ...]]
    labels: dict[str, str]

    @property
    def heads(self) -> int:
        """How many emotions are mapped to any class."""
        return sum(map(len, self.classes.values()))

    def label(self, text: str) -> str | None:
        """The class of a label in any spelling, or None if it is none of this mapping."""
        word = _word(text)
        word = self.labels.get(word, word)
        return word if word in self.classes else None


def read_mapping(which: str | Path | dict[str, Any]) -> Mapping:
    """Read a mapping: one of PUBLISHED by its name, a JSON file by its path, or the content of such a file.

    The file: {"name": "mine", "source": "...", "classes": {"happy": ["elation", ...]}, "labels": {"3": "happy"}}.
    `name`, `source` and `labels` may be left out. Emotions may have any published spelling, and stand in one class.
    """
    where = "the mapping" if isinstance(which, dict) else str(which)
    doc = which if isinstance(which, dict) else _read(which)
    if not isinstance(doc, dict) or not isinstance(doc.get("classes"), dict) or not doc["classes"]:
        raise DataError(f'{where} has no classes; expected {{"classes": {{"happy": ["elation", "amusement"]}}}}')
    unknown = sorted(set(doc) - _FIELDS)
    if unknown:
        raise DataError(f"{where} has fields {listed(unknown)}; expected {', '.join(sorted(_FIELDS))}")
    classes = {_word(str(c)): _emotions(c, names, where) for c, names in doc["classes"].items()}
    if len(classes) < len(doc["classes"]):
        raise DataError(f"{where} names a class twice, in upper and lower case")
    used = [e for emotions in classes.values() for e in emotions]
    twice = sorted({e for e in used if used.count(e) > 1})
    if twice:
        raise DataError(f"{where} maps emotions more than once: {listed(twice)}; expected one class each")
    return Mapping(str(doc.get("name", where)), str(doc.get("source", "")), classes, _labels(doc, classes, where))


def _read(which: str | Path) -> Any:
    where = str(which)
    path = Path(str(files(__package__) / f"{where}.json")) if where in PUBLISHED else Path(which)
    if not is_file(path):
        raise DataError(f"there is no mapping {where!r}; expected {', '.join(PUBLISHED)} or the path of a JSON file")
    try:
        return json.loads(path.read_bytes(), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{where} is not a readable mapping ({error}); expected one JSON object") from None


def _emotions(name: str, names: Any, where: str) -> tuple[str, ...]:
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        raise DataError(f"{where}: class {name!r} is {names!r:.60}; expected a list of emotions")
    slugs = tuple(taxonomy.find(n).slug for n in names)
    unknown = [n for n, s in zip(names, slugs, strict=True) if s not in SLUGS]
    if unknown:
        raise DataError(f"{where}: class {name!r} has {listed(unknown)}, not of the 40 emotions of EmoNet-Face")
    return slugs


def _labels(doc: dict[str, Any], classes: dict[str, tuple[str, ...]], where: str) -> dict[str, str]:
    labels = doc.get("labels", {})
    if not isinstance(labels, dict) or not all(isinstance(c, str) and _word(c) in classes for c in labels.values()):
        raise DataError(f"{where}: labels is {labels!r:.80}; expected other spellings, each with one of its classes")
    return {_word(str(k)): _word(c) for k, c in labels.items()}


def _word(text: str) -> str:
    """A label as labels are compared: in lower case, accents in Unicode's composed form."""
    return unicodedata.normalize("NFC", text).strip().lower()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) < len(pairs):
        raise ValueError(f"a name occurs twice among {listed([k for k, _ in pairs])}")
    return out
