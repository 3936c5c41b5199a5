"""The backend on a GPU: host and device batches, streams, graphs, memory. Skipped without one."""

import gc

import numpy as np
import pytest
import torch

from benchmarks.pictures import normalise
from emonet_fast.backends.cuda.backend import CudaBackend
from emonet_fast.backends.cuda.fp8 import certificate_place
from emonet_fast.backends.cuda.weights import load
from emonet_fast.backends.reference import Reference
from emonet_fast.engines.certificate import Certificate, store_certificate
from emonet_fast.engines.fidelity import Fidelity, measure
from emonet_fast.errors import BackendError, InputError

from ... import tolerances
from ...comparing import EMOTIONS
from .making import random_pixels

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.fixture(scope="module")
def pixels(tiny):
    return random_pixels(tiny, 11, seed=3)


@pytest.fixture(scope="module")
def backend(tiny, tmp_path_factory):
    opened = CudaBackend(tiny, "cuda", "bf16", 4, tmp_path_factory.mktemp("cache"))
    yield opened
    opened.close()


class Interface:
    """Device memory as PyCUDA's arrays show it: no DLPack."""

    def __init__(self, tensor: torch.Tensor, stream: int | None = None) -> None:
        self._tensor = tensor
        self.__cuda_array_interface__ = dict(tensor.__cuda_array_interface__, stream=stream, version=3)

    def __len__(self) -> int:
        return len(self._tensor)


