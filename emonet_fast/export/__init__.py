"""The network as one model for other people's runtimes, with a check of itself beside it."""

from .check import Checked, check
from .describe import card_words
from .run import Exported, export, files_of_export

__all__ = ["Checked", "Exported", "card_words", "check", "export", "files_of_export"]
