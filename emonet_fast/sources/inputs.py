"""What a user named as input: files of folders, globs, tar shards and parquet tables, and one stream of pictures."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal

from ..errors import InputError, OptionError
from ..options import Options
from ..records import Picture, Status
from ..text import utf8_text, without_secrets
from .folder import (
    FoundFiles,
    UniqueKeys,
    is_image_name,
    read_file,
    reason_of,
    same_letters,
    search_folder,
    search_glob,
    seen_as_folder,
)
from .lists import expand, list_of
from .remote import is_remote, list_remote
from .shards import is_shard_name, read_shard
from .skipped import NO_COLUMN, NO_FILES, NO_ROWS, is_finders, kind_of, skipped_text
from .table import NoImageColumnError, TableFooter, is_table_name, read_footer, read_table

# Inputs that an error names at most: a list may have a million.
_NOTED = 20


@dataclass(frozen=True, slots=True)
class InputFile:
    """One file to read, as the listing of inputs found it.

    Args:
        kind: "file" for an image, "shard" for a tar, "table" for a parquet file.
        path: where the file is.
        key: unique in a run.
        fault: why the file cannot be read; "" if nothing is known against it.
        footer: of a readable table, else None.
    """

    kind: Literal["file", "shard", "table"]
    path: str
    key: str
    fault: str = ""
    footer: TableFooter | None = None


def list_files(
    text: str, in_folders: Callable[[str], bool], in_globs: Callable[[str], bool], leave_out: Path | None = None
) -> FoundFiles | None:
    """The files that one input names; None where it is neither a path that exists nor a pattern.

    A path that exists is taken literally, also if its name holds `*`, `?` or `[`. A file that is named explicitly is
    taken whatever its suffix; `in_folders` and `in_globs` say which other names are taken. The folder `leave_out` is
    not searched. Raises InputError for an empty text, which as a path would be the working folder.
    """
    if not text:
        raise InputError("an empty text came as an input; is a variable unset?")
    found = FoundFiles(leave_out=None if leave_out is None else leave_out.absolute())
    if is_remote(text):
        return _list_remote(text, found, in_folders, in_globs)
    if not os.path.lexists(text) and glob.has_magic(text) and "\0" not in text:
        search_glob(text, found, in_globs, in_folders)
        return found
    path = text if os.path.lexists(text) else same_letters(text)
    if path is None:
        return None
    if seen_as_folder(Path(path)):
        search_folder(path, found, in_folders)
    else:
        found.paths.append(path)
    return found


def _list_remote(
    url: str, found: FoundFiles, in_folders: Callable[[str], bool], in_globs: Callable[[str], bool]
) -> FoundFiles | None:
    try:
        files = list_remote(url)
    except (OSError, ValueError) as error:  # it may hold pictures
        found.paths.append(url)
        found.faults[url] = f"cannot be listed: {reason_of(error)}"
        return found
    for name, below in files or ():
        wanted = in_folders if below else in_globs
        if name == url or (wanted(name) and not is_finders(name)):
            found.paths.append(name)
        else:
            found.skipped[kind_of(name)] += 1
    return None if files is None else found


def is_input_name(name: str) -> bool:
    """Whether a file name is that of an image, a tar shard or a parquet file."""
    return is_image_name(name) or is_shard_name(name) or is_table_name(name)


def key_of(path: str) -> str:
    """A file's key: its path or URL, as every output can hold it, without secrets."""
    return utf8_text(without_secrets(path) if is_remote(path) else path)


def inspect_file(path: str, key: str, image_column: str | None) -> InputFile:
    """A file by its name, and a table by its footer. A table that cannot be read has a fault.

    Raises NoImageColumnError when a table has no image column, and InputError when it has several.
    """
    if is_shard_name(path):
        return InputFile("shard", path, key)
    if not is_table_name(path):
        return InputFile("file", path, key)
    try:
        return InputFile("table", path, key, footer=read_footer(path, image_column))
    except InputError:
        raise
    except Exception as error:  # pyarrow's errors have no base of their own
        return InputFile("table", path, key, fault=f"parquet file: {reason_of(error)}")


