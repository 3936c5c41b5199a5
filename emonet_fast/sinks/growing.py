"""Files of long runs: written as the rows come, so that a run that is cut short loses none that is written.

While it grows, the file is `<name>.partial`. The end of the run, Ctrl-C and an error too, renames it to its name; but
a run that was cut short does not replace an older file. A partial file is also what a killed process leaves behind.
The metadata of a kind that has no place for them lie beside it from the start, as `<name>.partial.meta.json`.
"""

import contextlib
import io
import json
import os
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EmonetError, OptionError
from ..files import PendingFile, beside, opening, target_of, write_whole
from ..text import counted
from ..timeline import Timeline, VideoFacts
from .apart import RunOutput
from .encoders import sidecar

if TYPE_CHECKING:
    import pyarrow

SUFFIX = ".partial"


class _Unbuffered(io.FileIO):
    """Writes all or raises. Without a buffer, as one would keep what a full disk refused, and write it again later."""

    def write(self, data: Any, /) -> int:
        rest = memoryview(data).cast("B")
        total = len(rest)
        while len(rest):
            rest = rest[super().write(rest) :]
        return total


def partial_of(path: Path) -> Path:
    """The name of a file while it grows: beside the file that a symbolic link points to."""
    return Path(os.path.realpath(path) + SUFFIX)


def claim(path: Path) -> _Unbuffered:
    """Make the partial file of `path`, which is open for writing.

    Raises OptionError when the folder is missing or cannot be written, `path` is no file, or an earlier run's partial
    file is still there.
    """
    with opening(path):
        target_of(path)
        partial = partial_of(path)
        if os.path.lexists(partial):
            raise OptionError(
                f"{partial} is there already: a run that was cut short left its rows in it, or another run writes it. "
                "Make a file of it by `emonet-fast recover`, or move it away"
            )
        return _Unbuffered(partial, "x")


def left_in(partial: Path, path: Path) -> str:
    """What people must know of a partial file that stays beside an older file."""
    return (
        f"the run ended early, and an older {path} is there: what was written is in {partial}, and "
        f"`emonet-fast recover {path}` puts it in the older one's place"
    )


def recover_beside(partial: Path, target: Path, rows: int) -> None:
    """Write the metadata of a partial file beside the file that was made of it; an older file's go in any case.

    Raises EmonetError where they are damaged: without them, the file does not say what made it.
    """
    kept = beside(partial)
    if not kept.is_file():
        beside(target).unlink(missing_ok=True)
        return
    try:
        facts = {str(name): str(value) for name, value in json.loads(kept.read_bytes()).items()}
    except (ValueError, AttributeError) as error:
        beside(target).unlink(missing_ok=True)
        raise EmonetError(f"{kept} is damaged ({error}); {target} is in place without it") from None
    write_whole(beside(target), sidecar(facts, rows), follow=False)
    kept.unlink()


