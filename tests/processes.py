"""The command in a process of its own, to stop it in the middle of its work."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def size_of(path: Path) -> int:
    """0 for a file that is not there: a run tries each output before it scores, and takes the trial away."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def running(*arguments: object, until: Path, size: int) -> Iterator[subprocess.Popen[str]]:
    """The command, handed over when the file `until` has grown to more than `size` bytes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "emonet_fast", *map(str, arguments)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        # a test run in the background of a shell ignores the signal, and its children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 100
        while size_of(until) <= size:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline, f"{until} has {size_of(until)} bytes after 100 s"
            time.sleep(0.02)
        yield process
    finally:
        process.kill()
        process.wait()
