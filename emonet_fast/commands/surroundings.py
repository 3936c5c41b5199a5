"""What surrounds a run: standard streams that may be closed, full or of a narrow encoding, and signals that end it."""

import errno
import io
import os
import signal
import sys
from typing import Any

from ..process import ENDING
from .options import Exit, say

# What a shell reports of a tool whose reader has gone, as `head` does.
_BROKEN_PIPE = 128 + 13


class _Patient(io.RawIOBase):
    """A stream that takes everything: a full disk or a closed pipe behind it must not end a run of days.

    The attribute `fault` is the first error; nothing is written after it.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream  # which would close its file if nobody held it
        self._raw = getattr(stream.buffer, "raw", stream.buffer)  # PYTHONUNBUFFERED leaves the buffer out
        self.fault: OSError | None = None

    def write(self, data: Any, /) -> int | None:
        if self.fault is None:
            try:
                written: int | None = self._raw.write(data)
                return written
            except OSError as error:
                self.fault = error
        return len(data)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        number: int = self._raw.fileno()
        return number

    def isatty(self) -> bool:
        return bool(self._raw.isatty())


def open_streams() -> "_Patient | None":
    """Make standard output and error such that writing to them never fails, and return what tells of the former.

    A stream that was closed becomes the null device, or the next file that is opened would get its number, and with it
    what libraries print there. Characters that the encoding lacks are written as escapes. None where somebody has put
    another object in place of standard output.
    """
    null = os.open(os.devnull, os.O_RDWR)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(null, number)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
    if null > 2:  # else it is one of them itself
        os.close(null)
    sys.stderr, _ = _patient(sys.stderr)
    sys.stdout, output = _patient(sys.stdout)
    return output


def _patient(stream: Any) -> tuple[Any, _Patient | None]:
    if getattr(stream, "buffer", None) is None:
        return stream, None
    stream.flush()
    patient = _Patient(stream)
    text = io.TextIOWrapper(
        io.BufferedWriter(patient),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering or stream.write_through,  # the latter by PYTHONUNBUFFERED
    )
    return text, patient


def final_status(status: int, output: _Patient | None) -> int:
    """The exit status of a run that ended with `status`, by what became of standard output."""
    sys.stdout.flush()
    fault = output.fault if output is not None else None
    if fault is None or status:
        return status
    if fault.errno == errno.EPIPE:
        return _BROKEN_PIPE
    say(f"error: standard output: {fault.strerror}", err=True)
    return Exit.MISSED


def end_by_signals() -> None:
    """SIGTERM and SIGHUP end the program as Ctrl-C does, unless whoever started it ignores them, as nohup does."""
    for number in ENDING - {signal.SIGINT}:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
