"""Image files: folders, globs, single paths and their keys. Paths are found first; a file is read at its turn."""

import errno
import fnmatch
import glob
import hashlib
import io
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import cast
from unicodedata import normalize

from ..files import is_folder
from ..records import Picture, Status
from ..text import without_secrets
from .remote import FileFacts, is_remote, open_remote, read_remote, stat_remote
from .skipped import HEAD, is_finders, kind_of, starts_as_picture, tells_nothing

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
    ".heic", ".heif", ".hif", ".jxl", ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip
# There is no such file, or a link that leads nowhere or in a circle: it hides no folder.
_NO_FOLDER = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


class UniqueKeys:
    """Makes keys unique, the same in every run: the second `a.jpg` becomes `a.jpg#2`, the third `a.jpg#3`."""

    def __init__(self) -> None:
        self._last: dict[str, int] = {}

    def __call__(self, key: str) -> str:
        n = self._last.get(key, 0) + 1
        unique = key if n == 1 else f"{key}#{n}"
        while n > 1 and unique in self._last:  # an input of that very name came before
            n += 1
            unique = f"{key}#{n}"
        self._last[key] = n
        self._last.setdefault(unique, 1)
        return unique


def is_image_name(name: str) -> bool:
    """Whether a file or member name ends in one of IMAGE_SUFFIXES, in upper or lower case."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


def reason_of(error: BaseException) -> str:
    """The operating system's words for an OSError, else the error's own text or name; without secrets of URLs."""
    words = error.strerror if isinstance(error, OSError) else None
    return without_secrets(words or str(error) or type(error).__name__)


def too_many_bytes(size: int, max_bytes: int) -> str:
    """The reason of a picture that is too large."""
    return f"{size:,} bytes; max_bytes allows {max_bytes:,}"


def stat_file(path: str | os.PathLike[str]) -> os.stat_result | FileFacts:
    """The state of a regular file, here or elsewhere.

    Raises OSError where there is none, or a folder, pipe, socket or device (opening a pipe could wait for ever), and
    ValueError when the path holds a NUL.
    """
    if is_remote(path):
        return stat_remote(str(path))
    info = Path(path).stat()
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file")
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "a pipe, socket or device, not a file")
    return info


def hash_of(path: Path) -> str:
    """SHA-256 of a whole file. Raises OSError where there is none, or it is no regular file."""
    stat_file(path)  # a pipe would be waited for
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def open_file(path: str | os.PathLike[str], *, buffering: int = -1) -> io.BufferedReader:
    """A file, here or elsewhere, open for reading bytes; `buffering` as of `open`. Raises OSError or ValueError."""
    raw = open_remote(str(path)) if is_remote(path) else Path(path).open("rb", buffering)  # noqa: SIM115
    return cast(io.BufferedReader, raw)


def read_file(path: str | os.PathLike[str], key: str, max_bytes: int) -> Picture:
    """One file's bytes, or why there are none: UNREADABLE, or TOO_LARGE unread. Never raises for a bad path."""
    try:
        if is_remote(path):
            data = read_remote(str(path), max_bytes + 1)
        else:
            size = stat_file(path).st_size
            if size > max_bytes:
                return Picture(key, None, Status.TOO_LARGE, too_many_bytes(size, max_bytes))
            with Path(path).open("rb") as f:
                data = f.read(max_bytes + 1)  # the file may have grown since
    except (OSError, ValueError) as e:
        return Picture(key, None, Status.UNREADABLE, reason_of(e))
    if len(data) > max_bytes:
        return Picture(key, None, Status.TOO_LARGE, f"over {max_bytes:,} bytes, which max_bytes allows")
    return Picture(key, data)


@dataclass
class FoundFiles:
    """What a search of folders gave.

    Args:
        paths: files in order.
        faults: why a path among `paths` could not be searched.
        skipped: number of files passed over, by kind.
        leave_out: an absolute folder that is not searched; None for none.
    """

    paths: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)
    leave_out: Path | None = None

    def take(self, path: Path, wanted: Callable[[str], bool]) -> None:
        """Add a file whose name is wanted, or whose first bytes are a picture's where its name tells nothing.

        Any other one is counted as skipped.
        """
        text = str(path)
        named = wanted(path.name) and not is_finders(text)
        if named or (tells_nothing(text) and starts_as_picture(_first_bytes(path))):
            self.paths.append(text)
        else:
            self.skipped[kind_of(text)] += 1

    def give_up(self, path: Path, what: str, error: BaseException) -> None:
        """Add a path that could be a folder with pictures, and cannot be searched."""
        self.paths.append(str(path))
        self.faults[str(path)] = f"{what}: {reason_of(error)}"


def _first_bytes(path: Path) -> bytes:
    """A file's first bytes; b"" where it cannot be read: a name that is not a picture's is no reason to ask for one."""
    try:
        stat_file(path)
        with path.open("rb", buffering=0) as file:
            return file.read(HEAD)
    except (OSError, ValueError):
        return b""


