"""The model at its full depth of 27 layers: made once, three photographs, of which each precision scores some.

Each costs some 10 s a side; `make bench` does the same with 64 pictures.
"""

import numpy as np
import pytest

from emonet_fast.backends.openvino.backend import OpenVinoBackend
from emonet_fast.backends.openvino.engine import choose_precision
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.engines.drawing import calibration_pictures
from emonet_fast.engines.fidelity import measure
from emonet_fast.preprocess import resize
from emonet_fast.testing.synthetic import write_synthetic

from . import tolerances
from .comparing import EMOTIONS, outputs_of
from .conftest import once

pytestmark = pytest.mark.full


@pytest.fixture(scope="module")
def full(tmp_path_factory, cache_dir):
    """Calibrated on 6 pictures instead of 24: half a minute less. The last test says whether they are enough."""

    def make(to):
        write_synthetic(to, heads="large", layers=27, seed=0, pictures=calibration_pictures(6, seed=20_000))

    return open_checkpoint(once(tmp_path_factory, "full", make), cache_dir)


@pytest.fixture(scope="module")
def shots(photos):
    return photos[:3]


@pytest.fixture(scope="module")
def want(full, shots):
    pytest.importorskip("torch", reason="the reference (extra reference) is not installed")
    from emonet_fast.backends.reference import Reference

    outputs = Reference.from_packed(full).score(shots)
    return outputs.embedding, outputs.raw


@pytest.fixture(scope="module")
def pixels(full, shots):
    return np.stack([resize(rgb, full.preprocess) for rgb in shots])


def first(outputs, count):
    """The embeddings and scores of the first so many pictures."""
    return tuple(array[:count] for array in outputs)


def test_full_depth_fp32(full, pixels, want, tmp_path):
    engine = outputs_of(OpenVinoBackend(full, "fp32", cache_dir=tmp_path), pixels[:2])
    found = measure(first(want, 2), engine, EMOTIONS)
    assert found.max_error <= tolerances.FP32_SCORE
    assert found.cosine_min >= tolerances.FP32_COSINE


def test_full_depth_bf16(full, shots, pixels, want, tmp_path):
    from emonet_fast.backends.reference import Reference

    if choose_precision("auto") != "bf16":
        pytest.skip("this processor has no bf16 instructions")
    theirs = Reference.from_packed(full, "bf16").score(shots[:1])
    allowed = measure(first(want, 1), (theirs.embedding, theirs.raw), EMOTIONS)
    engine = outputs_of(OpenVinoBackend(full, "bf16", cache_dir=tmp_path), pixels[:1])
    found = measure(first(want, 1), engine, EMOTIONS)
    assert found.rms_error <= tolerances.BF16_FACTOR * allowed.rms_error
    assert found.max_error <= tolerances.BF16_FACTOR * allowed.max_error


def test_full_depth_behaves_like_a_trained_model(want):
    """Different photographs, clearly different embeddings and scores: else the comparisons above prove little."""
    embedding, raw = want
    unit = embedding / np.linalg.norm(embedding, axis=1, keepdims=True)
    cosine = unit @ unit.T
    assert cosine[np.triu_indices(len(unit), 1)].mean() <= 0.9
    assert np.median(raw.std(axis=0)) >= 0.5
    # Of 4 photographs the quietest of the heads showed 0.47; over 64 pictures every one reaches 0.5 (`make bench`).
    assert raw.std(axis=0).min() > 100 * tolerances.FP32_SCORE
