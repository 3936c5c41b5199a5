"""What a cache may hold for us: files and folders that nobody but this user, or root, can have made or changed."""

import contextlib
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from .errors import EmonetError
from .files import write_whole

# Nobody else may write the folders of a cache, nor the files in them, whatever the umask.
_FOLDER_MODE = 0o755
_OVERFLOW = Path("/proc/sys/kernel/overflowuid")


def foreign(path: Path) -> str | None:
    """Why somebody else can have made or changed a file or folder, or None.

    It, the folders above it and every link on the way must belong to this user or to root, and nobody else may write
    them. In a folder with the sticky bit, as /tmp, only owners can replace what is theirs. Raises FileNotFoundError.
    """
    if not hasattr(os, "geteuid"):
        return None  # Windows: the user's own folders are his by their rights
    for place in _way_to(path):
        status = os.lstat(place)
        if status.st_uid not in (0, os.geteuid()) and (
            not stat.S_ISDIR(status.st_mode) or status.st_uid != _unmapped_root()
        ):
            return f"{place} belongs to another user (number {status.st_uid})"
        if stat.S_ISLNK(status.st_mode) or (stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX):
            continue
        if status.st_mode & stat.S_IWOTH:
            return f"everybody may write {place}"
        if status.st_mode & stat.S_IWGRP and not _group_of_one(status.st_gid):
            return f"its group (number {status.st_gid}) may write {place}"
    return None


def _way_to(path: Path) -> Iterator[Path]:
    """Every folder, link and file that decides what `path` is, and at last itself."""
    seen: set[Path] = set()
    todo = [_absolute(path)]
    while todo:
        end = todo.pop()
        for place in (*reversed(end.parents), end):
            if place not in seen:
                seen.add(place)
                if place.is_symlink():
                    todo.append(_absolute(place.parent / place.readlink()))
                yield place


def _absolute(path: Path) -> Path:
    """An absolute path without ".."; links stay."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.resolve follows links


def _unmapped_root() -> int | None:
    """Whom root's folders seem to belong to in a container that does not know root; None elsewhere."""
    try:
        known = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        return None if any(line[:1] == ["0"] for line in known) else int(_OVERFLOW.read_text())
    except (OSError, ValueError):
        return None


def _group_of_one(number: int) -> bool:
    """Whether it is this user's own group, which many systems give each user."""
    import grp
    import pwd

    try:
        group, name = grp.getgrgid(number), pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return False
    return group.gr_name == name and set(group.gr_mem) <= {name}


def make_own_folder(folder: Path) -> None:
    """Make a folder of a cache, and the folders above it that are missing. Raises OSError."""
    for place in (*reversed(folder.parents), folder):
        if not place.is_dir():
            place.mkdir(_FOLDER_MODE, exist_ok=True)


def make_trusted_folder(folder: Path) -> None:
    """As make_own_folder, for what nobody else may change. Raises OSError, or EmonetError where others may write it."""
    make_own_folder(folder)
    fault = foreign(folder)
    if fault is not None:
        raise EmonetError(f"{fault}; choose another cache folder (--cache-dir)")


def write_own(path: Path, data: bytes) -> None:
    """Write a file of a cache, in a folder that is made where it is missing. Raises as write_whole does, or OSError."""
    make_own_folder(path.parent)
    write_whole(path, data, follow=False)


def mark_used(path: Path) -> None:
    """Note in the file's time of access that it was used now, whatever the file system notes itself."""
    with contextlib.suppress(OSError):
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
