"""What a bulk run's inputs hold: tables by their footers, tars and image files by their names. Nothing is decoded."""

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from ..datasets import open_dataset
from ..datasets.reader import class_names
from ..errors import DataError, InputError
from ..sources.embeddings import Embeddings
from ..sources.folder import FoundFiles, UniqueKeys, is_image_name
from ..sources.inputs import InputFile, inspect_file, is_input_name, key_of, list_files
from ..sources.lists import expand, list_of
from ..sources.remote import is_remote
from ..sources.skipped import NO_COLUMN, NO_ROWS, skipped_text
from ..sources.table import NoImageColumnError, TableFooter, open_table
from ..text import without_secrets
from .state import FileState, kind_of_state, state_of

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_READERS = 8  # footers of many files on a network file system are read side by side


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of the inputs as it was when the plan was made.

    Args:
        path: where it is.
        key: unique in a run.
        fault: why it cannot be read; "" if nothing is known against it.
        state: what tells whether it has changed since.
    """

    path: str
    key: str
    fault: str
    state: FileState


@dataclass
class Listing:
    """Everything that the inputs hold, each kind sorted by its absolute path.

    Args:
        tables: readable parquet files with their footers.
        tars: tar shards.
        files: image files, and whatever cannot be read.
        notes: what a user must know.
        skipped: how many of what the inputs hold are no rows, by kind; members of tars are not known yet.
        keep: type of each kept column by name, in the order asked for.
        stored: where `tables` are stored embeddings, NumPy files among them, what they say of themselves
            (Embeddings.facts); then nothing else is there.
    """

    tables: list[tuple[PlannedFile, TableFooter]] = field(default_factory=list)
    tars: list[PlannedFile] = field(default_factory=list)
    files: list[PlannedFile] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    keep: dict[str, pa.DataType] = field(default_factory=dict)
    stored: Mapping[str, str] | None = None


def canonical(text: str) -> str:
    """An input as the plan keeps it: a path as an absolute one, a hub id and a URL as it is.

    Raises InputError for a URL with a secret, which the plan would keep for everybody to read.
    """
    if is_remote(text) and without_secrets(text) != text:
        raise InputError(
            f"{without_secrets(text)} came with a password or token, and the plan of a run keeps its inputs; give "
            "credentials by the environment instead (docs/inputs.md)"
        )
    named = list_of(text)
    if named is not None:
        return f"@{named[0].absolute()}" + (f":{named[1]}" if named[1] else "")
    return text if _is_hub_id(text) or is_remote(text) else str(Path(text).absolute())


def find(
    inputs: Sequence[str],
    image_column: str | None = None,
    keep: Sequence[str] = (),
    *,
    leave_out: Path | None = None,
    cache_dir: Path | None = None,
) -> Listing:
    """List what `inputs` name. A file that several inputs name is taken once, files in the folder `leave_out` never.

    A parquet file whose footer is damaged becomes one of `files` with its fault, so that it gets a row that says so. A
    table without an image column is skipped. Raises InputError when an input holds nothing, such tables are all there
    is, a table has several image columns, or a kept column is not in every table or has several types.
    """
    skipped: Counter[str] = Counter()
    paths: dict[str, tuple[str, str]] = {}  # absolute path -> (as it was named, fault)
    for text, listed in ((text, list_of(str(name)) is not None) for name in inputs for text in expand(str(name))):
        found = _find_one(text, listed, cache_dir, leave_out)
        skipped.update(found.skipped)
        fresh = found.paths
        if leave_out is not None:
            fresh = [p for p in fresh if not Path(p).absolute().is_relative_to(leave_out.absolute())]
        if not fresh:
            seen = f"; {skipped_text(found.skipped)}" if found.skipped else ""
            raise InputError(f"{text!r} holds no image files, tar shards or parquet files{seen}")
        for path in fresh:
            name = _hub_key(text, path) if _is_hub_id(text) and not listed else path
            place = path if is_remote(path) else str(Path(path).absolute())
            paths.setdefault(place, (name, found.faults.get(path, "")))
    listing = Listing(skipped=skipped)
    _sort_out(listing, paths, image_column)
    listing.keep = _kept_types(listing.tables, keep)
    return listing


def find_stored(embeddings: Embeddings, keep: Sequence[str] = ()) -> Listing:
    """List files of stored embeddings, as `find` lists pictures. Raises InputError for columns that are not there."""
    unique, listing = UniqueKeys(), Listing(stored=embeddings.facts, notes=list(embeddings.notes))
    for file in sorted(embeddings.files, key=lambda one: one.path):
        place = file.path if is_remote(file.path) else str(Path(file.path).absolute())
        planned = PlannedFile(place, unique(key_of(file.path)), "", _state(place))
        footer = TableFooter(pa.schema([]), "", (file.rows,))
        if file.column is not None:
            with open_table(place) as table:
                groups = tuple(table.metadata.row_group(i).num_rows for i in range(table.num_row_groups))
                footer = TableFooter(table.schema_arrow, file.column, groups)
        listing.tables.append((planned, footer))
    listing.keep = _kept_types(listing.tables, keep)
    return listing


def _sort_out(listing: Listing, paths: dict[str, tuple[str, str]], image_column: str | None) -> None:
    """Look at each path, and add it to its kind."""
    unique = UniqueKeys()
    named = [(path, unique(key_of(paths[path][0])), paths[path][1]) for path in sorted(paths)]

    def look(path: str, key: str, fault: str) -> tuple[FileState, InputFile | NoImageColumnError]:
        state = _state(path)  # before the footer is read: what changes in between counts as changed
        try:
            return state, InputFile("file", path, key, fault=fault) if fault else inspect_file(path, key, image_column)
        except NoImageColumnError as error:
            return state, error

    without: list[NoImageColumnError] = []
    with ThreadPoolExecutor(_READERS) as pool:
        for state, file in pool.map(look, *zip(*named, strict=True)):
            if isinstance(file, NoImageColumnError):
                without.append(file)
                continue
            planned = PlannedFile(file.path, file.key, file.fault.partition("\n")[0], state)
            if file.footer is not None:
                listing.tables.append((planned, file.footer))
                listing.skipped[NO_ROWS] += not sum(file.footer.groups)
            elif file.kind == "shard":
                listing.tars.append(planned)
            else:
                listing.files.append(planned)
                if file.kind == "table":
                    listing.notes.append(f"{file.key}: {planned.fault}; it gets one row that says so")
    nothing_else = not (listing.tables or listing.tars or any(not file.fault for file in listing.files))
    if without and (nothing_else or (image_column is not None and not listing.tables)):
        raise without[0]
    listing.skipped[NO_COLUMN] += len(without)


def _state(path: str) -> FileState:
    try:
        return state_of(path, kind_of_state(path))
    except (OSError, ValueError):  # its row will say so
        return FileState(0)


def _kept_types(tables: Sequence[tuple[PlannedFile, TableFooter]], keep: Sequence[str]) -> dict[str, pa.DataType]:
    """Each kept column's type as it will be written: class labels as their names."""
    if keep and not tables:
        raise InputError(f"columns {', '.join(keep)} are to be kept, but no input is a readable parquet file")
    types: dict[str, pa.DataType] = {}
    for table, footer in tables if keep else ():
        schema = footer.schema
        missing = [name for name in keep if schema.names.count(name) != 1]
        if missing:
            columns = ", ".join(schema.names)
            raise InputError(f"{table.path} has no single column {missing[0]!r} to keep; its columns: {columns}")
        try:
            labels = class_names(schema, Path(table.path))
        except DataError as error:
            raise InputError(str(error)) from None
        for name in keep:
            kind = pa.string() if name in labels else schema.field(name).type
            if types.setdefault(name, kind) != kind:
                raise InputError(f"column {name!r} to keep is {kind} in {table.key}, but {types[name]} before it")
    return types


