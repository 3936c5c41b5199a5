"""Two sets of predictions side by side, with or without a truth; and what leaks from one part of a data set to another.

`joined` reads and joins, `paired` computes, `tables` shows; `leaks` finds what two parts share. `run` joins these.
"""

from .run import compare_predictions, find_leaks

__all__ = ["compare_predictions", "find_leaks"]