class Inputs:
    """Pictures of folders, globs, tar shards, parquet files and image files, in the order given.

    Can be iterated again. Paths are held, pictures are not. In folders only image files are taken, in globs shards and
    tables too. A table without an image column is skipped. A missing file, and a glob without a match, are UNREADABLE
    pictures as long as another input was found. Keys are unique: where an input is given again, its second keys are
    `path#2`.

    Args:
        inputs: what the user named.
        options: for the largest picture that is read.
        image_column: of parquet files; None to find it by type.

    Attributes:
        total: number of pictures; None where a tar shard makes it unknown before reading.
        skipped: how many of what the inputs hold are no rows, by kind. Members of tars are counted as they are passed
            over, by the last iteration.
        notes: inputs that were not found or gave nothing, for the text of an error.

    Raises:
        InputError: when no input could be found at all, a parquet file has several image columns, or the only inputs
            are parquet files without one.
        OptionError: when image_column is given, but no input is a parquet file.
    """

    def __init__(self, inputs: Sequence[str], options: Options, image_column: str | None = None) -> None:
        if isinstance(inputs, str):
            raise InputError(f"the text {inputs!r} came; expected a sequence of inputs: put it in a list")
        self.skipped: Counter[str] = Counter()
        self.notes: list[str] = []
        self._files: list[InputFile] = []
        self._without_column: list[NoImageColumnError] = []
        self._unique = UniqueKeys()
        self._column, self._max_bytes = image_column, options.max_bytes
        self._lists = [str(named[0]) for text in inputs if (named := list_of(str(text)))]
        exist = False
        for text in chain.from_iterable(expand(str(text)) for text in inputs):
            exist |= self._add(text)
        if not exist:
            raise InputError("no pictures found: " + ("; ".join(self.notes[:_NOTED]) or "no input was given"))
        asked_in_vain = image_column is not None and not any(file.footer for file in self._files)
        if self._without_column and (asked_in_vain or all(file.fault for file in self._files)):
            raise self._without_column[0]
        if asked_in_vain:
            raise OptionError(f"image_column is {image_column!r}, but no input is a readable parquet file")
        shards = any(file.kind == "shard" for file in self._files)
        self.total = None if shards else sum(sum(f.footer.groups) if f.footer else 1 for f in self._files)
        self._listed = Counter(self.skipped)

    def __iter__(self) -> Iterator[Picture]:
        self.skipped.clear()
        self.skipped.update(self._listed)
        for file in self._files:
            if file.fault:
                yield Picture(file.key, None, Status.UNREADABLE, file.fault)
            elif file.kind == "shard":
                yield from read_shard(file.path, file.key, self._max_bytes, self.skipped)
            elif file.footer is not None:
                yield from read_table(file.path, file.key, file.footer.column, self._max_bytes)
            else:
                yield read_file(file.path, file.key, self._max_bytes)

    def paths(self) -> Iterator[str]:
        """The files that are read, lists among them, and those that were named but cannot be."""
        return chain(self._lists, (file.path for file in self._files))

    def _add(self, text: str) -> bool:
        """Take the files of one input; whether there are any."""
        found = list_files(text, is_image_name, is_input_name)
        if found is None:
            reason = "no such file there" if is_remote(text) else read_file(text, text, self._max_bytes).reason
            self.notes.append(f"{text!r}: {reason}")
            self._add_fault(text, reason)
            return False
        for path in found.paths:
            if path in found.faults:
                self._add_fault(path, found.faults[path])
                continue
            path = path if is_remote(path) else str(Path(path))
            try:
                file = inspect_file(path, self._unique(key_of(path)), self._column)
            except NoImageColumnError as error:
                self._without_column.append(error)
                self.skipped[NO_COLUMN] += 1
                continue
            self._files.append(file)
            if file.footer is not None and not sum(file.footer.groups):
                self.skipped[NO_ROWS] += 1
        self.skipped.update(found.skipped)
        if not found.paths:
            self._note_empty(text, found)
        return bool(found.paths)

    def _note_empty(self, text: str, found: FoundFiles) -> None:
        """Say that a folder or glob gave nothing."""
        if seen_as_folder(Path(text)):
            hint = _shards_hint(Path(text), found)
            self.notes.append(f"folder {text!r} has no image files{_seen(found.skipped)}{hint}")
            self.skipped[NO_FILES] += not found.skipped
        else:
            self.notes.append(f"nothing that can be scored matches {text!r}{_seen(found.skipped)}")
            self._add_fault(text, "no picture, shard or table matches this pattern")

    def _add_fault(self, path: str, reason: str) -> None:
        self._files.append(InputFile("file", path, self._unique(key_of(path)), fault=reason))


def _seen(skipped: Mapping[str, int]) -> str:
    """What a folder without pictures does hold."""
    return f"; {skipped_text(skipped)}" if skipped else ", and no other files"


def _shards_hint(folder: Path, found: FoundFiles) -> str:
    """In a folder only images are taken; who has shards there must hear how to name them."""
    for suffix, pattern in ((".tar", "*.tar"), (".tgz", "*.tgz"), (".gz", "*.tar.gz"), (".parquet", "*.parquet")):
        if found.skipped[suffix]:
            return f"; name the shards or tables themselves: {folder / pattern}"
    return ""
