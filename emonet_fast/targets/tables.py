"""Labels in a table: a column for each head (wide), one label a row (long), or one column of classes or numbers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.labels import head_slug
from ..errors import DataError
from ..evaluate.any_hit import LABEL_FIELDS, NAME_FIELDS
from ..evaluate.metrics import Floats, Ints
from ..text import counted, listed
from .opened import KNOWN, VALUES
from .record import Reading
from .rows import LabelMatrix, LabelRows, Labels, give_back

if TYPE_CHECKING:
    import pyarrow

ANNOTATORS = ("annotator", "rater", "coder", "completed_by", "user")
GROUPS = ("person", "participant", "subject", "identity", "source", "video")
_NAMES = ("name", "emotion", "dimension")
_EMPTY = ("", "na", "n/a", "null", "none")
_YES, _NO = ("true", "yes"), ("false", "no")
_MOST_CLASSES = 200
_LONGEST = 200  # letters of a name: a head's file is named by it, and file systems take 255 bytes


def table_rows(table: "pyarrow.Table", source: str, how: Reading) -> Labels:
    """The labels of a table. Raises DataError where it has no pictures or no labels, or a cell is neither."""
    there = table.column_names
    twice = sorted({name for name in there if there.count(name) > 1})
    if twice:
        raise DataError(f"{source} has the column {twice[0]!r} twice; expected each once")
    long = _long(there, how)
    groups = how.groups or tuple(name for name in GROUPS if name in there)
    for asked in groups if long else (*groups, *how.labels):
        _chosen(asked, (), there, source, "")
    key = _chosen(how.key, NAME_FIELDS, there, source, "pictures (--key)")
    annotator = _first(how.annotator, ANNOTATORS, there, source)
    give_back()
    place, keys = _codes(table, key, source)
    give_back()
    if "" in keys:
        raise DataError(f"{source}, row {int(np.argmax(place == keys.index('')))} has no {key}; expected a picture's")
    who, people = (np.full(len(place), -1), []) if annotator is None else _codes(table, annotator, source)
    notes = [] if len(people) > 1 else ["one annotator: nothing says how far people agree"]
    together = {g: _group(table, g, place, keys, source) for g in groups}
    if long is not None:
        names, at, name, value, yes_no = _lines(table, source, how, long)
        return LabelRows(source, keys, _slugs(names, source), place[at], name, who[at], value, yes_no, together, notes)
    parts, yes_no = _wide(table, source, how, {key, annotator, *groups}, notes)
    columns = _slugs(list(parts), source)
    if len(keys) == table.num_rows:
        return LabelMatrix(source, keys, columns, list(parts.values()), yes_no, together, notes)
    size = len(parts)
    name, value = np.repeat(np.arange(size), len(place)), np.concatenate(list(parts.values()))
    return LabelRows(
        source, keys, columns, np.tile(place, size), name, np.tile(who, size), value, yes_no, together, notes
    )


def _long(there: Sequence[str], how: Reading) -> tuple[str, str] | None:
    """The columns of names and values of a long table; None where it has no such pair."""
    name, value = (next((n for n in fields if n in there), None) for fields in (_NAMES, VALUES))
    return None if name is None or value is None or name in how.labels or value in how.labels else (name, value)


def _wide(
    table: "pyarrow.Table", source: str, how: Reading, taken: set[str | None], notes: list[str]
) -> tuple[dict[str, Floats], bool]:
    """name -> [rows] values, and whether they are yes and no."""
    columns = list(how.labels) or _label_columns(table, source, taken, notes)
    parts: dict[str, Floats] = {}
    kinds = set()
    for column in columns:
        found = None if how.classes else _numbers(table.column(column), f"{source}, column {column}")
        if found is not None:
            parts[column] = found[0]
            kinds.add(found[1])
            continue
        before = "" if len(columns) == 1 else f"{column} "
        parts |= {before + name: values for name, values in _one_hot(table, column, source).items()}
        kinds.add(True)
    if len(kinds) > 1:
        raise DataError(f"{source} mixes numbers with yes and no, or classes; name columns of one kind with --label")
    return parts, kinds == {True}


def _one_hot(table: "pyarrow.Table", column: str, source: str) -> dict[str, Floats]:
    """class -> [rows] 1 where it is the row's, 0 where another is, NaN where none is."""
    codes, texts = _codes(table, column, source)
    classes = [text for text in texts if text]
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise DataError(
            f"{source}, column {column} has {counted(len(classes), 'different text')}, {listed(classes)}; expected "
            f"numbers, yes and no, or 2 to {_MOST_CLASSES} classes"
        )
    empty = np.array([text == "" for text in texts])[codes]
    return {text: np.where(empty, np.nan, codes == code) for code, text in enumerate(texts) if text}


