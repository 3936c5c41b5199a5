"""The outputs of one run, each of which stands or falls alone: what fails is told, and the others go on."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import EmonetError


class RunOutput(ABC):
    """A file that a run writes, called `path` in the end."""

    path: Path

    @property
    @abstractmethod
    def empty(self) -> bool:
        """Whether nothing worth keeping is in it."""

    @property
    def kept(self) -> str:
        """How much is in it, for people, as "3 rows"; "" for nothing, and of what is written at the end alone."""
        return ""

    @abstractmethod
    def close(self) -> None:
        """Put the file in place. Raises EmonetError when the disk refuses."""

    @abstractmethod
    def abort(self) -> None:
        """Remove what was written."""

    def leave(self) -> str:
        """End where an older file has the name and stays. Returns what people must know of it."""
        self.abort()
        return f"the run ended early, and an older {self.path} is there: it was left as it is"


class OutputsApart:
    """What a run writes. An output that fails ends alone, with what is whole in it.

    Attributes:
        written: the outputs that are in place.
        faults: why others are not, or are not whole.
        notes: where the rows of a run are that ended early.
    """

    def __init__(self) -> None:
        self.written: list[Path] = []
        self.faults: list[str] = []
        self.notes: list[str] = []
        self._open: dict[RunOutput, Callable[[Any], None]] = {}

    @property
    def lost(self) -> bool:
        """Whether there were outputs, and each has failed: nothing is left to run for."""
        return bool(self.faults) and not self._open

    def add(self, output: RunOutput, write: Callable[[Any], None]) -> None:
        """Take in an output. write: what it does with a batch of the run."""
        self._open[output] = write

    def write(self, batch: Any) -> None:
        """Hand a batch to every output that has not failed."""
        for output, write in tuple(self._open.items()):
            try:
                write(batch)
            except EmonetError as error:
                place = len(self.faults)
                self.end(output, early=True, empty=False)
                self.faults.insert(place, f"{error}; kept of it: {output.kept or 'nothing'}")

    def end_all(self, *, early: bool, empty: bool) -> None:
        """End every output; see `end`."""
        for output in tuple(self._open):
            self.end(output, early=early, empty=empty)

    def end(self, output: RunOutput, *, early: bool, empty: bool) -> None:
        """Put an output in place, or remove it where the run wrote nothing; one that has ended already stays so.

        early: the run was cut short. It then never replaces an older file: its rows stay beside that.
        """
        if self._open.pop(output, None) is None:
            return
        try:
            if empty or (early and output.empty):
                output.abort()
            elif early and output.path.exists():
                self.notes.append(output.leave())
            else:
                output.close()
                self.written.append(output.path)
        except EmonetError as error:
            self.faults.append(str(error))
