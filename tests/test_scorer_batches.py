"""Scorer: batches that are the network's input already, and engines that work beside the host."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import emonet_fast as ef
from emonet_fast.backends.base import Backend, Outputs
from emonet_fast.errors import InputError
from emonet_fast.preprocess import resize
from emonet_fast.sources.memory import Memory


@pytest.fixture(scope="module")
def scorer(published_small, cache_dir):
    with ef.Scorer(published_small, precision="fp32", batch_size=2, cache_dir=cache_dir) as opened:
        yield opened


def test_pixels_score_as_the_pictures_that_they_came_from(scorer, small, photos):
    want = scorer(photos[:3], embeddings=True)
    pixels = np.stack([resize(rgb, small.preprocess) for rgb in photos[:3]])
    found = scorer.score_pixels(pixels, embeddings=True)
    np.testing.assert_array_equal(found.raw, want.raw)
    np.testing.assert_array_equal(found.embeddings, want.embeddings)
    assert found.keys == ("#0", "#1", "#2")
    assert found.status == ("ok",) * 3
    named = scorer.score_pixels(pixels[:2], keys=["a", "b"])
    assert named.keys == ("a", "b")
    assert named.embeddings is None
    planes_last = np.ascontiguousarray(pixels.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(scorer.score_pixels(planes_last).raw, want.raw)
    assert len(scorer.score_pixels(pixels[:0])) == 0


class OnlyDlpack:
    """Memory on the host as DALI hands it over."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **asked):
        return self.array.__dlpack__(**asked)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def test_pixels_on_the_host_of_another_library(scorer):
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 384, 384), dtype=np.uint8)
    np.testing.assert_array_equal(scorer.score_pixels(OnlyDlpack(pixels)).raw, scorer.score_pixels(pixels).raw)


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (np.zeros((1, 3, 384, 384), np.float32), r"float32 \[1, 3, 384, 384\]; expected uint8"),
        (np.zeros((1, 3, 224, 224), np.uint8), r"expected uint8 \[n, 3, 384, 384\]"),
        (np.zeros((3, 384, 384), np.uint8), "expected uint8"),
        (OnlyDlpack(np.zeros((1, 3, 384, 384), np.float32)), "float32 .* expected uint8"),
        ([[1, 2]], "list and the engine is 'openvino'"),
    ],
)
def test_wrong_batches(scorer, pixels, said):
    with pytest.raises(InputError, match=said):
        scorer.score_pixels(pixels)


def test_keys_must_fit(scorer):
    with pytest.raises(InputError, match="2 keys came with 1 rows"):
        scorer.score_pixels(np.zeros((1, 3, 384, 384), np.uint8), keys=["a", "b"])


class Late:
    """An engine that does the work of a batch only when its result is asked for, and keeps count."""

    def __init__(self, inner: Backend, depth: int) -> None:
        self.inner, self.depth = inner, depth
        self.name, self.precision, self.batch_size = inner.name, inner.precision, inner.batch_size
        self.proof = inner.proof
        self.waiting: deque[int] = deque()
        self.most = 0

    def run(self, pixels: np.ndarray) -> Outputs:
        return self.inner.run(pixels)

    def submit(self, pixels: np.ndarray) -> Callable[[], Outputs]:
        self.waiting.append(len(pixels))
        self.most = max(self.most, len(self.waiting))

        def result() -> Outputs:
            self.waiting.popleft()
            return self.inner.run(pixels)

        return result

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize("depth", [1, 2])
def test_batches_under_way_keep_their_order(scorer, photos, depth):
    """Bad pictures among them; depth + 1 batches are handed over before the first result is taken, never more."""
    images = [photos[0], b"not a picture", photos[1], photos[2], b"", photos[0], photos[1], b"no"]
    want = scorer(images)
    late = Late(scorer.backend, depth)
    slower = ef.Scorer(scorer.where, options=scorer.options)
    slower._make = lambda progress=None: replace(scorer._open(), backend=late)
    parts = [batch.scores for batch in slower.batches(Memory(images, scorer.options.max_bytes))]
    got = ef.Scores.concat(parts)
    np.testing.assert_array_equal(got.raw, want.raw)
    assert got.keys == want.keys
    assert got.status == want.status
    assert late.most == min(depth + 1, 3)
    assert not late.waiting
