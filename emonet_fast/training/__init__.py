"""Heads trained on stored embeddings: all at once as stacked products, each stopped by itself."""

from .loop import Trained, train
from .settings import LAYOUTS, LOSSES, Examples, Training

__all__ = ["LAYOUTS", "LOSSES", "Examples", "Trained", "Training", "train"]
