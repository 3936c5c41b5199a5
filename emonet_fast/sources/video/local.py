"""Local files and file objects for FFmpeg, which reads them through us and can open nothing else by itself.

So a file is read whatever its name looks like, and a playlist, or a script that is called .mp4, reaches neither other
files of this machine nor the network.
"""

import os
import re
from collections.abc import Mapping
from io import FileIO
from pathlib import Path
from typing import Any

from ...text import without_secrets
from .structure import Structure, structure_of

# Their format is a list of other files; what is called otherwise may open nothing but itself.
_PLAYLISTS = (".m3u8", ".m3u")
# No protocol of FFmpeg's is called so.
NOTHING = "none"
# Bytes of one read: large enough that waiting for Python's lock does not count, even at 100 Mbit/s.
READ_BYTES = 1 << 18
_WRITE = 2  # AVIO_FLAG_WRITE


class _Reader:
    """What PyAV reads: the first `size` bytes of a file, all where that is None, under a name of ours.

    begin: what was read of a pipe already.
    """

    size: int | None = None
    begin = b""

    def __init__(self, file: Any, name: str) -> None:
        self._file, self.name, self._jumps = file, name, can_seek(file)

    def read(self, count: int) -> bytes:
        if self.size is not None:
            count = min(count, max(0, self.size - self.tell()))
        if self.begin:
            data, self.begin = self.begin[:count], self.begin[count:]
            return data
        data = self._file.read(count)
        if isinstance(data, str):
            raise ValueError("the file was opened as text; open it as bytes, by mode 'rb'")
        return data or b""

    def seekable(self) -> bool:
        return self._jumps

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == os.SEEK_END and self.size is not None:
            offset, whence = self.size + offset, os.SEEK_SET
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())


class LocalFile:
    """A local file, and for a playlist what lies in or below its folder.

    Args:
        where: its path; or the descriptor of an open file, which is closed with this one; or a file object, which stays
            open, and is read from its beginning where it can go back.
        looked_at: whether its structure is looked at; raw frames have none.

    Attributes:
        file: what PyAV reads.
        structure: what the file shows of itself; None of what cannot be looked at twice.
    """

    def __init__(self, where: Any, *, looked_at: bool = True) -> None:
        self._path = where if isinstance(where, Path) else None
        self._own = FileIO(where) if isinstance(where, (Path, int)) else None
        # FFmpeg tells formats by a name's ending too, and makes the addresses of a playlist's parts from it.
        name = "file:-" if self._path is None else f"file:{self._path.absolute()}"
        self.file = _Reader(where if self._own is None else self._own, name)
        self.structure: Structure | None = None
        self._size = self._end()
        if self._size and looked_at:
            self.structure = structure_of(self.file, self._size)
            self.file.size = self.structure.size if self.structure.size < self._size else None

    def _end(self) -> int:
        """Bytes of the file now, 0 where it is read as it comes; the next one read is its first."""
        if not self.file.seekable():
            return 0
        self.file.size = None
        end = self.file.seek(0, os.SEEK_END)
        self.rewind()
        return end

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

    def fault(self, decoded: bool = True) -> str:
        """What is wrong with the file by its structure and its size, for people; "" where nothing is.

        decoded: whether a frame of it was.
        """
        if self.structure is None:
            return ""
        grown = self._end() - self._size
        if grown:
            became = "grew" if grown > 0 else "shrank"
            return f"it {became} by {abs(grown):,} bytes while it was read, so something still writes it"
        return self.structure.fault or ("" if decoded else self.structure.undecoded)

    def rewind(self) -> None:
        """Begin anew, where that can be done."""
        if self.file.seekable():
            self.file.seek(0)

    def close(self) -> None:
        """May be called twice."""
        if self._own is not None:
            self._own.close()


def can_seek(file: Any) -> bool:
    """Whether a file object can go back."""
    seekable = getattr(file, "seekable", None)
    return hasattr(file, "seek") and (seekable is None or bool(seekable()))
