"""An engine's outputs in the form that `measure` compares."""

import numpy as np

from emonet_fast import taxonomy
from emonet_fast.backends.base import Backend
from emonet_fast.records import UInt8Array

# Columns of the 40 emotions, which are the first.
EMOTIONS = [i for i, d in enumerate(taxonomy.DIMENSIONS) if d.is_emotion]


def outputs_of(backend: Backend, pixels: UInt8Array) -> tuple[np.ndarray, np.ndarray]:
    """(embedding [N, hidden], raw [N, H]) of pixels [N, 3, S, S], whatever the engine's batch size."""
    step = backend.batch_size
    outputs = [backend.run(pixels[i : i + step]) for i in range(0, len(pixels), step)]
    return np.concatenate([o.embedding for o in outputs]), np.concatenate([o.raw for o in outputs])
