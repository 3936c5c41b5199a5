"""NVIDIA's TensorRT itself, on a GPU: skipped with the reason elsewhere. What it computes is checked, not how fast."""

import numpy as np
import pytest

from emonet_fast.backends.openvino.observe import observe
from emonet_fast.backends.tensorrt import libraries
from emonet_fast.backends.tensorrt.backend import TensorRtBackend
from emonet_fast.backends.tensorrt.libraries import Native
from emonet_fast.gpu import NoGpu
from emonet_fast.preprocess import resize

FOUND = libraries.look()
REASON = FOUND.reason if isinstance(FOUND, NoGpu) else FOUND.tensorrt.build_fault
pytestmark = [pytest.mark.tensorrt, pytest.mark.skipif(bool(REASON), reason=REASON or "it is there")]


@pytest.fixture(scope="module")
def native() -> Native:
    return FOUND


@pytest.fixture(scope="module", params=["bf16", "fp8"])
def backend(request, native: Native, small, tmp_path_factory):
    if request.param == "fp8" and not native.gpu.fp8:
        pytest.skip(f"{native.gpu.name} has no FP8")
    folder = tmp_path_factory.mktemp(request.param)
    return TensorRtBackend(small, "cuda", request.param, 8, folder)


def test_scores_of_photographs(backend, small, photos):
    """The build has held the engine to its bars on generated pictures; these are real ones."""
    pixels = np.stack([resize(photo, small.preprocess) for photo in photos[:3]])
    want, got = observe(small, pixels), backend.run(pixels)
    a, b = want.embedding, got.embedding
    cosine = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert cosine.min() >= (0.9997 if backend.precision == "bf16" else 0.998)
    assert backend.runner.engine.captured() == [8]


def test_a_row_depends_neither_on_the_others_nor_on_its_place(backend, small, photos):
    pixels = np.stack([resize(photo, small.preprocess) for photo in photos[:5]])
    together, reversed_ = backend.run(pixels), backend.run(np.ascontiguousarray(pixels[::-1]))
    np.testing.assert_array_equal(together.raw, reversed_.raw[::-1])


def test_a_buffer_that_is_read_in_place_gives_what_a_copied_one_does(backend, native, small, photos):
    """The first time it is copied, the second time captured, then read where it lies; with new pictures every time."""
    stream = native.extension.Stream(native.device)
    pixels = np.stack([resize(photo, small.preprocess) for photo in photos[:2]] * 4)
    array = native.device.array(pixels.shape, "uint8")
    for turn in range(4):
        rolled = np.ascontiguousarray(np.roll(pixels, turn, axis=0))
        native.device.upload(array, rolled, stream.handle)
        np.testing.assert_array_equal(backend.run_to_host(array, stream.handle).raw, backend.run(rolled).raw)
    assert backend.runner.engine.in_place() > 0


def test_the_inspector_names_the_layers_in_fp8(backend):
    if backend.precision == "fp8":
        assert any(layer.precision == "fp8" for layer in backend.report.precisions.layers), backend.report.text()


def test_garbage_is_refused(backend, native):
    with pytest.raises(native.extension.TensorRtError, match="refused an engine of 7 bytes"):
        native.extension.Engine(native.tensorrt, native.device, b"garbage", libraries.to_logging)
