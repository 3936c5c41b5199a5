"""The table of scores that users get: the class, what it is put together from, and how a notebook shows it."""

from .parts import FACE_COLUMNS, NO_BASELINE, distinct_notes, embedding_column, face_values
from .table import Scores

__all__ = ["FACE_COLUMNS", "NO_BASELINE", "Scores", "distinct_notes", "embedding_column", "face_values"]
