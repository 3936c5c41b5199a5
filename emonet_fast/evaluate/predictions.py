"""Predictions from files: ours (parquet, CSV, JSON lines) and the JSON lines that EmoNet-Face's authors published.

The checks hold for every evaluation: each key once, the 40 emotions and no other taxonomy, but where any heads may be
compared, finite numbers, a range that scores of emotions can have.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import taxonomy
from ..arithmetic import EMOTIONS, LIKELY_RANGE
from ..errors import DataError, OptionError
from ..population.tables import facts_of, facts_of_schema
from ..text import counted, listed
from .metrics import Bools, Floats
from .prediction_files import FileColumns, arrow_table, read_columns, table_columns

TOLERATED = 0.01  # the share of images or emotions that may be lacking without --partial
NAMED = 5  # how many of a long list an error names

SLUGS = EMOTIONS
NAMES: tuple[str, ...] = tuple(d.name for d in taxonomy.EMOTIONS)


# The numbers of a head, of which one is evaluated: how its columns begin.
PREFIX = {"raw": "raw_", "score": "score_"}
_HINTS = {
    "raw": "for columns score_* ask for --values score",
    "score": "they need a checkpoint with neutral means",
}


@dataclass(frozen=True, slots=True)
class Predictions:
    """One number of N images and the 40 emotions, or K heads of any names.

    Args:
        source: the file, or "the table".
        keys: N unique keys.
        values: [N, K] float64 in the order of names; NaN for rows without scores and emotions without a head.
        has: [K] which of the names have a head.
        status: N statuses, "ok" where there are scores.
        notes: what a reader must know.
        names: K column names, the taxonomy's first.
    """

    source: str
    keys: tuple[str, ...]
    values: Floats
    has: Bools
    status: tuple[str, ...]
    notes: tuple[str, ...] = ()
    names: tuple[str, ...] = SLUGS


def read_predictions(
    source: object, kind: str = "raw", partial: bool = False, *, any_heads: bool = False
) -> Predictions:
    """The predictions in a `.parquet`, `.csv`, `.jsonl` or `.xlsx` file, or in a table.

    Args:
        source: the file's path, or Scores or a table of pandas, polars or pyarrow.
        kind: of PREFIX.
        partial: also fewer emotions.
        any_heads: all heads that are there, whatever their names; else the 40 emotions.

    Raises:
        DataError: when the source is neither, or fails one of the checks at the top of this file.
        OptionError: for another kind.
    """
    if kind not in PREFIX:
        raise OptionError(f"values is {kind!r}; expected one of {', '.join(PREFIX)}")
    path: Path | str
    if isinstance(source, str | Path):
        path = Path(source)
        table, facts = read_columns(path, PREFIX[kind]), facts_of(path)
    else:
        path, given = "the table", arrow_table(source, "predictions")
        table, facts = table_columns(given, PREFIX[kind]), facts_of_schema(given.schema)
    if not table.keys:
        raise DataError(f"{path} has no rows; expected one prediction an image")
    repeated = [k for k, n in Counter(table.keys).items() if n > 1]
    if repeated:
        raise DataError(
            f"{path} has keys more than once ({len(repeated)}: {listed(repeated)}); expected each image once, so that "
            "none counts twice. Remove the repeated rows"
        )
    if not table.columns:
        raise DataError(f"{path} has no columns {PREFIX[kind]}<emotion>; {_HINTS[kind]}")
    names = tuple(taxonomy.canonical_order(table.columns)) if any_heads else SLUGS
    known = {s: table.columns[s] for s in names if s in table.columns}
    others = [] if any_heads else _check_emotions(path, table, known, partial)
    values = np.full((len(table.keys), len(names)), np.nan)
    for slug, column in known.items():
        values[:, names.index(slug)] = column
    has = np.array([s in known for s in names])
    ok = np.array([s == "ok" for s in table.status], dtype=bool)
    _check_finite(path, table.keys, values[:, has], ok)
    of_emotions = values[:, [i for i, s in enumerate(names) if s in known and s in SLUGS]]
    _check_range(path, table.keys, of_emotions, ok)
    values[~ok] = np.nan
    notes = [facts["untrained"]] if facts.get("untrained") else []
    notes += [f"{len(others)} heads outside the taxonomy were passed over: {listed(others)}"] if others else []
    if kind == "raw" and of_emotions[ok].size and of_emotions[ok].max() <= 1.0 and of_emotions[ok].min() >= 0.0:
        notes.append(
            "all scores lie in 0..1: if they are on a scale of 0 to 1, multiply them by 7 first, "
            "or every level is 0 after truncation"
        )
    return Predictions(str(path), tuple(table.keys), values, has, tuple(table.status), tuple(notes), names)


def check_share(lacking: Sequence[str], expected: int, what: str, partial: bool) -> list[str]:
    """A note on what is lacking, or [] where nothing is; DataError when it is over 1%, unless `partial`."""
    if not lacking:
        return []
    text = f"{len(lacking)} of {expected} {what}: {listed(lacking)}"
    if len(lacking) > TOLERATED * expected and not partial:
        raise DataError(
            f"{text}. At most {TOLERATED:.0%} may lack; score them too, or give --partial to evaluate the rest"
        )
    return [text]


def _check_emotions(path: Path | str, table: FileColumns, known: dict[str, Floats], partial: bool) -> list[str]:
    """The file's dimensions that are not of our taxonomy."""
    others = sorted(set(table.columns) - set(known) - {d.slug for d in taxonomy.EXTRA_DIMENSIONS})
    missing = [n for s, n in zip(SLUGS, NAMES, strict=True) if s not in known]
    if not known or (len(missing) > len(SLUGS) // 2 and others):
        raise DataError(
            f"{path} has {len(others)} dimensions of another taxonomy ({listed(others)}) and {len(known)} of the 40 "
            "emotions of EmoNet-Face; expected raw_elation, raw_awe, ... Other taxonomies are compared by "
            "`evaluate any-hit` with a mapping"
        )
    check_share(missing, len(SLUGS), f"emotions are lacking in {path}", partial)
    return others


def _check_finite(path: Path | str, keys: Sequence[str], values: Floats, ok: Bools) -> None:
    bad = ok & ~np.isfinite(values).all(axis=1)
    if bad.any():
        names = [keys[i] for i in np.flatnonzero(bad).tolist()]
        raise DataError(
            f"{path} has NaN, infinite or missing scores in "
            f"{counted(len(names), 'row that says it is', 'rows that say they are')} ok: {listed(names)}. "
            "Expected finite numbers, or another status than ok for rows without scores"
        )


def _check_range(path: Path | str, keys: Sequence[str], values: Floats, ok: Bools) -> None:
    low, high = LIKELY_RANGE
    with np.errstate(invalid="ignore"):
        outside = ok & ((values < low) | (values > high)).any(axis=1)
    if outside.any():
        part = values[outside]
        worst = float(part.ravel()[np.argmax(np.abs(part))])
        names = [keys[i] for i in np.flatnonzero(outside).tolist()]
        raise DataError(
            f"{path} has scores outside {low:g}..{high:g} in {len(names)} of {len(keys)} rows (worst {worst:.4g}): "
            f"{listed(names)}. Scores lie about 0..7: probably the embeddings were not divided by their L2 norm "
            "before the heads. Score the images again"
        )
