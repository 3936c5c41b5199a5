"""Files of long runs: written as the rows come, so that a killed run leaves all but its last rows.

While it grows, the file is `<name>.partial`; the end of the run, Ctrl-C and an error too, renames it to its name. Only
a killed process leaves the partial file behind.
"""

import contextlib
import io
from pathlib import Path
from typing import Any

from ..errors import EmonetError, OptionError

SUFFIX = ".partial"


class _Unbuffered(io.FileIO):
    """Writes all or raises. Without a buffer, as one would keep what a full disk refused, and write it again later."""

    def write(self, data: Any, /) -> int:
        rest = memoryview(data).cast("B")
        total = len(rest)
        while len(rest):
            rest = rest[super().write(rest) :]
        return total


class GrowingFile:
    """A file that is readable while it grows: `.file` is open for writing at `.partial`.

    Write whole pieces by `append`, or write to `.file` and call `good()` after each whole piece.

    Args:
        path: The final name.

    Raises:
        OptionError: when the folder is missing or cannot be written, or a killed run's partial file is still there.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.partial = self.path.with_name(self.path.name + SUFFIX)
        if not self.path.parent.is_dir():
            raise OptionError(f"cannot write {path}: there is no folder {self.path.parent}; create it first")
        if self.path.exists() and not self.path.is_file():
            raise OptionError(f"cannot write {path}: it exists and is not a file; give a file's name")
        try:
            self.file = _Unbuffered(self.partial, "x")
        except FileExistsError:
            raise OptionError(
                f"{self.partial} is there already: a run that was killed left its rows in it, or another run writes "
                "it. Move it away first (docs/video.md says how to read it)"
            ) from None
        except OSError as error:
            raise OptionError(
                f"cannot write {path}: {error.strerror or error}; choose a folder that can be written"
            ) from error
        self._good = 0

    def append(self, piece: bytes) -> None:
        """Write a whole piece. Raises EmonetError when the disk refuses; the file then ends before the piece."""
        try:
            self.file.write(piece)
        except OSError as error:
            raise self.failed(error) from error
        self.good()

    def good(self) -> None:
        """Note that everything written so far is whole: a later write that fails falls back to here."""
        self._good = self.file.tell()

    def failed(self, error: OSError) -> EmonetError:
        """Returns the error of a write that failed, and cuts off what it had written of its piece."""
        with contextlib.suppress(OSError):
            self.file.truncate(self._good)
        with contextlib.suppress(OSError):
            self.file.seek(self._good)
        return EmonetError(f"cannot write {self.path}: {error.strerror or error}; what was written before is kept")

    def publish(self) -> None:
        """Close, and rename to the final name. Raises EmonetError when that fails; the partial file then stays."""
        try:
            self.file.close()
            self.partial.replace(self.path)
        except OSError as error:
            raise EmonetError(
                f"cannot rename {self.partial} to {self.path.name}: {error.strerror or error}; "
                "the rows are in the former"
            ) from error

    def discard(self) -> None:
        """Remove the partial file: nothing worth keeping is in it."""
        with contextlib.suppress(OSError):
            self.file.close()
        self.partial.unlink(missing_ok=True)


class GrowingSink:
    """What the growing outputs of a video run share; see TimelineSink."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._growing = GrowingFile(path)

    def close(self) -> None:
        """Put the file in place."""
        self._growing.publish()

    def abort(self) -> None:
        """Remove the file."""
        self._growing.discard()
