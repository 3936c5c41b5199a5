"""Heads trained on stored embeddings: all at once as stacked products, each stopped by itself."""

from ..cards import Licence
from .card import model_card
from .job import TrainJob, run
from .loop import Trained, train
from .neutral import Neutral
from .settings import LAYOUTS, LOSSES, Examples, Training

__all__ = [
    "LAYOUTS",
    "LOSSES",
    "Examples",
    "Licence",
    "Neutral",
    "TrainJob",
    "Trained",
    "Training",
    "model_card",
    "run",
    "train",
]
