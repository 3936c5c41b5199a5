"""Local files for FFmpeg, which reads them through us and can open nothing else by itself.

So a file is read whatever its name looks like, and a playlist, or a script that is called .mp4, reaches neither other
files of this machine nor the network.
"""

import os
import re
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

from ...text import without_secrets
from .structure import Structure, structure_of

# Their format is a list of other files; what is called otherwise may open nothing but itself.
_PLAYLISTS = (".m3u8", ".m3u")
# No protocol of FFmpeg's is called so.
NOTHING = "none"
# Bytes of one read: large enough that waiting for Python's lock does not count, even at 100 Mbit/s.
READ_BYTES = 1 << 18
_WRITE = 2  # AVIO_FLAG_WRITE


class _Beginning(FileIO):
    """The first `size` bytes of a file."""

    size: int | None = None

    def read(self, count: int | None = -1, /) -> bytes:
        if self.size is not None:
            left = max(0, self.size - self.tell())
            count = left if count is None or count < 0 else min(count, left)
        return super().read(count) or b""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        if whence == os.SEEK_END and self.size is not None:
            offset, whence = self.size + offset, os.SEEK_SET
        return super().seek(offset, whence)


class LocalFile:
    """A local file, and for a playlist what lies in or below its folder.

    Args:
        where: its path, or the descriptor of an open file, which is closed with this one.

    Attributes:
        file: what PyAV reads.
        structure: what the file shows of itself; None of what cannot be looked at twice.
    """

    def __init__(self, where: Path | int) -> None:
        self._path = where if isinstance(where, Path) else None
        self.file = _Beginning(where)
        self.structure: Structure | None = None
        self._size = os.fstat(self.file.fileno()).st_size
        if self.file.seekable() and self._size:
            self.structure = structure_of(self.file, self._size)
            self.file.size = self.structure.size if self.structure.size < self._size else None
        # FFmpeg tells formats by a name's ending too, and makes the addresses of a playlist's parts from it.
        self.file.name = "file:-" if self._path is None else f"file:{self._path.absolute()}"

    def part(self, url: str, flags: int, options: Mapping[str, str]) -> FileIO:
        """Open what a playlist names, for PyAV's `io_open`. Raises PermissionError where that is not allowed."""
        path = Path(re.sub(r"^file:(//)?", "", url))
        if self._path is None or self._path.suffix.lower() not in _PLAYLISTS or flags & _WRITE:
            raise PermissionError(1, f"it points to {without_secrets(url)!r}; only a playlist may name other files")
        folder = Path(os.path.realpath(self._path)).parent
        if not Path(os.path.realpath(path)).is_relative_to(folder):
            why = "a local playlist reaches only files in or below its own folder"
            raise PermissionError(1, f"it points to {without_secrets(url)!r}; {why}")
        return FileIO(path)

    def fault(self) -> str:
        """What is wrong with the file by its structure and its size, for people; "" where nothing is."""
        if self.structure is None:
            return ""
        grown = os.fstat(self.file.fileno()).st_size - self._size
        if grown:
            became = "grew" if grown > 0 else "shrank"
            return f"it {became} by {abs(grown):,} bytes while it was read, so something still writes it"
        return self.structure.fault

    def rewind(self) -> None:
        """Begin anew, where that can be done."""
        if self.file.seekable():
            self.file.seek(0)

    def close(self) -> None:
        """May be called twice."""
        self.file.close()
