"""Pictures that any machine can have."""

import numpy as np
import pytest

from benchmarks import pictures
from benchmarks.pictures import encoded

__all__ = ["encoded", "photographs"]


def photographs() -> list[np.ndarray]:
    """Six different colour photographs of scikit-image, [H, W, 3] uint8 RGB."""
    pytest.importorskip("skimage", reason="scikit-image (extra demo) is not installed")
    names = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "hubble_deep_field.jpg", "retina.jpg")
    by_name = dict(zip(pictures.NAMES, pictures.photographs(), strict=True))
    return [np.array(by_name[name]) for name in names]
