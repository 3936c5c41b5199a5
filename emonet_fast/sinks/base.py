"""The contract of every output file: batches in, one whole file out."""

import contextlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Protocol, Self

from ..errors import EmonetError, OptionError
from ..files import PendingFile, cannot_write
from ..scores import Scores, utf8_text

# Raised when a reader of older files would misread newer ones; see docs/output-formats.md, "Schema version".
SCHEMA_VERSION = "1"
VERSION_KEY = "emonet_fast.schema_version"
FORMAT_KEY = "emonet_fast.format"
ROWS_KEY = "emonet_fast.rows"


def open_pending(path: Path) -> PendingFile:
    """The temporary file of an output. Raises OptionError for any path that cannot be written, too long ones too."""
    try:
        return PendingFile(path)
    except OSError as error:  # looking at the path failed already: ENAMETOOLONG, EACCES of a parent
        raise OptionError(f"cannot write {path}: {error.strerror or error}; choose another name or folder") from error


class Encoder(Protocol):
    """One file format. Writes to the binary file it was made with, which it never closes."""

    def write(self, scores: Scores) -> None:
        """Append the rows of a batch; the first batch fixes the columns."""

    def finish(self) -> None:
        """Hand everything to the file; also called when no batch came."""

    def abandon(self) -> None:
        """Let go of the file, whose content no longer matters."""


class EncoderType(Protocol):
    """A format's encoder class. `sidecar`: its metadata goes to a second file, `<name>.meta.json`."""

    format: str
    sidecar: bool

    def __call__(self, file: BinaryIO, metadata: Mapping[str, str], embeddings: bool) -> Encoder: ...


class Sink:
    """One output file, written batch by batch in bounded memory. Made by `open_sink`, for a `with` block.

    Leaving the block normally puts the finished file in place; leaving it by any exception, KeyboardInterrupt
    too, removes what was written and leaves an older file as it was.
    """

    def __init__(self, path: Path, kind: EncoderType, metadata: Mapping[str, str], embeddings: bool) -> None:
        self.path = path
        self.rows = 0
        self._embeddings = embeddings
        self._kind = kind
        self._metadata = {utf8_text(k): utf8_text(v) for k, v in metadata.items()} | {VERSION_KEY: SCHEMA_VERSION}
        self._layout: tuple[tuple[str, ...], int] | None = None
        self._open = True
        self._encoder: Encoder | None = None
        self._broken = False
        self._files: list[PendingFile] = []  # in the order of publishing: the data last, so that it is complete
        try:
            if kind.sidecar:
                self._files.append(open_pending(path.with_name(path.name + ".meta.json")))
            self._files.append(open_pending(path))
            self._encoder = kind(self._files[-1].file, self._metadata, embeddings)
        except BaseException:
            self.abort()
            raise

    def write(self, scores: Scores) -> None:
        """Append the rows of `scores`. Every batch must have the same heads, baseline and embedding width.

        Raises:
            OptionError: the columns differ from the first batch's, or promised embeddings are missing.
            EmonetError: the file cannot be written (a full disk), or the sink is already closed.
        """
        if not self._open:
            raise EmonetError(f"{self.path} is already closed; open a new sink to write more")
        layout = self._layout_of(scores)
        if self._layout is not None and layout != self._layout:
            raise OptionError(
                f"a batch for {self.path} has {_describe(layout)}; the file was begun with "
                f"{_describe(self._layout)}. Write scores of one checkpoint to one file"
            )
        self._layout = layout
        assert self._encoder is not None  # noqa: S101 (made by __init__; for the type checker)
        try:
            self._encoder.write(scores)
        except BaseException as error:
            self._broken = True  # perhaps half a row is in the file: it must never be published
            if isinstance(error, OSError):
                raise cannot_write(self.path, error) from error
            raise
        self.rows += len(scores)

    def close(self) -> None:
        """Finish the file and rename it into place; a second call does nothing.

        Raises:
            EmonetError: the file cannot be written, or an earlier write failed; nothing is published.
        """
        if not self._open:
            return
        try:
            if self._broken:
                raise EmonetError(f"an earlier write to {self.path} failed, so nothing was put in place")
            assert self._encoder is not None  # noqa: S101
            try:
                self._encoder.finish()
            except OSError as error:
                raise cannot_write(self.path, error) from error
            if self._kind.sidecar:
                self._files[0].file.write(self._sidecar())
            for file in self._files:
                file.finish()
            for file in self._files:
                file.publish()
        finally:
            self.abort()

    def abort(self) -> None:
        """Remove what was written and is not in place yet; after `close` this does nothing."""
        if self._open and self._encoder is not None:
            with contextlib.suppress(Exception):  # the reason of the abort must not be hidden
                self._encoder.abandon()
        self._open = False
        for file in self._files:
            file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.abort()

    def _layout_of(self, scores: Scores) -> tuple[tuple[str, ...], int]:
        width = 0
        if self._embeddings:
            if scores.embeddings is None:
                raise OptionError(
                    f"{self.path} was opened with embeddings=True, but these scores have none; "
                    "rows without scores need a row of NaN there"
                )
            width = scores.embeddings.shape[1]
        return tuple(scores.columns()), width

    def _sidecar(self) -> bytes:
        facts = self._metadata | {FORMAT_KEY: self._kind.format, ROWS_KEY: str(self.rows)}
        return (json.dumps(facts, ensure_ascii=False, indent=2) + "\n").encode()


def _describe(layout: tuple[tuple[str, ...], int]) -> str:
    columns, width = layout
    kinds = {k: sum(c.startswith(k) for c in columns) for k in ("raw_", "score_", "prob_")}
    listed = ", ".join(f"{n} {k}* columns" for k, n in kinds.items())
    return f"{listed}, embedding width {width}"
