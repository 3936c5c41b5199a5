"""An engine that ends with the embedding, and our kernel for the heads behind it on the same stream."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

pytest.importorskip("triton", reason="Triton (extra gpu) is not installed")

from emonet_fast.backends.tensorrt import backend as room
from emonet_fast.backends.tensorrt import heads as heads_room
from emonet_fast.backends.tensorrt.backend import TensorRtBackend
from emonet_fast.backends.tensorrt.heads import choose_heads
from emonet_fast.backends.tensorrt.libraries import Libraries, open_native
from emonet_fast.errors import BackendError
from emonet_fast.gpu import NoGpu

from ..tolerances import FUSED_HEADS
from .fused import HostHeads

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture
def libraries(fakes):
    return Libraries(fakes.extension, (fakes.driver,), (fakes.nvinfer,), (fakes.parser,))


@pytest.fixture
def make(checkpoint, libraries, tmp_path, fakes, known, monkeypatch):
    """Backends whose engine knows the embeddings alone."""
    pixels, seen = known
    for row, embedding in zip(pixels, seen.embedding, strict=True):
        fakes.answer(np.ascontiguousarray(row), np.ascontiguousarray(embedding))
    monkeypatch.setattr(HostHeads, "native", open_native(libraries, "auto"))
    monkeypatch.setattr(room, "FusedHeads", HostHeads)
    monkeypatch.setattr(heads_room, "look", lambda device: object())
    # One batch size: the gate tries each, and by the interpreter a launch of the heads takes a second.
    monkeypatch.setattr(room, "SIZES", ())

    def opened(**more):
        return TensorRtBackend(checkpoint, "auto", "bf16", 32, tmp_path, libraries=libraries, **more)

    return opened


def check(outputs, seen, rows):
    np.testing.assert_array_equal(outputs.embedding, seen.embedding[rows])
    np.testing.assert_allclose(outputs.raw, seen.raw[rows], atol=FUSED_HEADS)


def test_scores_from_the_host_and_from_the_gpu(make, known, fakes):
    pixels, seen = known
    backend = make()
    assert backend.heads == "triton"
    assert [t.name for t in backend.runner.engine.tensors] == ["pixels", "embedding"]
    assert "(embedding)" in backend.report.text()
    assert backend.report.fidelity.max_error <= FUSED_HEADS
    check(backend.run(pixels[:3]), seen, slice(0, 3))
    device = backend.runner.native.device
    streams = [backend.runner.native.extension.Stream(device) for _ in range(2)]
    arrays = [device.array((n, *pixels.shape[1:]), "uint8") for n in (33, 2)]  # the first in two parts
    for array in arrays:
        device.upload(array, pixels[: len(array)], streams[0].handle)
    streams[0].synchronize()
    with ThreadPoolExecutor(2) as pool:  # the scratch between the kernel's launches is one
        for array, found in zip(arrays, pool.map(backend.run_to_host, arrays, streams), strict=True):
            check(found, seen, slice(0, len(array)))
    with pytest.raises(BackendError, match="per-thread default stream, which PyTorch cannot name"):
        backend.run_to_host(array, 2)
    path = backend.report.stored
    with pytest.raises(BackendError, match="or with other heads"):
        make(heads="graph", trust_engine=path)
    assert fakes.count("build") == 1


def test_the_choice(monkeypatch):
    monkeypatch.setattr(heads_room, "look", lambda device: object())
    assert [choose_heads(asked, 0) for asked in ("auto", "triton", "graph")] == ["triton", "triton", "graph"]
    monkeypatch.setattr(heads_room, "look", lambda device: NoGpu("PyTorch is not installed", hardware=False))
    assert [choose_heads(asked, 0) for asked in ("auto", "graph")] == ["graph", "graph"]
    with pytest.raises(BackendError, match="heads by Triton cannot be used: PyTorch is not installed"):
        choose_heads("triton", 0)
    with pytest.raises(BackendError, match="expected one of auto, triton, graph"):
        choose_heads("both", 0)
