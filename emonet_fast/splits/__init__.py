"""Which rows belong together, so that no person, source or picture stands on both sides of a split."""

from .alike import DUPLICATE, near_duplicates, similar_pairs
from .split import Split, split_rows

__all__ = ["DUPLICATE", "Split", "near_duplicates", "similar_pairs", "split_rows"]
