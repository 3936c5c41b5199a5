"""A child process of this package that answers questions, one line of JSON for one line of JSON."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .errors import BackendError


class Child:
    """Runs `python -m module` with our interpreter; its standard error is ours.

    Args:
        module: such as "emonet_fast.verify.worker".
        name: of what it does, for the text of an error.
        order: the first line.

    Attributes:
        first: the answer to the order.
    """

    def __init__(self, module: str, name: str, order: dict[str, Any]) -> None:
        self._name = name
        root = str(Path(__file__).resolve().parents[1])
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
        # -P: the working directory, where anything may lie, is no place to import from
        self._process = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.first = self.ask(order)

    def ask(self, what: Any) -> dict[str, Any]:
        """Send one line and wait for the answer. Raises BackendError when it is an `error`, or the process stopped."""
        assert self._process.stdin is not None  # noqa: S101 - for the type checker: Popen was told to make a pipe
        assert self._process.stdout is not None  # noqa: S101 - likewise
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            code = self._process.wait()
            killed = " by signal 9 (out of memory?)" if code == -9 else ""
            raise BackendError(f"{self._name} stopped{killed}; its own message stands above")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise BackendError(f"{self._name}: {answer['error']}")
        return answer

    def end(self) -> None:
        """Wait for the process, which has answered its last question."""
        self._process.communicate()

    def kill(self) -> None:
        """End the process if it still runs."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
