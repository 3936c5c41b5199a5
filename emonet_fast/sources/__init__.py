"""Where pictures come from. Every source yields records.Picture with a stable key and reads lazily."""

from .inputs import Inputs
from .memory import Memory

__all__ = ["Inputs", "Memory"]
