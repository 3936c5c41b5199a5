"""Linear probes on stored embeddings: ridge regression with nested cross-validation, saved as heads."""

from .cross import Probe
from .run import KINDS, Probed, run_probe, save_probe

__all__ = ["KINDS", "Probe", "Probed", "run_probe", "save_probe"]
