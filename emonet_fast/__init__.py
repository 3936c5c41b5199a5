"""Score faces with EmoNet-Face's EmpathicInsight-Face models, fast and exactly.

Importing this package is cheap: each public name loads what it needs at its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ._version import __version__

if TYPE_CHECKING:
    from .baseline import Baseline
    from .errors import (
        BackendError,
        CheckpointError,
        DataError,
        EmonetError,
        InputError,
        MissingPackageError,
        OptionError,
        UnsafePickleError,
    )
    from .options import FaceOptions, Options, VideoOptions
    from .records import Status
    from .scorer import NoScoresWarning, ScalingWarning, Scorer
    from .scores import Scores
    from .summaries import summarise
    from .video.pipeline import stream

_ROOMS = {
    "baseline": "Baseline",
    "errors": "BackendError CheckpointError DataError EmonetError InputError MissingPackageError OptionError "
    "UnsafePickleError",
    "options": "FaceOptions Options VideoOptions",
    "records": "Status",
    "scorer": "NoScoresWarning ScalingWarning Scorer",
    "scores": "Scores",
    "summaries": "summarise",
    "video.pipeline": "stream",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = [
    "BackendError",
    "Baseline",
    "CheckpointError",
    "DataError",
    "EmonetError",
    "FaceOptions",
    "InputError",
    "MissingPackageError",
    "NoScoresWarning",
    "OptionError",
    "Options",
    "ScalingWarning",
    "Scorer",
    "Scores",
    "Status",
    "UnsafePickleError",
    "VideoOptions",
    "__version__",
    "stream",
    "summarise",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
