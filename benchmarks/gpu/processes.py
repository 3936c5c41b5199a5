"""Processes that measure, each with all that it starts in a group of its own: orders in, lines of JSON out.

They belong to the session of the run, so that whoever ends that ends them. Standard library only.
"""

import json
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from os import killpg
from pathlib import Path
from typing import Any


class EndedError(Exception):
    """The process has ended; the text is its exit status."""


class LateError(Exception):
    """There is no time left."""


class Process:
    """One `worker.py`. Its standard error goes to `log`."""

    def __init__(self, command: Sequence[str], folder: Path, log: Path) -> None:
        self.log = log
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, process_group=0
            )
        self.group = self._process.pid
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(b"")

    def order(self, **what: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # that it has ended is said where its answer is waited for
            self._process.stdin.write(json.dumps(what).encode() + b"\n")
            self._process.stdin.flush()

    def events(self, until: float) -> Iterator[dict[str, Any]]:
        """What it says, up to and with {"end"}. Raises LateError at `until` (time.monotonic()), or EndedError."""
        event: dict[str, Any] = {}
        while "end" not in event:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise LateError from None
            if not line:
                raise EndedError(f"exit status {self._process.wait()}")
            event = json.loads(line)
            yield event

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def finish(self, limit: float) -> int:
        """Give it no more orders; its exit status. Raises LateError after `limit` seconds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            return self._process.wait(limit)
        except subprocess.TimeoutExpired:
            raise LateError from None

    def go_on(self) -> None:
        """Even where the process that made it stand still was killed meanwhile."""
        with suppress(ProcessLookupError):
            killpg(self.group, signal.SIGCONT)

    def kill(self) -> None:
        """End it and all that it has started."""
        with suppress(ProcessLookupError):
            killpg(self.group, signal.SIGKILL)
        self._process.wait()

    def tail(self, lines: int = 25) -> list[str]:
        return self.log.read_text("utf-8", "replace").splitlines()[-lines:] if self.log.exists() else []