def _find_one(text: str, listed: bool, cache_dir: Path | None, leave_out: Path | None) -> FoundFiles:
    """The files of an input. What a list names in vain is a row that says so: it must not end a long run."""
    if _is_hub_id(text) and not listed:
        try:
            return FoundFiles([str(path) for path in open_dataset(text, cache_dir=cache_dir).files])
        except DataError as error:
            raise InputError(str(error)) from None
    found = list_files(text, _wanted, _wanted, leave_out)
    if listed:
        return FoundFiles([text], {text: "no such file or folder"}) if found is None or not found.paths else found
    if found is not None and is_remote(text) and found.faults:
        raise InputError(f"{without_secrets(text)}: {found.faults[text]}")
    if found is None:
        raise InputError(f"there is no file or folder {text!r}; name one, a pattern, or a data set's hub id")
    return found


def _is_hub_id(text: str) -> bool:
    return _HUB_ID.fullmatch(text) is not None and not is_input_name(text) and not os.path.lexists(text)


def _hub_key(name: str, path: str) -> str:
    """The key of a downloaded file: its place in the repository, not in this machine's cache."""
    parts = Path(path).parts
    inside = parts[len(parts) - parts[::-1].index("snapshots") + 1 :] if "snapshots" in parts else parts[-1:]
    return "/".join((name, *inside))


def _wanted(name: str) -> bool:
    return is_image_name(name) or (not name.startswith(".") and is_input_name(name))