class OnlyDlpack:
    """Device memory as a library that PyTorch does not know would show it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self._tensor = tensor

    def __dlpack__(self, **options):
        return self._tensor.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._tensor.__dlpack_device__()


def test_close_to_the_reference(tiny, backend, pixels):
    values = normalise(pixels[:4], tiny.preprocess)
    want, theirs = (Reference.from_packed(tiny, p).score_processed(values) for p in ("fp32", "bf16"))
    allowed = measure((want.embedding, want.raw), (theirs.embedding, theirs.raw), EMOTIONS)
    got = backend.run(pixels[:4])
    found = measure((want.embedding, want.raw), (got.embedding, got.raw), EMOTIONS)
    assert found.rms_error <= tolerances.BF16_FACTOR * allowed.rms_error
    assert found.max_error <= tolerances.BF16_FACTOR * allowed.max_error


def test_captured_graphs_give_what_the_same_work_gives_uncaptured(tiny, backend, pixels):
    """Padding, slots and streams change no bit at the same batch size."""
    want = backend.run(pixels[:4])
    for _ in range(5):
        np.testing.assert_array_equal(backend.run(pixels[:4]).raw, want.raw)
    np.testing.assert_array_equal(backend.run(pixels[:3]).raw, want.raw[:3])
    pending = [backend.submit(pixels[i : i + 4]) for i in (0, 4)]
    np.testing.assert_array_equal(pending[0]().raw, want.raw)
    np.testing.assert_array_equal(pending[1]().raw, backend.run(pixels[4:8]).raw)


def test_device_batches_of_every_library(backend, pixels):
    want = backend.run(pixels[:4])
    batch = torch.from_numpy(pixels[:4]).cuda()
    shapes = [batch, Interface(batch), Interface(batch, stream=1), OnlyDlpack(batch)]
    cupy = pytest.importorskip("cupy") if _has("cupy") else None
    if cupy is not None:
        shapes.append(cupy.from_dlpack(batch))
    for source in shapes:
        np.testing.assert_array_equal(backend.run_to_host(source).raw, want.raw)
    strided = batch.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    np.testing.assert_array_equal(backend.run_to_host(strided).raw, want.raw)
    buffer = torch.zeros(batch.numel() + 1, dtype=torch.uint8, device="cuda")
    shifted = buffer[1:].view_as(batch).copy_(batch)  # an odd address
    np.testing.assert_array_equal(backend.run_to_host(shifted).raw, want.raw)


def _has(package: str) -> bool:
    import importlib.util

    return importlib.util.find_spec(package) is not None


def test_longer_batches_are_cut_and_empty_ones_are_empty(backend, pixels):
    batch = torch.from_numpy(pixels).cuda()
    found = backend.run_device(batch)
    for start in range(0, len(pixels), 4):
        part = pixels[start : start + 4]
        np.testing.assert_array_equal(found.raw[start : start + 4].cpu().numpy(), backend.run(part).raw)
    empty = backend.run_device(batch[:0])
    assert empty.embedding.shape == (0, 144)
    assert empty.raw.shape == (0, 44)


def test_the_callers_stream_orders_the_work(backend, pixels):
    """The batch is written on a stream behind work that takes long; nothing waits but that stream."""
    want = backend.run(pixels[:4])
    source = torch.from_numpy(pixels[:4]).pin_memory()
    batch = torch.zeros(source.shape, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    for make in (torch.cuda.Stream, lambda: torch.cuda.Stream(priority=-1)):
        stream = make()
        with torch.cuda.stream(stream):
            torch.cuda._sleep(50_000_000)
            batch.copy_(source, non_blocking=True)
        found = backend.run_to_host(batch, stream.cuda_stream)
        np.testing.assert_array_equal(found.raw, want.raw)
        with torch.cuda.stream(stream):
            batch.zero_()
    torch.cuda.synchronize()


def test_wrong_device_batches_leave_the_backend_usable(backend, pixels):
    batch = torch.from_numpy(pixels[:4]).cuda()
    for wrong, said in (
        (batch.int(), "dtype int32"),
        (batch[:, :2], "shape"),
        (batch.cpu(), "lie on cpu"),
        (object(), "without __dlpack__"),
    ):
        with pytest.raises(InputError, match=said):
            backend.run_device(wrong)
    with pytest.raises(BackendError, match="stream is 'default'; expected a CUDA stream"):
        backend.run_device(batch, stream="default")
    if torch.cuda.device_count() > 1:
        with pytest.raises(InputError, match="lie on cuda:1"):
            backend.run_device(batch.to("cuda:1"))
    assert np.isfinite(backend.run(pixels[:4]).raw).all()


def test_a_capturing_stream_is_refused(backend, pixels):
    batch = torch.from_numpy(pixels[:4]).cuda()
    other = torch.zeros(8, device="cuda")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        other.add_(1)
        with pytest.raises(BackendError, match="is capturing a CUDA graph"):
            backend.run_device(batch)
    assert np.isfinite(backend.run(pixels[:4]).raw).all()


def test_bad_pixels_get_a_row_of_nan_and_no_other(tiny, backend, pixels):
    values = torch.from_numpy(normalise(pixels[:4], tiny.preprocess)).cuda()
    want = backend.run_device(values).raw.cpu().numpy()
    values[2, 1, 3, 3] = float("nan")
    got = backend.run_device(values).raw.cpu().numpy()
    assert np.isnan(got[2]).all()
    np.testing.assert_array_equal(got[[0, 1, 3]], want[[0, 1, 3]])


def test_out_of_memory_is_an_error_and_the_backend_goes_on(tiny, tmp_path, pixels):
    free, _ = torch.cuda.mem_get_info()
    with pytest.raises(BackendError, match=r"GB free; this engine needs"):
        CudaBackend(tiny, "cuda", "bf16", max(1024, int(free / 20_000)), tmp_path)
    small = CudaBackend(tiny, "cuda", "bf16", 2, tmp_path)
    assert np.isfinite(small.run(pixels[:2]).raw).all()
    small.close()


def test_close_gives_the_memory_back(tiny, tmp_path, pixels):
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    backend = CudaBackend(tiny, "cuda", "bf16", 8, tmp_path)
    backend.run(pixels[:8])
    assert torch.cuda.memory_allocated() > before
    backend.close()
    backend.close()
    assert torch.cuda.memory_allocated() <= before
    with pytest.raises(BackendError, match="was closed"):
        backend.run(pixels[:1])


def test_fp8_uses_the_stored_certificate(tiny, tmp_path, pixels):
    """The tiny model is too narrow to be certified itself, so a certificate is laid down for it."""
    if torch.cuda.get_device_capability() < (8, 9):
        with pytest.raises(BackendError, match="no FP8 matrix units"):
            CudaBackend(tiny, "cuda", "fp8", 4, tmp_path)
        return
    path, key = certificate_place(tiny, torch.device("cuda", 0), tmp_path)
    good = Fidelity(64, 0.9995, 0.9999, 0.1, 0.1, 0.1, 0.1, 1.0, (0.999,), 1.0)
    bias = load(tiny, torch.device("cpu"), "fp8").blocks[1].fc2.exact_bias.numpy() + np.float32(1e-3)
    store_certificate(path, key, Certificate(("0.fc2",), good, {}, {"1.fc2.bias": bias}))
    backend = CudaBackend(tiny, "cuda", "fp8", 4, tmp_path)
    blocks = backend.engine.network.weights.blocks
    assert [block.fc2.quantised for block in blocks] == [False, True]
    np.testing.assert_array_equal(blocks[1].fc2.exact_bias.cpu().numpy(), bias)
    want = Reference.from_packed(tiny).score_processed(normalise(pixels[:4], tiny.preprocess))
    got = backend.run(pixels[:4])
    backend.close()
    found = measure((want.embedding, want.raw), (got.embedding, got.raw), EMOTIONS)
    assert tolerances.FP8_COSINE_TINY <= found.cosine_min < 0.999999


def test_device_batches_under_way(backend, pixels):
    """As DALI's are submitted: queued on the engine's stream, taken later, the memory kept until then."""
    index, handle = backend.place()
    stream = torch.cuda.ExternalStream(handle, torch.device("cuda", index))
    want = backend.run(pixels[:4])
    with torch.cuda.stream(stream):
        batches = [torch.from_numpy(pixels[:4]).cuda(), torch.from_numpy(pixels[4:7]).cuda()]
    results = [backend.submit_device(OnlyDlpack(batch)) for batch in batches]
    del batches
    found = [result() for result in results]
    np.testing.assert_array_equal(found[0].raw, want.raw)
    np.testing.assert_array_equal(found[1].raw, backend.run(pixels[4:7]).raw)
