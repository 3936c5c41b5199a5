"""What a bulk run's inputs hold: tables by their footers, tars and image files by their names. Nothing is decoded."""

import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..datasets.reader import class_names, open_dataset
from ..errors import DataError, InputError
from ..scores import utf8_text
from ..sources.folder import (
    Found,
    has_wildcards,
    is_image_name,
    reason_of,
    search_folder,
    search_glob,
    stat_file,
)
from ..sources.keys import UniqueKeys
from ..sources.shards import is_shard_name
from ..sources.table import choose_column, is_table_name, open_table

if TYPE_CHECKING:
    import pyarrow

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_READERS = 8  # footers of many files on a network file system are read side by side


@dataclass(frozen=True, slots=True)
class TableFile:
    """A parquet file: what its footer says. path: absolute. groups: rows of each row group."""

    path: str
    key: str
    size: int
    column: str
    groups: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class OneFile:
    """A tar shard, an image file, or something that cannot be read (fault says why)."""

    path: str
    key: str
    size: int = 0
    fault: str = ""


@dataclass
class Listing:
    """Everything found, each kind sorted by path. keep: type of each kept column, by name, in the order asked."""

    tables: list[TableFile] = field(default_factory=list)
    tars: list[OneFile] = field(default_factory=list)
    files: list[OneFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    keep: "dict[str, pyarrow.DataType]" = field(default_factory=dict)


def canonical(text: str) -> str:
    """An input as the plan keeps it: a path as an absolute one, a hub id as it is."""
    return text if _is_hub_id(text) else str(Path(text).absolute())


def find(
    inputs: Sequence[str],
    image_column: str | None = None,
    keep: Sequence[str] = (),
    *,
    leave_out: Path | None = None,
    cache_dir: Path | None = None,
) -> Listing:
    """List what `inputs` name. leave_out: a folder whose files are no input (the output). cache_dir: where the commits
    of data sets from the hub are pinned.

    A file that several inputs name is taken once. A parquet file whose footer is damaged becomes one entry of `files`
    with its fault, so that it gets a row that says so.

    Raises:
        InputError: an input does not exist or holds nothing, a table's image column is missing or ambiguous (the text
            lists its columns), or a kept column is not in every table, or of several types.
    """
    paths: dict[str, tuple[str, str]] = {}  # absolute path -> (as given, fault)
    for text in inputs:
        found = _expand(str(text), cache_dir)
        fresh = [p for p in found.paths if leave_out is None or not _inside(p, leave_out)]
        if not fresh:
            raise InputError(f"{text!r} holds no image files, tar shards or parquet files")
        for path in fresh:
            given = _hub_key(text, path) if _is_hub_id(text) else path
            paths.setdefault(str(Path(path).absolute()), (given, found.faults.get(path, "")))
    return _sort_out(paths, image_column, keep)


def _sort_out(paths: dict[str, tuple[str, str]], image_column: str | None, keep: Sequence[str]) -> Listing:
    listing, unique = Listing(), UniqueKeys()
    tables: list[tuple[str, str]] = []
    for path in sorted(paths):
        given, fault = paths[path]
        key = unique(utf8_text(given))
        if fault:
            listing.files.append(OneFile(path, key, fault=fault))
        elif is_table_name(path):
            tables.append((path, key))
        elif is_shard_name(path):
            listing.tars.append(OneFile(path, key, _size(path)))
        else:
            listing.files.append(OneFile(path, key))
    _add_tables(listing, tables, image_column, keep)
    listing.files.sort(key=lambda f: f.path)
    return listing


def _add_tables(listing: Listing, tables: list[tuple[str, str]], image_column: str | None, keep: Sequence[str]) -> None:
    types: dict[str, pyarrow.DataType] = {}
    with ThreadPoolExecutor(_READERS) as pool:
        for entry, kept in pool.map(lambda table: _inspect(table[0], table[1], image_column, keep), tables):
            if isinstance(entry, OneFile):
                listing.files.append(entry)
                listing.notes.append(f"{entry.key}: {entry.fault}; it gets one row that says so")
                continue
            listing.tables.append(entry)
            for name, kind in kept.items():
                if types.setdefault(name, kind) != kind:
                    raise InputError(f"column {name!r} to keep is {kind} in {entry.key}, but {types[name]} before it")
    if keep and not listing.tables:
        raise InputError(f"columns {', '.join(keep)} are to be kept, but no input is a readable parquet file")
    listing.keep = {name: types[name] for name in keep}


def _inspect(
    path: str, key: str, image_column: str | None, keep: Sequence[str]
) -> "tuple[TableFile | OneFile, dict[str, pyarrow.DataType]]":
    try:
        size = stat_file(path).st_size
        with open_table(path) as file:
            schema, metadata = file.schema_arrow, file.metadata
            column = choose_column(schema, image_column, path)
            groups = tuple(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups))
    except InputError:
        raise
    except Exception as error:  # pyarrow's errors have no base of their own
        return OneFile(path, key, fault=f"parquet file: {reason_of(error).splitlines()[0]}"), {}
    return TableFile(path, key, size, column, groups), _kept_types(schema, path, keep)


def _kept_types(schema: "pyarrow.Schema", path: str, keep: Sequence[str]) -> "dict[str, pyarrow.DataType]":
    """Each kept column's type as it will be written: class labels as their names."""
    import pyarrow as pa

    if not keep:
        return {}
    missing = [name for name in keep if schema.names.count(name) != 1]
    if missing:
        raise InputError(f"{path} has no single column {missing[0]!r} to keep; its columns: {', '.join(schema.names)}")
    try:
        labels = class_names(schema, Path(path))
    except DataError as error:
        raise InputError(str(error)) from None
    return {name: pa.string() if name in labels else schema.field(name).type for name in keep}


def _expand(text: str, cache_dir: Path | None) -> Found:
    found = Found()
    path = Path(text)
    if _is_hub_id(text):
        try:
            found.paths.extend(map(str, open_dataset(text, cache_dir=cache_dir).files))
        except DataError as error:
            raise InputError(str(error)) from None
    elif path.is_dir():
        search_folder(text, found, _wanted)
    elif os.path.lexists(path):
        found.paths.append(text)
    elif has_wildcards(text):
        search_glob(text, found, _wanted)
    else:
        raise InputError(f"there is no file or folder {text!r}; name one, a pattern, or a data set's hub id")
    return found


def _is_hub_id(text: str) -> bool:
    other: tuple[Callable[[str], bool], ...] = (is_image_name, is_shard_name, is_table_name, os.path.lexists)
    return _HUB_ID.fullmatch(text) is not None and not any(fits(text) for fits in other)


def _hub_key(name: str, path: str) -> str:
    """The key of a downloaded file: its place in the repository, not in this machine's cache."""
    parts = Path(path).parts
    inside = parts[len(parts) - parts[::-1].index("snapshots") + 1 :] if "snapshots" in parts else parts[-1:]
    return "/".join((name, *inside))


def _wanted(name: str) -> bool:
    return is_image_name(name) or (not name.startswith(".") and (is_shard_name(name) or is_table_name(name)))


def _inside(path: str, folder: Path) -> bool:
    return Path(path).absolute().is_relative_to(folder.absolute())


def _size(path: str) -> int:
    try:
        return stat_file(path).st_size
    except (OSError, ValueError):  # its row will say so
        return 0
