"""Files that appear whole or not at all: written aside in the same folder, then renamed."""

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, Self

from .errors import EmonetError, OptionError

_SPARE = 64 << 20  # bytes to leave free on the disk; headers of some 100 kB are within it


def keep_apart(outputs: Iterable[Path | None], inputs: Iterable[object] = ()) -> None:
    """Raise OptionError where two outputs are one file, or where an output is an input, which it would replace.

    A file is known by its place on the disk, through links of both kinds. None is a file that nobody wants.

    Args:
        outputs: every file that will be written, with those that come with others, such as x.csv.meta.json.
        inputs: paths of files, among other things.
    """
    taken: dict[object, Path] = {}
    for path in outputs:
        if path is not None:
            place = place_of(path)
            if place in taken:
                both = f"output {str(path)!r} is the same file as output {str(taken[place])!r}"
                raise OptionError(f"{both}; give each its own name")
            taken[place] = path
    for name in inputs if taken else ():
        replaced = taken.get(place_of(name)) if isinstance(name, str | Path) else None
        if replaced is not None:
            raise OptionError(f"output {str(replaced)!r} is an input too: {str(name)!r}; give each file its own name")


def place_of(path: str | Path) -> tuple[int, int] | str:
    """The file's device and number, the same for every link to it; where there is none, its real path."""
    try:
        found = os.stat(path)  # noqa: PTH116 - a Path for each of millions of inputs would double the time
    except (OSError, ValueError):  # ValueError: a NUL in the path
        return os.path.realpath(os.fspath(path).replace("\0", ""))
    return found.st_dev, found.st_ino


def beside(path: Path) -> Path:
    """Where the metadata lies of a file that has no place for it, as a text table."""
    return path.with_name(path.name + ".meta.json")


def files_of(place: str | Path | None, wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
    """The files below a folder whose names are wanted; another name is itself the one file, and None is none."""
    if place is None:
        return []
    path = Path(place)
    return [str(below) for below in path.rglob("*") if wanted(below.name)] if path.is_dir() else [str(place)]


def target_of(path: Path, *, follow: bool = True) -> Path:
    """The file that `path` stands for: where it is a symbolic link, what that points to; without `follow` the link.

    Raises OptionError where it cannot be one: its folder is missing, or it exists and is no file.
    """
    target = Path(os.path.realpath(path)) if follow else Path(os.path.realpath(path.parent), path.name)
    if not is_folder(target.parent):
        raise OptionError(f"cannot write {path}: there is no folder {target.parent}; create it first")
    if target.exists() and (follow or not target.is_symlink()) and not target.is_file():
        raise OptionError(f"cannot write {path}: it exists and is not a file; give a file's name")
    return target


def is_file(path: Path) -> bool:
    """Whether a file is there. Raises OSError where that may not be seen: from Python 3.14 on Path says no then."""
    return _is(path, stat.S_ISREG)


def is_folder(path: Path) -> bool:
    """Whether a folder is there; else as is_file."""
    return _is(path, stat.S_ISDIR)


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    try:
        return kind(path.stat().st_mode)
    except ValueError:  # no name that a system can have
        return False
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
            return False
        raise


@contextlib.contextmanager
def opening(path: Path) -> Iterator[None]:
    """Errors of the disk inside, where a file is opened for writing or its path looked at, become an OptionError."""
    try:
        yield
    except OSError as error:  # looking at the path can fail already, as for names that are too long
        raise OptionError(
            f"cannot write {path}: {error.strerror or error}; choose another name, or a folder that can be written"
        ) from error


class PendingFile:
    """A temporary file `.<name>.<random>.tmp` beside `path`, open for writing bytes as `.file`.

    `finish()` brings every byte to the disk. `publish()` renames the file to `path` and replaces an older one in
    one step. `discard()` removes it and may be called at any time; a `with` block calls it at its end. Where `path`
    is a symbolic link, the link stays, and the file that it points to is replaced; without `follow`, for a name that no
    user gave, the link itself is replaced. Whoever may not write the folder may not write the file, whatever the umask.

    Raises OptionError when the folder is missing or cannot be written, or `path` is a folder; and EmonetError at the
    end of a `with` block in which the disk refused.
    """

    def __init__(self, path: Path, *, follow: bool = True) -> None:
        self.path = path
        with opening(path):
            self._target = target_of(path, follow=follow)
            folder = self._target.parent
            self._temporary = folder / f".{self._target.name}.{secrets.token_hex(4)}.tmp"
            # "x": never another one's file; its mode follows the umask, as tempfile's 0600 would not.
            created = partial(os.open, mode=0o666 & (folder.stat().st_mode | 0o644))
            self.file: BinaryIO = open(self._temporary, "xb", opener=created)  # noqa: SIM115 - Path.open takes none

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.discard()
        if isinstance(error, OSError):
            raise cannot_write(self.path, error) from error

    def finish(self) -> None:
        """Flush, fsync and close. Raises EmonetError if the disk refuses."""
        with writing(self.path):
            self.file.flush()
            os.fsync(self.file.fileno())
            self.file.close()

    def publish(self) -> None:
        """Rename the finished file into place. Raises EmonetError if that fails."""
        with writing(self.path):
            self._temporary.replace(self._target)

    def publish_new(self) -> None:
        """As `publish`, but never over an older file, in one step, whoever else tries it at the same moment.

        Raises FileExistsError when there is one, else EmonetError, as on file systems without hard links.
        """
        with writing(self.path):
            os.link(self._temporary, self._target)

    def hashed(self) -> tuple[str, int]:
        """SHA-256 and size of the finished file as the disk gives it back. Raises EmonetError if it cannot be read."""
        with writing(self.path), self._temporary.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), os.fstat(file.fileno()).st_size

    def discard(self) -> None:
        """Remove the temporary file; nothing happens if it is already published or gone."""
        with contextlib.suppress(OSError):  # closing flushes, and a full disk must not hide the first error
            self.file.close()
        self._temporary.unlink(missing_ok=True)


