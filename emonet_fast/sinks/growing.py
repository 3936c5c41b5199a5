"""Files of long runs: written as the rows come, so that a killed run leaves all but its last rows.

While it grows, the file is `<name>.partial`; the end of the run, Ctrl-C and an error too, renames it to its name. Only
a killed process leaves the partial file behind.
"""

import contextlib
import io
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import EmonetError, OptionError
from ..timeline import Timeline

SUFFIX = ".partial"


class _Unbuffered(io.FileIO):
    """Writes all or raises. Without a buffer, as one would keep what a full disk refused, and write it again later."""

    def write(self, data: Any, /) -> int:
        rest = memoryview(data).cast("B")
        total = len(rest)
        while len(rest):
            rest = rest[super().write(rest) :]
        return total


def check_free(path: Path) -> None:
    """Raise OptionError where a run that was killed has left what it wrote for `path`."""
    partial = path.with_name(path.name + SUFFIX)
    if os.path.lexists(partial):
        raise OptionError(
            f"{partial} is there already: a run that was killed left its rows in it, or another run writes "
            "it. Make a file of it by `emonet-fast recover`, or move it away"
        )


class GrowingSink(ABC):
    """One output of a video run, readable while it grows: `.file` is open for writing at `.partial`.

    The attribute `rows` counts the rows written so far.

    Args:
        path: The final name.

    Raises:
        OptionError: when the folder is missing or cannot be written, or a killed run's partial file is still there.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self.partial = path.with_name(path.name + SUFFIX)
        if not path.parent.is_dir():
            raise OptionError(f"cannot write {path}: there is no folder {path.parent}; create it first")
        if path.exists() and not path.is_file():
            raise OptionError(f"cannot write {path}: it exists and is not a file; give a file's name")
        check_free(path)
        try:
            self.file = _Unbuffered(self.partial, "x")
        except OSError as error:
            raise OptionError(
                f"cannot write {path}: {error.strerror or error}; choose a folder that can be written"
            ) from error
        self._whole = 0

    @abstractmethod
    def write(self, timeline: Timeline) -> None:
        """Append some rows, at least one. Raises EmonetError when the disk refuses."""

    @contextlib.contextmanager
    def piece(self) -> Iterator[None]:
        """What is written inside is one whole piece. Raises EmonetError when the disk refuses; the file then ends
        before the piece."""
        try:
            yield
        except OSError as error:
            with contextlib.suppress(OSError):
                self.file.truncate(self._whole)
            with contextlib.suppress(OSError):
                self.file.seek(self._whole)
            raise EmonetError(
                f"cannot write {self.path}: {error.strerror or error}; what was written before is kept"
            ) from error
        self.mark_whole()

    def mark_whole(self) -> None:
        """Note that everything written so far is whole: a later piece that fails falls back to here."""
        self._whole = self.file.tell()

    def close(self) -> None:
        """Rename the file to its final name. Raises EmonetError when that fails; the partial file then stays."""
        try:
            self.file.close()
            self.partial.replace(self.path)
        except OSError as error:
            raise EmonetError(
                f"cannot rename {self.partial} to {self.path.name}: {error.strerror or error}; "
                "the rows are in the former"
            ) from error

    def abort(self) -> None:
        """Remove the partial file: nothing worth keeping is in it."""
        with contextlib.suppress(OSError):
            self.file.close()
        self.partial.unlink(missing_ok=True)
