"""The network as one model for other people's runtimes, with a check of itself beside it."""

from .check import Checked, check
from .run import Exported, export, files_of_export

__all__ = ["Checked", "Exported", "check", "export", "files_of_export"]
