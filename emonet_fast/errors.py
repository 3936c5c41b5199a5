"""Errors a user can meet. Each text says what came, what was expected, and what to do."""

from .text import one_line


class EmonetError(Exception):
    """Base of every error that this package raises on purpose."""


class OptionError(EmonetError, ValueError):
    """A setting has a value that cannot work, or a file cannot be written where it was asked for."""


class InputError(EmonetError):
    """The input as a whole is unusable. A single bad picture is a status in its row, never an error."""


class CheckpointError(EmonetError):
    """The weights are missing, damaged, or those of another model. The text names the file.

    Args:
        text: becomes one line of some 1,000 characters at most: it may quote what a stranger wrote into the file.
    """

    def __init__(self, text: str) -> None:
        super().__init__(one_line(text))


class UnsafePickleError(CheckpointError):
    """A pickled head asks for something other than tensors and containers. Nothing of it was executed."""


class DataError(EmonetError):
    """Predictions, annotations, a data set or a bulk folder cannot be used. The text names the file and the fault."""


class BackendError(EmonetError):
    """The device, precision or engine does not work on this machine."""


class MissingPackageError(EmonetError, ImportError):
    """An optional package is not installed. The text names the extra that installs it."""
