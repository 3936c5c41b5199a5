"""Labels that people or machines gave pictures, from any table or published data set: what heads are trained on."""

from .labelled import Labelled, labelled
from .read import read_targets
from .record import Annotators, Joined, Reading, Targets, agreement, join

__all__ = ["Annotators", "Joined", "Labelled", "Reading", "Targets", "agreement", "join", "labelled", "read_targets"]
