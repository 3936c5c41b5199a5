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

# Their format is a list of other files; what is called otherwise may open nothing but itself.
_PLAYLISTS = (".m3u8", ".m3u")
# No protocol of FFmpeg's is called so.
NOTHING = "none"
# Bytes of one read: large enough that waiting for Python's lock does not count, even at 100 Mbit/s.
READ_BYTES = 1 << 18
_WRITE = 2  # AVIO_FLAG_WRITE


class LocalFile:
    """A local file, or standard input where `path` is None, and for a playlist what lies in or below its folder.

    Attributes:
        file: what PyAV reads.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.file = FileIO(0, closefd=False) if path is None else FileIO(path)
        # FFmpeg tells formats by a name's ending too, and makes the addresses of a playlist's parts from it.
        self.file.name = "file:-" if path is None else f"file:{path.absolute()}"

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

    def rewind(self) -> None:
        """Begin anew, where that can be done."""
        if self.file.seekable():
            self.file.seek(0)

    def close(self) -> None:
        """May be called twice."""
        self.file.close()
