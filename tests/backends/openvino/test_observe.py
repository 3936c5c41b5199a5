"""What calibration sees of the float32 network, beside numpy's tower."""

import numpy as np
import pytest

from emonet_fast.backends.openvino.observe import means_of
from emonet_fast.checkpoint import open_checkpoint

from ...tower import means_of_inputs


@pytest.fixture(scope="module")
def tiny(tiny_folder, cache_dir):
    return open_checkpoint(tiny_folder, cache_dir)


def test_means_of_every_layers_input(tiny):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    done = []
    found = means_of(tiny, pixels, "fp32", lambda *at: done.append(at))
    want = means_of_inputs(tiny, pixels)
    assert list(found) == list(want)
    for name, values in want.items():
        np.testing.assert_allclose(found[name], values, atol=2e-5, err_msg=name)
    assert done == [(1, 3), (2, 3), (3, 3)]
