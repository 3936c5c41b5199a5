"""The four faults that public programs made without a test noticing: each must change scores far beyond tolerance.

The right way is compared with the reference elsewhere; here each wrong way is run through the same engine.
"""

from dataclasses import replace

import numpy as np
import pytest

import emonet_fast as ef

from . import tolerances
from .faults import repacked


@pytest.fixture(scope="module", params=["small", "large"])
def checkpoint(request):
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def few(photos):
    """Two photographs; the last is the smooth one of a retina, which a wrong filter changes least."""
    return [photos[i] for i in (0, 5)]


@pytest.fixture(scope="module")
def right(checkpoint, few, cache_dir):
    with ef.Scorer(checkpoint.path, precision="fp32", cache_dir=cache_dir) as scorer:
        return scorer(few).raw


def change(path, few, right, cache_dir):
    """Per picture: the largest change of a score."""
    with ef.Scorer(path, precision="fp32", cache_dir=cache_dir) as scorer:
        return np.abs(scorer(few).raw - right).max(axis=1)


def test_bgr_instead_of_rgb(checkpoint, few, right, cache_dir):
    swapped = [np.ascontiguousarray(rgb[..., ::-1]) for rgb in few]
    assert change(checkpoint.path, swapped, right, cache_dir).min() > tolerances.FAULT


@pytest.mark.filterwarnings("ignore::emonet_fast.ScalingWarning")
def test_missing_l2_norm(checkpoint, few, right, cache_dir, tmp_path):
    path = repacked(checkpoint, tmp_path / "wrong.safetensors", l2_normalise=False)
    assert change(path, few, right, cache_dir).min() > tolerances.FAULT


def test_wrong_filter(checkpoint, few, right, cache_dir, tmp_path):
    wrong = replace(checkpoint.preprocess, resample="bicubic")
    path = repacked(checkpoint, tmp_path / "wrong.safetensors", preprocess=wrong)
    assert change(path, few, right, cache_dir).min() > tolerances.FAULT


def test_wrong_head_order(checkpoint, few, right, cache_dir):
    """Each head's scores under its neighbour's name, as a directory listing of another order would give."""
    assert np.abs(np.roll(right, 1, axis=1) - right).max(axis=1).min() > tolerances.FAULT
    heads = right.T
    shared = [
        (a, b) for a in range(len(heads)) for b in range(a) if np.abs(heads[a] - heads[b]).max() < tolerances.FAULT
    ]
    assert shared == [], "two heads that say the same could be swapped without anybody noticing"
