"""Errors a user can meet. Each text says what came, what was expected, and what to do."""


class EmonetError(Exception):
    """Base of every error that this package raises on purpose."""


class OptionError(EmonetError, ValueError):
    """A setting has a value that cannot work."""


class InputError(EmonetError):
    """No input could be found at all. A single bad picture is a status in its row, never an error."""


class CheckpointError(EmonetError):
    """The weights are missing, damaged, or not of the expected model. Names the file."""


class UnsafePickleError(CheckpointError):
    """A pickled head asks for something other than tensors and containers. Nothing of it was executed."""


class DataError(EmonetError):
    """Predictions, annotations or a data set cannot be used as they are. Names the file and what is wrong."""


class BackendError(EmonetError):
    """The asked-for device, precision or engine does not work on this machine."""


class MissingPackageError(EmonetError, ImportError):
    """An optional package is not installed. Names the extra that installs it."""
