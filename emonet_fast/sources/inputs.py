"""What a user named as input: files of folders, globs, tar shards and parquet tables, and one stream of pictures."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import InputError, OptionError
from ..options import Options
from ..records import Picture, Status
from ..scores import utf8_text
from .folder import (
    FoundFiles,
    UniqueKeys,
    is_folder,
    is_image_name,
    read_file,
    reason_of,
    search_folder,
    search_glob,
    stat_file,
)
from .shards import is_shard_name, read_shard
from .table import TableFooter, is_table_name, read_footer, read_table


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read, as the listing of inputs found it.

    Args:
        kind: "file" for an image, "shard" for a tar, "table" for a parquet file.
        path: where the file is.
        key: unique in a run.
        size: bytes of a shard or table; 0 for an image, and where the size is unknown.
        fault: why the file cannot be read; "" if nothing is known against it.
        footer: of a readable table, else None.
    """

    kind: Literal["file", "shard", "table"]
    path: str
    key: str
    size: int = 0
    fault: str = ""
    footer: TableFooter | None = None


def list_files(text: str, in_folders: Callable[[str], bool], in_globs: Callable[[str], bool]) -> FoundFiles | None:
    """The files that one input names; None where it is neither a path that exists nor a pattern.

    A path that exists is taken literally, also if its name holds `*`, `?` or `[`. A file that is named explicitly is
    taken whatever its suffix; `in_folders` and `in_globs` say which other names are taken. Raises InputError for an
    empty text, which as a path would be the working folder.
    """
    if not text:
        raise InputError("an empty text came as an input; is a variable unset?")
    found = FoundFiles()
    if is_folder(Path(text)):
        search_folder(text, found, in_folders)
    elif os.path.lexists(text):
        found.paths.append(text)
    elif glob.has_magic(text):
        search_glob(text, found, in_globs)
    else:
        return None
    return found


def is_input_name(name: str) -> bool:
    """Whether a file name is that of an image, a tar shard or a parquet file."""
    return is_image_name(name) or is_shard_name(name) or is_table_name(name)


def inspect_file(path: str, key: str, image_column: str | None) -> InputFile:
    """A file by its name, and a table by its footer. A table that cannot be read has a fault.

    Raises InputError when a table's image column is missing or ambiguous.
    """
    if is_shard_name(path):
        return InputFile("shard", path, key, _size(path))
    if not is_table_name(path):
        return InputFile("file", path, key)
    try:
        return InputFile("table", path, key, stat_file(path).st_size, footer=read_footer(path, image_column))
    except InputError:
        raise
    except Exception as error:  # pyarrow's errors have no base of their own
        return InputFile("table", path, key, fault=f"parquet file: {reason_of(error)}")


def _size(path: str) -> int:
    try:
        return stat_file(path).st_size
    except (OSError, ValueError):  # its row will say so
        return 0


class Inputs:
    """Pictures of folders, globs, tar shards, parquet files and image files, in the order given.

    Can be iterated again. Paths are held, pictures are not. In folders only image files are taken, in globs shards and
    tables too. A missing file, and a glob without a match, are UNREADABLE pictures as long as another input was found.
    Keys are unique: where an input is given again, its second keys are `path#2`.

    Args:
        inputs: what the user named.
        options: for the largest picture that is read.
        image_column: of parquet files; None to find it by type.

    Attributes:
        total: number of pictures; None where a tar shard makes it unknown before reading.
        skipped: number of files in folders and globs that are no pictures, by lower-case suffix.
        notes: inputs that gave nothing, for people.

    Raises:
        InputError: when no input could be found at all, or a parquet file's image column is missing or ambiguous.
        OptionError: when image_column is given, but no input is a parquet file.
    """

    def __init__(self, inputs: Sequence[str], options: Options, image_column: str | None = None) -> None:
        if isinstance(inputs, str):
            raise InputError(f"the text {inputs!r} came; expected a sequence of inputs: put it in a list")
        self.skipped: Counter[str] = Counter()
        self.notes: list[str] = []
        self._files: list[InputFile] = []
        self._unique = UniqueKeys()
        self._column, self._max_bytes = image_column, options.max_bytes
        exist = [self._add(str(text)) for text in inputs]
        if not any(exist):
            raise InputError("no pictures found: " + ("; ".join(self.notes) or "no input was given"))
        if image_column is not None and not any(file.footer for file in self._files):
            raise OptionError(f"image_column is {image_column!r}, but no input is a readable parquet file")
        shards = any(file.kind == "shard" for file in self._files)
        self.total = None if shards else sum(sum(f.footer.groups) if f.footer else 1 for f in self._files)

    def __iter__(self) -> Iterator[Picture]:
        for file in self._files:
            if file.fault:
                yield Picture(file.key, None, Status.UNREADABLE, file.fault)
            elif file.kind == "shard":
                yield from read_shard(file.path, file.key, self._max_bytes)
            elif file.footer is not None:
                yield from read_table(file.path, file.key, file.footer.column, self._max_bytes)
            else:
                yield read_file(file.path, file.key, self._max_bytes)

    def paths(self) -> Iterator[str]:
        """The files that are read, and those that were named but cannot be."""
        return (file.path for file in self._files)

    def _add(self, text: str) -> bool:
        """Take the files of one input; whether there are any."""
        found = list_files(text, is_image_name, is_input_name)
        if found is None:
            reason = read_file(text, text, self._max_bytes).reason
            self.notes.append(f"{text!r}: {reason}")
            self._add_fault(text, reason)
            return False
        for path in found.paths:
            if path in found.faults:
                self._add_fault(path, found.faults[path])
                continue
            path = str(Path(path))
            file = inspect_file(path, self._unique(utf8_text(path)), self._column)
            self._files.append(file)
            if file.footer is not None and not sum(file.footer.groups):
                self.notes.append(f"{path!r} has no rows")
        self.skipped.update(found.skipped)
        if not found.paths:
            self._note_empty(text, found)
        return bool(found.paths)

    def _note_empty(self, text: str, found: FoundFiles) -> None:
        """Say that a folder or glob gave nothing."""
        if is_folder(Path(text)):
            hint = _shards_hint(Path(text), found)
            self.notes.append(f"folder {text!r} has no image files{_seen(found.skipped)}{hint}")
        else:
            self.notes.append(f"nothing that can be scored matches {text!r}{_seen(found.skipped)}")
            self._add_fault(text, "no picture, shard or table matches this pattern")

    def _add_fault(self, path: str, reason: str) -> None:
        self._files.append(InputFile("file", path, self._unique(utf8_text(path)), fault=reason))


def _seen(skipped: Mapping[str, int]) -> str:
    """What a folder without pictures does hold, the most frequent suffixes first."""
    if not skipped:
        return ", and no other files"
    kinds = sorted(skipped.items(), key=lambda kv: (-kv[1], kv[0]))
    frequent = ", ".join(f"{n:,} {suffix or 'without suffix'}" for suffix, n in kinds[:6])
    rest = f", {sum(n for _, n in kinds[6:]):,} others" if len(kinds) > 6 else ""
    return f", but {frequent}{rest}"


def _shards_hint(folder: Path, found: FoundFiles) -> str:
    """In a folder only images are taken; who has shards there must hear how to name them."""
    for suffix, pattern in ((".tar", "*.tar"), (".tgz", "*.tgz"), (".gz", "*.tar.gz"), (".parquet", "*.parquet")):
        if found.skipped[suffix]:
            return f"; name the shards or tables themselves: {folder / pattern}"
    return ""
