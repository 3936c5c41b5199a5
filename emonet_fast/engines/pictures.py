"""The pictures that engines are calibrated on and compared over, as pixels of the network's input."""

import numpy as np

from ..checkpoint.spec import Checkpoint
from ..records import UInt8Array


def generated_pixels(checkpoint: Checkpoint, count: int, seed: int) -> UInt8Array:
    """Generate pictures as the network's input, [count, 3, S, S] uint8; the same for the same seed. Needs Pillow.

    They are generated, because no engine may depend on what a user happens to score first.
    """
    from ..preprocess import resize
    from .drawing import calibration_pictures

    return np.stack([resize(rgb, checkpoint.preprocess) for rgb in calibration_pictures(count, seed=seed)])
