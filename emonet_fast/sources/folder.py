"""Image files: folders, globs, single paths and their keys. Paths are found first; a file is read at its turn."""

import errno
import fnmatch
import glob
import os
import stat
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ..records import Picture, Status

IMAGE_SUFFIXES = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif",
    ".ppm", ".pgm", ".pbm", ".pnm",
})  # fmt: skip


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
    """The operating system's words for an OSError, else the error's own text or name."""
    words = error.strerror if isinstance(error, OSError) else None
    return words or str(error) or type(error).__name__


def too_many_bytes(size: int, max_bytes: int) -> str:
    """The reason of a picture that is too large."""
    return f"{size:,} bytes; max_bytes allows {max_bytes:,}"


def stat_file(path: str | os.PathLike[str]) -> os.stat_result:
    """The state of a regular file.

    Raises OSError where there is none, or a folder, pipe, socket or device (opening a pipe could wait for ever), and
    ValueError when the path holds a NUL.
    """
    info = Path(path).stat()
    if stat.S_ISDIR(info.st_mode):
        raise IsADirectoryError(errno.EISDIR, "a folder, not a file")
    if not stat.S_ISREG(info.st_mode):
        raise OSError(errno.EINVAL, "a pipe, socket or device, not a file")
    return info


def read_file(path: str | os.PathLike[str], key: str, max_bytes: int) -> Picture:
    """One file's bytes, or why there are none: UNREADABLE, or TOO_LARGE unread. Never raises for a bad path."""
    try:
        size = stat_file(path).st_size
        if size > max_bytes:
            return Picture(key, None, Status.TOO_LARGE, too_many_bytes(size, max_bytes))
        with Path(path).open("rb") as f:
            data = f.read(max_bytes + 1)  # the file may have grown since
    except (OSError, ValueError) as e:
        return Picture(key, None, Status.UNREADABLE, reason_of(e))
    if len(data) > max_bytes:
        return Picture(key, None, Status.TOO_LARGE, too_many_bytes(len(data), max_bytes))
    return Picture(key, data)


@dataclass
class FoundFiles:
    """What a search of folders gave.

    Args:
        paths: files in order.
        faults: why a folder among `paths` could not be searched.
        skipped: number of files passed over, by lower-case suffix ("" for names without one).
    """

    paths: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    skipped: Counter[str] = field(default_factory=Counter)

    def take(self, path: Path, wanted: Callable[[str], bool]) -> None:
        """Add a file if its name is wanted; count it as skipped otherwise."""
        if wanted(path.name):
            self.paths.append(str(path))
        else:
            self.skipped[path.suffix.lower()] += 1


def search_folder(folder: str, found: FoundFiles, wanted: Callable[[str], bool] = is_image_name) -> None:
    """Add the files under `folder` whose name is wanted to `found`, by name, folders in their place among files.

    Links to folders are followed. A folder that was met before (same device and inode) is not entered again, so
    that loops end. A folder that cannot be listed becomes a path with a fault.
    """
    entered: set[tuple[int, int]] = set()
    waiting = [Path(folder)]
    while waiting:
        path = waiting.pop()
        if not is_folder(path):
            found.take(path, wanted)
            continue
        try:
            at = path.stat()
            if (at.st_dev, at.st_ino) in entered:
                continue
            names = sorted(os.listdir(path))  # noqa: PTH208 - names are wanted, not paths
        except OSError as e:
            found.paths.append(str(path))
            found.faults[str(path)] = f"folder cannot be listed: {reason_of(e)}"
            continue
        entered.add((at.st_dev, at.st_ino))
        waiting.extend(path / name for name in reversed(names))


def search_glob(pattern: str, found: FoundFiles, wanted: Callable[[str], bool] = is_image_name) -> None:
    """Add the files that match a pattern with `*`, `?`, `[...]` and `**` to `found`, sorted, once each.

    A folder that matches is searched, as if a shell had expanded the pattern. Leading folders that exist under
    exactly that name are taken literally. Without a match nothing is added.
    """
    base, rest = _split_pattern(pattern)
    fresh = FoundFiles()
    for path in _match_recursive(base, rest) if "**" in rest else _match(base, rest):
        if is_folder(path):
            search_folder(str(path), fresh)
        else:
            fresh.take(path, wanted)
    found.paths.extend(dict.fromkeys(fresh.paths))
    found.faults.update(fresh.faults)
    found.skipped.update(fresh.skipped)


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, or a link to one; False where it cannot be looked at."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError):  # dangling and looping links are files, read_file tells why they fail
        return False


def _split_pattern(pattern: str) -> tuple[Path, list[str]]:
    """The longest leading folder that exists literally, and the parts after it."""
    parts = Path(pattern).parts
    base = Path()
    for i, part in enumerate(parts[:-1]):
        if not is_folder(base / part):
            return base, list(parts[i:])
        base /= part
    return base, list(parts[-1:])


def _match(base: Path, rest: list[str]) -> list[Path]:
    pattern = str(Path(glob.escape(str(base)), *rest))
    return sorted(Path(n) for n in glob.glob(pattern))  # noqa: PTH207 - Path.glob refuses absolute patterns


def _match_recursive(base: Path, rest: list[str]) -> list[Path]:
    """Files that match parts with `**`, or lie in a folder that does. glob's own `**` never leaves a loop of links."""
    first = rest.index("**")
    matched: dict[Path, None] = {}
    for top in _match(base, rest[:first]) if first else [base]:
        every = FoundFiles()
        search_folder(str(top), every, wanted=lambda name: True)
        for path in map(Path, every.paths):
            parts = path.relative_to(top).parts
            inside = any(_matches(parts[:k], rest[first:]) for k in range(1, len(parts) + 1))
            if inside or str(path) in every.faults:
                matched[path] = None
    return list(matched)


def _matches(names: tuple[str, ...], pattern: list[str]) -> bool:
    """Whether path parts match pattern parts. `**` is any number of parts; a hidden name needs the dot written out."""
    reached = _skip_stars({0}, pattern)  # places in the pattern to which the names so far can lead
    for name in names:
        after: set[int] = set()
        for i in reached:
            if i == len(pattern) or (name.startswith(".") and not pattern[i].startswith(".")):
                continue
            if pattern[i] == "**":
                after.add(i)
            elif fnmatch.fnmatchcase(name, pattern[i]):
                after.add(i + 1)
        reached = _skip_stars(after, pattern)
    return len(pattern) in reached


def _skip_stars(reached: Iterable[int], pattern: list[str]) -> set[int]:
    out = set(reached)
    for i in sorted(out):
        while i < len(pattern) and pattern[i] == "**":
            i += 1
            out.add(i)
    return out
