"""Real photographs that any machine can have."""

import numpy as np
import pytest


def photographs() -> list[np.ndarray]:
    """Six different colour photographs of scikit-image, [H, W, 3] uint8 RGB."""
    data = pytest.importorskip("skimage.data", reason="scikit-image (extra demo) is not installed")
    made = (data.astronaut, data.chelsea, data.coffee, data.rocket, data.hubble_deep_field, data.retina)
    return [np.ascontiguousarray(make()[..., :3]) for make in made]