def search_folder(folder: str, found: FoundFiles, wanted: Callable[[str], bool] = is_image_name) -> None:
    """Add the files under `folder` whose name is wanted to `found`, by name, folders in their place among files.

    Links to folders are followed. A folder that was met before (same device and inode) is not entered again, so
    that loops end. What cannot be listed or looked at becomes a path with a fault.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [Path(folder)]
    while waiting:
        path = waiting.pop()
        try:
            at = path.stat()
        except OSError as e:
            if e.errno in _NO_FOLDER or wanted(path.name):  # its row tells why
                found.take(path, wanted)
            else:
                found.give_up(path, "cannot be looked at", e)
            continue
        if not stat.S_ISDIR(at.st_mode):
            found.take(path, wanted)
            continue
        if (at.st_dev, at.st_ino) in entered or path.absolute() == found.leave_out:
            continue
        entered.add((at.st_dev, at.st_ino))
        waiting.extend(path / name for name in reversed(_names_in(path, found)))


def _names_in(folder: Path, found: FoundFiles) -> list[str]:
    """What lies in a folder, sorted; a fault, and nothing, where it cannot be listed."""
    try:
        return sorted(os.listdir(folder))  # noqa: PTH208 - names are wanted, not paths
    except OSError as e:
        found.give_up(folder, "folder cannot be listed", e)
        return []


def search_glob(
    pattern: str,
    found: FoundFiles,
    wanted: Callable[[str], bool] = is_image_name,
    in_folders: Callable[[str], bool] = is_image_name,
) -> None:
    """Add the files that match a pattern with `*`, `?`, `[...]` and `**` to `found`, sorted, once each.

    A folder that matches is searched for names in `in_folders`, as if a shell had expanded the pattern. Leading folders
    that exist under exactly that name are taken literally. Composed and decomposed letters match each other. Without a
    match nothing is added.
    """
    base, rest = _split_pattern(pattern)
    fresh = FoundFiles(leave_out=found.leave_out)
    for path in _match_recursive(base, rest, fresh) if "**" in rest else _match(base, rest, fresh):
        if seen_as_folder(path):
            search_folder(str(path), fresh, in_folders)
        else:
            fresh.take(path, wanted)
    found.paths.extend(sorted(dict.fromkeys(fresh.paths), key=Path) if fresh.faults else dict.fromkeys(fresh.paths))
    found.faults.update(fresh.faults)
    found.skipped.update(fresh.skipped)


def seen_as_folder(path: Path) -> bool:
    """Whether a path is a folder, or a link to one; False where it cannot be looked at."""
    try:
        return is_folder(path)
    except OSError:  # such a place is a file, as dangling links are; read_file tells why it fails
        return False


def _split_pattern(pattern: str) -> tuple[Path, list[str]]:
    """The longest leading folder that exists literally, and the parts after it."""
    parts = Path(pattern).parts
    base = Path()
    for i, part in enumerate(parts[:-1]):
        if not seen_as_folder(base / part):
            return base, list(parts[i:])
        base /= part
    return base, list(parts[-1:])


def _match(base: Path, rest: list[str], found: FoundFiles) -> list[Path]:
    """What matches parts without `**`, sorted. A folder on the way that cannot be searched is a fault of `found`."""
    reached = [base]
    for part in rest:
        after: list[Path] = []
        for folder in reached:
            literal = not glob.has_magic(part)
            try:
                if literal:
                    (folder / part).lstat()
                    after.append(folder / part)
                    continue
            except OSError as e:
                if e.errno not in _NO_FOLDER:
                    found.give_up(folder, "folder cannot be searched", e)
                    continue
            if seen_as_folder(folder) and not (literal and part.isascii()):
                pattern = glob.escape(part) if literal else part
                after += [folder / name for name in _names_in(folder, found) if _fits(name, pattern)]
        reached = after
    return reached


def same_letters(text: str) -> str | None:
    """The one path that differs from `text` only in how its letters are composed, as of a file that came from a Mac."""
    parts = Path(text).parts
    start = Path(text).anchor
    paths = [] if text.isascii() else _match(Path(start), list(parts[bool(start) :]), FoundFiles())
    return str(paths[0]) if len(paths) == 1 else None


def _match_recursive(base: Path, rest: list[str], found: FoundFiles) -> list[Path]:
    """Files that match parts with `**`, or lie in a folder that does. glob's own `**` never leaves a loop of links."""
    first = rest.index("**")
    matched: dict[Path, None] = {}
    for top in _match(base, rest[:first], found):
        every = FoundFiles()
        search_folder(str(top), every, wanted=lambda name: True)
        for path in map(Path, every.paths):
            parts = path.relative_to(top).parts
            if any(_matches(parts[:k], rest[first:]) for k in range(1, len(parts) + 1)):
                matched[path] = None
        found.paths += every.faults
        found.faults |= every.faults
    return [path for path in matched if str(path) not in found.faults]


def _fits(name: str, pattern: str) -> bool:
    """Whether a name fits one part of a pattern; a hidden name needs the dot written out."""
    hidden = name.startswith(".") and not pattern.startswith(".")
    return not hidden and fnmatch.fnmatchcase(normalize("NFC", name), normalize("NFC", pattern))


def _matches(names: tuple[str, ...], pattern: list[str]) -> bool:
    """Whether path parts match pattern parts. `**` is any number of parts; a hidden name needs the dot written out."""
    reached = _skip_stars({0}, pattern)  # places in the pattern to which the names so far can lead
    for name in names:
        after: set[int] = set()
        for i in reached:
            if i == len(pattern):
                continue
            if pattern[i] != "**":
                after |= {i + 1} if _fits(name, pattern[i]) else set()
            elif not name.startswith("."):
                after.add(i)
        reached = _skip_stars(after, pattern)
    return len(pattern) in reached


def _skip_stars(reached: Iterable[int], pattern: list[str]) -> set[int]:
    out = set(reached)
    for i in sorted(out):
        while i < len(pattern) and pattern[i] == "**":
            i += 1
            out.add(i)
    return out