def _label_columns(table: "pyarrow.Table", source: str, taken: set[str | None], notes: list[str]) -> list[str]:
    """The columns of the taxonomy's heads, else one of LABEL_FIELDS, else every column of numbers."""
    free = [name for name in table.column_names if name not in taken]
    known = [n for n in free if head_slug(n) in KNOWN]
    known = known or [n for n in free if n.startswith("raw_") and head_slug(n.removeprefix("raw_")) in KNOWN]
    if known:
        others = [n for n in free if n not in known]
        notes += [f"not read as labels: {counted(len(others), 'other column')}, {listed(others)}"] if others else []
        return known
    for name in LABEL_FIELDS:
        if name in free:
            return [name]
    numeric = [n for n in free if _numbers(table.column(n), f"{source}, column {n}", False) is not None]
    if not numeric:
        raise DataError(
            f"{source} has no labels; expected columns of the 40 emotions, one of {', '.join(LABEL_FIELDS)}, or "
            f"numbers; name your own with --label. Its columns: {listed(table.column_names)}"
        )
    return numeric


def _lines(
    table: "pyarrow.Table", source: str, how: Reading, long: tuple[str, str]
) -> tuple[list[str], Ints, Ints, Floats, bool]:
    codes, texts = _codes(table, long[0], source)
    found = _numbers(table.column(long[1]), f"{source}, column {long[1]}")
    if found is None:
        raise DataError(f"{source}, column {long[1]} holds texts; expected numbers, or yes and no")
    kept = [t for t in texts if t] if not how.labels else list(how.labels)
    missing = [t for t in kept if t not in texts]
    if missing:
        raise DataError(f"{source} has no label named {listed(missing)}; it has {listed(texts)}")
    # Two spellings of one head are one name.
    slugs = {t: head_slug(t) for t in kept}
    names = list({slugs[t]: t for t in reversed(kept)}.values())[::-1]
    by_slug = {slugs[n]: i for i, n in enumerate(names)}
    place = np.array([by_slug.get(slugs.get(t, ""), -1) for t in texts])[codes]
    at = np.flatnonzero(place >= 0)
    return names, at, place[at], found[0][at], found[1]


def _slugs(names: Sequence[str], source: str) -> list[str]:
    """Each name as the column name of a head."""
    out: dict[str, str] = {}
    for name in names:
        bare = name.removeprefix("raw_") if head_slug(name.removeprefix("raw_")) in KNOWN else name
        slug = head_slug(bare)
        if not slug or slug in out:
            why = "has no letter a-z or digit" if not slug else f"gives the same column as {out[slug]!r}"
            raise DataError(f"{source}: the label {name!r} {why}; heads need names apart. Rename it")
        if len(slug) > _LONGEST:
            raise DataError(
                f"{source}: the label {name[:40]!r}... has {len(slug)} letters; expected {_LONGEST} at most"
            )
        out[slug] = name
    return list(out)