class GrowingSink(RunOutput):
    """One output, readable while it grows: `.file` is open for writing at `.partial`.

    The attribute `rows` counts the rows written so far. Where `path` is a symbolic link, the link stays, and the file
    that it points to, `.target`, is replaced.

    Args:
        path: The final name.

    Raises:
        OptionError: when the folder is missing or cannot be written, or an earlier run's partial file is still there.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self.file = claim(path)
        self.target, self.partial = Path(os.path.realpath(path)), partial_of(path)
        self._whole = 0

    def _keep_beside(self, metadata: Mapping[str, str]) -> None:
        """Write the metadata beside the partial file, for `recover`. Raises EmonetError when the disk refuses."""
        try:
            write_whole(beside(self.partial), sidecar(metadata, 0), follow=False)
        except BaseException:
            self.abort()
            raise

    @property
    def empty(self) -> bool:
        return not self.rows

    @property
    def kept(self) -> str:
        return counted(self.rows, "row") if self.rows else ""

    @abstractmethod
    def write(self, rows: Any) -> None:
        """Append some rows. Raises EmonetError when the disk refuses."""

    @contextlib.contextmanager
    def piece(self) -> Iterator[None]:
        """What is written inside is one whole piece; after any error the file ends before it.

        Raises EmonetError when the disk refuses.
        """
        try:
            yield
        except BaseException as error:
            with contextlib.suppress(OSError):
                self.file.truncate(self._whole)
            with contextlib.suppress(OSError):
                self.file.seek(self._whole)
            if isinstance(error, OSError):
                raise EmonetError(f"cannot write {self.path}: {error.strerror or error}") from error
            raise
        self.mark_whole()

    def mark_whole(self) -> None:
        """Note that everything written so far is whole: a later piece that fails falls back to here."""
        self._whole = self.file.tell()

    def close(self) -> None:
        """Bring the file to the disk, under its final name.

        Raises EmonetError when that fails; the partial file then stays.
        """
        try:
            with contextlib.closing(self.file):
                os.fsync(self.file.fileno())
            self.partial.replace(self.target)
            beside(self.partial).unlink(missing_ok=True)
        except OSError as error:
            raise EmonetError(
                f"cannot rename {self.partial} to {self.path.name}: {error.strerror or error}; "
                "the rows are in the former"
            ) from error

    def leave(self) -> str:
        with contextlib.suppress(OSError):
            self.file.close()
        return left_in(self.partial, self.path)

    def abort(self) -> None:
        """Remove the partial file: nothing worth keeping is in it. After the end this does nothing."""
        if not self.file.closed:
            with contextlib.suppress(OSError):
                self.file.close()
            self.partial.unlink(missing_ok=True)
            beside(self.partial).unlink(missing_ok=True)


class GrowingTable(GrowingSink):
    """A table of rows that `write` takes.

    Args:
        path: The final name.
        metadata: Facts for the reader, as text.
        arrow: Makes an Arrow table of what `write` takes.
        text: Whether it is a text, whose metadata go to `<name>.meta.json`.

    Raises:
        OptionError: when the file cannot be written there.
    """

    def __init__(
        self, path: Path, metadata: Mapping[str, str], arrow: Callable[[Any], "pyarrow.Table"], *, text: bool = False
    ) -> None:
        if text:
            PendingFile(beside(path), follow=False).discard()
        super().__init__(path)
        self._text = text
        self._metadata, self._arrow = dict(metadata), arrow
        if text:
            self._keep_beside(self._metadata)
        self._facts = VideoFacts()
        self._schema: pyarrow.Schema | None = None

    def write(self, rows: Any) -> None:
        """Append rows, which have the columns of the first ones.

        Raises OptionError when they have others; EmonetError when the disk is full.
        """
        if self.file.closed:
            raise EmonetError(f"{self.path} is already closed; open a new sink to write more")
        table = self._arrow(rows)
        if isinstance(rows, Timeline) and self._facts.add(rows):
            self._metadata |= self._facts.metadata
        if self._schema is not None and table.schema != self._schema:
            raise OptionError(
                f"a batch for {self.path} has {_describe(table.schema)}; the file was begun with "
                f"{_describe(self._schema)}. Write scores of one checkpoint to one file"
            )
        self._put(table)
        self._schema = table.schema

    def _put(self, table: "pyarrow.Table") -> None:
        """Append rows, or as many of them as there is room for."""
        try:
            with self.piece():
                self._append(table, begins=not self._whole)
            self.rows += table.num_rows
        except EmonetError:
            if table.num_rows < 2:
                raise
            for i in range(table.num_rows):
                GrowingTable._put(self, table.slice(i, 1))

    @abstractmethod
    def _append(self, table: "pyarrow.Table", *, begins: bool) -> None:
        """Write rows, which begin the file or follow others."""

    def close(self) -> None:
        """Put the table in place; a second call does nothing. Without any batch it has the columns of every table."""
        if self.file.closed:
            return
        if self._schema is None and not self.rows:  # a first batch that failed may have left some
            import pyarrow as pa

            self._put(pa.schema([(name, pa.string()) for name in ("key", "status", "reason")]).empty_table())
        self._finish()

    def _finish(self) -> None:
        refused = self._write_beside()
        super().close()
        if refused is not None:
            raise refused

    def _write_beside(self) -> EmonetError | None:
        """Write what belongs to a text: before it, so that once the table is there, all is. Returns why it cannot."""
        try:
            if self._text:
                write_whole(beside(self.path), sidecar(self._metadata, self.rows), follow=False)
        except EmonetError as error:
            return EmonetError(f"{error}; the table itself is in place")
        return None


def _describe(schema: "pyarrow.Schema") -> str:
    counts = {k: sum(name.startswith(k) for name in schema.names) for k in ("raw_", "score_", "softmax_")}
    listed = ", ".join(f"{n} {k}* columns" for k, n in counts.items())
    width = schema.field("embedding").type.list_size if "embedding" in schema.names else 0
    return f"{listed}, embedding width {width}"
