"""What a user named on the command line, joined into one stream of pictures."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError, OptionError
from ..options import Options
from ..records import Picture, Status
from ..scores import utf8_text
from .folder import (
    Found,
    has_wildcards,
    is_image_name,
    read_file,
    reason_of,
    search_folder,
    search_glob,
    stat_file,
)
from .keys import UniqueKeys
from .shards import is_shard_name, read_shard
from .table import inspect_table, is_table_name, read_table


@dataclass(frozen=True, slots=True)
class _Entry:
    """One file to read. key: unique. column: of a table. reason: of a fault."""

    kind: Literal["file", "shard", "table", "fault"]
    path: str
    key: str
    column: str = ""
    reason: str = ""


class Inputs:
    """Pictures of all inputs in the order given; can be iterated again. Paths are held, pictures are not.

    total: number of pictures, None where a tar shard makes it unknown before reading. skipped: files in folders and
    globs that are no pictures, by lower-case suffix. notes: inputs that gave nothing, for people.
    """

    def __init__(
        self,
        entries: Sequence[_Entry],
        total: int | None,
        skipped: Mapping[str, int],
        notes: Sequence[str],
        max_bytes: int,
    ) -> None:
        self.total = total
        self.skipped = dict(skipped)
        self.notes = tuple(notes)
        self._entries = tuple(entries)
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[Picture]:
        for entry in self._entries:
            if entry.kind == "shard":
                yield from read_shard(entry.path, entry.key, self._max_bytes)
            elif entry.kind == "table":
                yield from read_table(entry.path, entry.key, entry.column, self._max_bytes)
            elif entry.kind == "fault":
                yield Picture(entry.key, None, Status.UNREADABLE, entry.reason)
            else:
                yield read_file(entry.path, entry.key, self._max_bytes)


def open_inputs(inputs: Sequence[str], options: Options, image_column: str | None = None) -> Inputs:
    """Find the pictures that `inputs` name: folders, globs, tar shards, parquet files, image files.

    A path that exists is taken literally, also if its name holds `*`, `?` or `[`. A file named explicitly is taken
    whatever its suffix; in folders only image files are, in globs shards and tables too. A missing file and a glob
    without a match are UNREADABLE pictures, as long as another input was found. Keys are unique: where an input is
    given again, its second keys are `path#2`. image_column: of parquet files, None to find it by type.

    Raises:
        InputError: no input could be found at all, or a parquet file's image column is missing or ambiguous.
        OptionError: image_column is given, but no input is a parquet file.
    """
    if isinstance(inputs, str):
        raise InputError(f"the text {inputs!r} came; expected a sequence of inputs: put it in a list")
    plan = _Plan(image_column)
    for text in inputs:
        plan.add(str(text))
    if not plan.anything:
        raise InputError("no pictures found: " + ("; ".join(plan.notes) or "no input was given"))
    if image_column is not None and not any(e.kind == "table" for e in plan.entries):
        raise OptionError(f"image_column is {image_column!r}, but no input is a readable parquet file")
    total = None if any(e.kind == "shard" for e in plan.entries) else plan.rows
    return Inputs(plan.entries, total, plan.skipped, plan.notes, options.max_bytes)


class _Plan:
    """The entries found so far. anything: whether one of them exists. rows: pictures in all but the shards."""

    def __init__(self, image_column: str | None) -> None:
        self.entries: list[_Entry] = []
        self.notes: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.anything = False
        self.rows = 0
        self._column = image_column
        self._unique = UniqueKeys()

    def add(self, text: str) -> None:
        path = Path(text)
        if _exists(path):
            found = Found()
            if _is_folder(path):
                search_folder(text, found)
                self._add_found(found, f"folder {text!r} has no image files", _shards_hint(path, found))
            else:
                self._add_file(str(path))
        elif has_wildcards(text):
            found = Found()
            search_glob(text, found, _is_input_name)
            self._add_found(found, f"nothing that can be scored matches {text!r}")
            if not found.paths:
                self._add_fault(text, "no picture, shard or table matches this pattern")
        else:
            reason = _missing_reason(path)
            self.notes.append(f"{text!r}: {reason}")
            self._add_fault(text, reason)

    def _add_found(self, found: Found, otherwise: str, hint: str = "") -> None:
        for path in found.paths:
            if path in found.faults:
                self.anything = True
                self._add_fault(path, found.faults[path])
            else:
                self._add_file(path)
        self.skipped.update(found.skipped)
        if not found.paths:
            self.notes.append(otherwise + _seen(found.skipped) + hint)

    def _add_file(self, path: str) -> None:
        self.anything = True
        key = self._unique(utf8_text(path))
        if is_shard_name(path):
            self.entries.append(_Entry("shard", path, key))
        elif is_table_name(path):
            self._add_table(path, key)
        else:
            self.entries.append(_Entry("file", path, key))
            self.rows += 1

    def _add_table(self, path: str, key: str) -> None:
        try:
            stat_file(path)
            column, rows = inspect_table(path, self._column)
        except InputError:
            raise
        except Exception as e:  # pyarrow's errors have no base of their own
            self.entries.append(_Entry("fault", path, key, reason=f"parquet file: {reason_of(e)}"))
            self.rows += 1
            return
        if not rows:
            self.notes.append(f"{path!r} has no rows")
        self.entries.append(_Entry("table", path, key, column=column))
        self.rows += rows

    def _add_fault(self, path: str, reason: str) -> None:
        self.entries.append(_Entry("fault", path, self._unique(utf8_text(path)), reason=reason))
        self.rows += 1


def _is_input_name(name: str) -> bool:
    return is_image_name(name) or is_shard_name(name) or is_table_name(name)


def _exists(path: Path) -> bool:
    try:
        path.lstat()
    except (OSError, ValueError):
        return False
    return True


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _missing_reason(path: Path) -> str:
    try:
        path.lstat()
    except (OSError, ValueError) as e:
        return reason_of(e)
    return ""


def _seen(skipped: Mapping[str, int]) -> str:
    """What a folder without pictures does hold, the most frequent suffixes first."""
    if not skipped:
        return ", and no other files"
    kinds = sorted(skipped.items(), key=lambda kv: (-kv[1], kv[0]))
    said = ", ".join(f"{n:,} {suffix or 'without suffix'}" for suffix, n in kinds[:6])
    rest = f", {sum(n for _, n in kinds[6:]):,} others" if len(kinds) > 6 else ""
    return f", but {said}{rest}"


def _shards_hint(folder: Path, found: Found) -> str:
    """In a folder only images are taken; who has shards there must hear how to name them."""
    for suffix, pattern in ((".tar", "*.tar"), (".tgz", "*.tgz"), (".gz", "*.tar.gz"), (".parquet", "*.parquet")):
        if found.skipped[suffix]:
            return f"; name the shards or tables themselves: {folder / pattern}"
    return ""
