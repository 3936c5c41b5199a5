"""What every column of our tables means: its range, scale, unit, and how far experts agree on what it measures.

`codebook.toml` describes them; taxonomy and reliability fill in what is known of a head.
"""

import csv
import io
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from importlib import resources
from typing import Any

from . import taxonomy
from .reliability import reliability

UNKNOWN = "not a column of this package"
# What stands for a head, a group and any name in the file.
_HOLES = {"<dim>": "(?P<dim>.+)", "<group>": ".+", "<name>": ".+"}


@dataclass(frozen=True, slots=True)
class Column:
    """One column, or one kind of columns.

    Args:
        name: of the column; with `<dim>`, `<group>` or `<name>` of a kind of columns.
        meaning: for people; UNKNOWN for a column that no command writes.
        type: in Parquet.
        range: the values that occur, or the scale; "" where there is nothing to say.
        unit: of the values.
        when: what makes a table have it; "" where every table has it.
        scaled: whether its range is the scale of the head.
        emotion: the head's official name; "" for other columns.
        group: of the emotion.
        agreement: how far experts agree on the emotion, in words; "" where nothing is known.
        alpha, human_kappa, large_spearman, small_spearman: as of Reliability.
    """

    name: str
    meaning: str
    type: str = ""
    range: str = ""
    unit: str = ""
    when: str = ""
    scaled: bool = False
    emotion: str = ""
    group: str = ""
    agreement: str = ""
    alpha: float | None = None
    human_kappa: float | None = None
    large_spearman: float | None = None
    small_spearman: float | None = None


@cache
def kinds(table: str) -> tuple[Column, ...]:
    """The kinds of columns of a kind of table, one of `tables()`."""
    return tuple(Column(**one) for one in _file()[table])


def tables() -> tuple[str, ...]:
    """The kinds of tables: "scores" is what score, video and bulk write."""
    return tuple(_file())


@cache
def _file() -> dict[str, list[dict[str, Any]]]:
    return tomllib.loads(resources.files("emonet_fast").joinpath("codebook.toml").read_text("utf-8"))


def describe(names: Sequence[str]) -> list[Column]:
    """The columns of a table, in their order. Those that no command writes have UNKNOWN for their meaning.

    A summary is by columns of the scores, such as track.
    """
    table = max(tables(), key=lambda kind: sum(_find(name, kind) is not None for name in names))
    return [_find(name, table) or _find(name, "scores") or Column(name, UNKNOWN) for name in names]


def every() -> Iterator[Column]:
    """Every column that the commands write, with those of all 44 heads."""
    for table in tables():
        for kind in kinds(table):
            slugs = [d.slug for d in (taxonomy.EMOTIONS if kind.name.startswith("softmax_") else taxonomy.DIMENSIONS)]
            if "<dim>" in kind.name:
                yield from (_of(kind, kind.name.replace("<dim>", slug), slug) for slug in slugs)
            else:
                yield kind


def current_name(column: str) -> str:
    """The name that a stored column has now: until schema version 1, `softmax_*` was `prob_*`."""
    return re.sub("^prob_", "softmax_", column)


def _find(name: str, table: str) -> Column | None:
    """A column by its name."""
    for kind in kinds(table):
        pattern = re.escape(kind.name)
        for hole, any_name in _HOLES.items():
            pattern = pattern.replace(hole, any_name)
        found = re.fullmatch(pattern, current_name(name), re.DOTALL)
        if found:
            return _of(kind, name, found.groupdict().get("dim", ""))
    return None


def _of(kind: Column, name: str, slug: str) -> Column:
    """The column of a head, with what is known of it."""
    facts = asdict(kind) | {"name": name}
    if slug:
        head, known = taxonomy.find(slug), reliability().get(slug)
        facts |= {"meaning": f"{head.name}: {kind.meaning}", "emotion": head.name, "group": head.group}
        if kind.scaled:
            low, high = head.scale
            facts["range"] = f"{low:g}..{high:g}, not clipped" if head in taxonomy.DIMENSIONS else ""
        if known is not None:
            facts |= {"agreement": known.agreement.text, **asdict(known)}
    return Column(**facts)


_SHOWN = [field.name for field in fields(Column) if field.name != "scaled"]


def to_csv(columns: Sequence[Column]) -> bytes:
    """A CSV that Excel opens right."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _SHOWN, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, columns))
    return text.getvalue().encode("utf-8-sig")


def to_json(columns: Sequence[Column]) -> bytes:
    """A list of objects; null where a figure is not known."""
    rows = [{name: getattr(column, name) for name in _SHOWN} for column in columns]
    return (json.dumps(rows, ensure_ascii=False, indent=1) + "\n").encode()


def to_markdown(columns: Sequence[Column]) -> bytes:
    """A table for a page; a column with a head has its figures of reliability."""
    titles = ("column", "with", "type", "range", "unit", "meaning")
    rated = any(column.agreement for column in columns)
    lines = [[*titles, "reliability"] if rated else [*titles], ["---"] * (len(titles) + rated)]
    for column in columns:
        cells = [f"`{column.name}`", column.when, column.type, column.range, column.unit, column.meaning]
        lines.append(
            [re.sub(r"\s", " ", cell.replace("|", "\\|")) for cell in [*cells, *[reliability_of(column)] * rated]]
        )
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines).encode()


def reliability_of(column: Column) -> str:
    """How far experts agree, with the figures; "" where nothing is known."""
    known = reliability().get(taxonomy.slug(column.emotion)) if column.emotion else None
    return "" if known is None else known.text