def check_space(folder: Path, size: int, what: str, kind: type[EmonetError] = EmonetError) -> None:
    """Raise an error of this kind where the disk has not `size` bytes free for `what`, and some to spare.

    folder: may be missing still; then its nearest parent that is there tells.
    """
    there = next(one for one in (folder, *folder.parents) if one.exists())
    needed, free = size + _SPARE, shutil.disk_usage(there).free
    if free < needed:
        raise kind(
            f"{folder} has {free / 1e9:.2f} GB free; expected at least {needed / 1e9:.2f} GB for {what}. Make room, or "
            "choose another folder."
        )


def check_new_folder(path: Path) -> None:
    """Raise OptionError where `path` exists and is not an empty folder: `new_folder` would replace something."""
    if path.is_dir() and any(path.iterdir()):
        raise OptionError(f"{path} exists and is not empty; give a new folder, or remove it first")
    if path.exists() and not path.is_dir():
        raise OptionError(f"{path} is a file; expected a new or an empty folder")


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes `path` at the end; where anything fails nothing of it stays.

    Raises OptionError as `check_new_folder` does.
    """
    check_new_folder(path)
    with opening(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent))
    try:
        yield unfinished
        unfinished.chmod(0o755)  # mkdtemp makes private folders
        unfinished.rename(path)  # replaces an empty folder, refuses a filled one
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Errors of the disk inside become an EmonetError; only FileExistsError passes."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise cannot_write(path, error) from error


class ScratchFile:
    """Bytes that are needed for a while: a temporary file without a name. Close it, which removes it.

    What the disk refuses becomes an EmonetError that names the folder, and closing raises nothing.

    Args:
        in_memory: bytes that stay in memory before any go to the disk.
    """

    def __init__(self, in_memory: int = 0) -> None:
        with writing(Path(tempfile.gettempdir())):
            # closed by `close`
            self._file: IO[bytes] = (
                tempfile.SpooledTemporaryFile(in_memory) if in_memory else tempfile.TemporaryFile()  # noqa: SIM115
            )

    def write(self, data: bytes) -> None:
        with writing(Path(tempfile.gettempdir())):
            self._file.write(data)

    def from_start(self) -> IO[bytes]:
        """The file with all that was written, to be read from its beginning."""
        with writing(Path(tempfile.gettempdir())):
            self._file.seek(0)  # which writes out what is still in a buffer
        return self._file

    def close(self) -> None:
        """Remove the file."""
        with contextlib.suppress(OSError):  # of what nobody reads any more
            self._file.close()


def sync_folder(folder: Path) -> None:
    """Bring a folder's entries, and so renames into it, to the disk, where the file system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder that may be written but not read
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # what file systems without it answer
            raise cannot_write(folder, error) from error
    finally:
        os.close(handle)


def cannot_write(path: Path, error: OSError) -> EmonetError:
    """The error of a write that failed midway."""
    return EmonetError(
        f"cannot write {path}: {error.strerror or error}; "
        "nothing was changed there, and the unfinished temporary file is removed"
    )


def write_whole(path: Path, data: bytes, *, follow: bool = True) -> None:
    """Write a file that appears whole or not at all. Takes and raises what PendingFile does."""
    with PendingFile(path, follow=follow) as pending:
        pending.file.write(data)
        pending.finish()
        pending.publish()
