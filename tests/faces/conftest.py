"""The detector's model of ../shared, and pictures whose faces are known."""

from pathlib import Path

import numpy as np
import pytest

SHARED_MODELS = Path(__file__).parents[3] / "shared" / "models" / "yunet"


@pytest.fixture(scope="session")
def yunet() -> Path:
    path = SHARED_MODELS / "yunet_s_dynamic.onnx"
    if not path.exists():
        pytest.skip("../shared/models is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def astronaut() -> np.ndarray:
    """512 x 512 RGB; one face at about x 178, y 65, width 91, height 111."""
    data = pytest.importorskip("skimage.data", reason="scikit-image (extra demo) is not installed")
    return np.ascontiguousarray(data.astronaut())