def _codes(table: "pyarrow.Table", column: str, source: str) -> tuple[Ints, list[str]]:
    """[rows] place of each cell's text among the distinct texts; an empty cell is ""."""
    import pyarrow as pa

    try:
        texts = table.column(column).cast(pa.string()).combine_chunks().fill_null("")
        encoded = texts.dictionary_encode()
        return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise DataError(f"{source}, column {column} holds no texts ({str(error)[:100]})") from None


def _numbers(column: "pyarrow.ChunkedArray", where: str, strict: bool = True) -> tuple[Floats, bool] | None:
    """[rows] float64 of a column, NaN where it is empty, and whether it is yes and no; None for texts.

    Raises DataError for infinities, and where `strict` for a column of both numbers and texts.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as kinds

    if kinds.is_string(column.type) or kinds.is_large_string(column.type):
        words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
        words = pc.if_else(pc.is_in(words, pa.array(_EMPTY, words.type)), pa.scalar(None, words.type), words)
        try:
            return _finite(words.cast(pa.float64()), where), False
        except pa.ArrowInvalid:  # not all are numbers as Arrow writes them
            known = pc.unique(words.drop_null()).to_pylist()
        if known and set(known) <= {*_YES, *_NO}:
            return _floats(pc.is_in(words, pa.array(_YES, words.type)), words.is_valid()), True
        numeric = [word for word in known if _is_number(word)]
        if known and not numeric:
            return None
        if len(numeric) < len(known):
            if not strict:
                return None
            texts = listed(w for w in known if w not in set(numeric))
            raise DataError(f"{where} has both numbers and texts ({texts}); expected one kind")
        column = pa.chunked_array([[None if word is None else float(word) for word in words.to_pylist()]], pa.float64())
    if kinds.is_boolean(column.type):
        return _floats(column, column.is_valid()), True
    if not (kinds.is_integer(column.type) or kinds.is_floating(column.type) or kinds.is_null(column.type)):
        return None
    return _finite(column.cast(pa.float64()), where), False


def _finite(column: "pyarrow.ChunkedArray", where: str) -> Floats:
    # combine_chunks copies a single chunk, too; without an empty cell this is a view of it.
    whole = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    values: Floats = whole.to_numpy(zero_copy_only=False)
    if np.isinf(values).any():
        raise DataError(f"{where}, row {int(np.argmax(np.isinf(values)))} is infinite; expected a number")
    return values


def _floats(column: "pyarrow.ChunkedArray", valid: "pyarrow.ChunkedArray") -> Floats:
    values = column.fill_null(False).to_numpy().astype(np.float64)
    return np.where(valid.to_numpy(), values, np.nan)


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return "_" not in word and word.isascii()


def _group(table: "pyarrow.Table", column: str, place: Ints, keys: Sequence[str], source: str) -> tuple[str, ...]:
    """The group of each key."""
    codes, texts = _codes(table, column, source)
    out = np.full(len(keys), -1)
    out[place[::-1]] = codes[::-1]
    other = np.flatnonzero(out[place] != codes)
    if len(other):
        key = keys[place[other[0]]]
        first, second = texts[out[place[other[0]]]], texts[codes[other[0]]]
        raise DataError(f"{source} says two {column}s of {key}: {first!r} and {second!r}; expected one")
    return tuple(texts[c] for c in out.tolist())


def _chosen(asked: str | None, known: Sequence[str], there: Sequence[str], source: str, what: str) -> str:
    if asked is not None:
        if asked not in there:
            raise DataError(f"{source} has no column {asked!r}; it has {listed(there)}")
        return asked
    found = next((name for name in known if name in there), None)
    if found is None:
        raise DataError(f"{source} has no column of {what}; expected {', '.join(known)}; it has {listed(there)}")
    return found


def _first(asked: str | None, known: Sequence[str], there: Sequence[str], source: str) -> str | None:
    if asked is None and not set(known) & set(there):
        return None
    return _chosen(asked, known, there, source, "")
