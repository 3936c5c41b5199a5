"""The whole backend on the fakes: real network files, real calibration, engines whose answers the tests give."""

import ctypes
import json
import logging
import os
import resource
import signal
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from emonet_fast.backends.base import DeviceBackend
from emonet_fast.backends.staging import sizes_up_to, stream_handle
from emonet_fast.backends.tensorrt import libraries as places
from emonet_fast.backends.tensorrt.backend import SIZES, TensorRtBackend
from emonet_fast.backends.tensorrt.libraries import Libraries, open_native
from emonet_fast.engines.pictures import generated_pixels
from emonet_fast.errors import BackendError, InputError
from emonet_fast.options import Options
from emonet_fast.verify.run import precisions_for

from .test_arrays import OnlyInterface

pytestmark = pytest.mark.usefixtures("remembered")


@pytest.fixture(scope="module")
def tell(known):
    """Lets the fake GPU answer like the float32 network; an error on top if wanted."""

    def answers(fakes, error=0.0):
        pixels, seen = known
        rng = np.random.default_rng(0)
        for row, embedding, raw in zip(pixels, seen.embedding, seen.raw, strict=True):
            noise = (error * rng.standard_normal(embedding.shape) * np.abs(embedding).mean()).astype(np.float32)
            fakes.answer(np.ascontiguousarray(row), np.ascontiguousarray(embedding + noise), np.ascontiguousarray(raw))

    return answers


@pytest.fixture
def libraries(fakes):
    return Libraries(fakes.extension, (fakes.driver,), (fakes.nvinfer,), (fakes.parser,))


@pytest.fixture
def make(checkpoint, libraries, tmp_path):
    def opened(precision="auto", batch_size=8, **more):
        return TensorRtBackend(checkpoint, "auto", precision, batch_size, tmp_path, libraries=libraries, **more)

    return opened


@pytest.fixture
def backend(make, fakes, tell):
    tell(fakes)
    return make()


def check(outputs, seen, rows):
    np.testing.assert_array_equal(outputs.embedding, seen.embedding[rows])
    np.testing.assert_array_equal(outputs.raw, seen.raw[rows])


def test_builds_checks_stores_and_opens_again_without_a_build(backend, make, fakes, tmp_path):
    report = backend.report
    assert (backend.name, backend.precision, backend.batch_size) == ("tensorrt", "bf16", 8)
    assert backend.runner.engine.batch_sizes == [1, 8]
    assert report.fidelity.cosine_min > 1 - 1e-9
    assert report.stored.is_file()
    assert "tensorrt 11.13.0, bf16, batch sizes 1, 8, Fake GPU [9.0], graph" in report.text()
    record = json.loads(report.stored.with_suffix(".json").read_text())
    assert record["size"] == report.stored.stat().st_size
    assert len(list((tmp_path / "engines").glob("timing-*.cache"))) == 1
    assert make().report is None
    assert fakes.count("build") == 1
    make(batch_size=4)
    assert fakes.count("build") == 2


def test_an_engine_that_misses_its_bars_is_not_kept(make, tmp_path):
    """Without answers the fake computes nonsense."""
    with pytest.raises(BackendError, match=r"misses its bars and is not kept: embedding cosine -?0\.\d+ is below"):
        make()
    assert list((tmp_path / "engines").glob("*.engine")) == []


@pytest.mark.parametrize("size", [1, 8])
def test_every_batch_size_is_held_to_the_bars(make, fakes, tell, tmp_path, size):
    """Each has kernels of its own. The first run of a size is its warm-up."""
    tell(fakes)
    fakes.fail(f"kernel of {size}", times=2)
    with pytest.raises(BackendError, match=r"misses its bars and is not kept: embedding cosine nan is below 0\.9997"):
        make()
    assert list((tmp_path / "engines").glob("*.engine")) == []


def test_what_verify_tries(fakes, libraries, monkeypatch):
    def tried(**settings: str) -> tuple[str, ...]:
        return precisions_for(Options(backend="tensorrt", **settings))

    monkeypatch.setattr(places, "find", lambda: libraries)
    assert tried(device="cuda") == ("bf16", "fp8")
    assert tried(precision="fp8") == ("fp8",)
    with pytest.raises(BackendError, match="for fp32 use backend"):
        tried(precision="fp32")
    with pytest.raises(BackendError, match="backend 'tensorrt' does not run on device 'cpu'"):
        tried(device="cpu")


def test_a_stored_engine_that_was_changed_is_built_again(backend, make, fakes, caplog):
    path = backend.report.stored
    path.write_bytes(path.read_bytes() + b"\n")
    assert make().report is not None
    assert "does not match its record" in caplog.text
    assert fakes.count("build") == 2


def test_an_engine_from_elsewhere_needs_trust(backend, make, fakes, tmp_path, caplog):
    elsewhere = tmp_path / "elsewhere.engine"
    elsewhere.write_bytes(backend.report.stored.read_bytes())
    assert make(trust_engine=elsewhere).report is None
    assert "loaded on trust" in caplog.text
    with pytest.raises(BackendError, match=r"in batches of up to 8; expected .* and 16: it was built for other"):
        make(batch_size=16, trust_engine=elsewhere)
    with pytest.raises(BackendError, match="cannot be read: No such file"):
        make(trust_engine=tmp_path / "none")
    assert fakes.count("build") == 1


@pytest.mark.parametrize("mix", [0, 1], ids=["as late as can be", "mixed"])
def test_rows_of_every_batch_size_from_the_host(backend, known, fakes, mix):
    fakes.control.fake_mix(mix)
    pixels, seen = known
    for n in (1, 2, 7, 8):
        check(backend.run(pixels[:n]), seen, slice(0, n))
    for n in (0, 9):
        with pytest.raises(BackendError, match=f"a batch has {n} rows"):
            backend.run(pixels[:n])


def test_batches_of_another_kind_are_refused(backend):
    """Normalised floats would all be 0 as bytes."""
    for shape, dtype in (((2, 3, 32, 32), np.float32), ((2, 3, 16, 32), np.uint8), ((3, 32, 32), np.uint8)):
        with pytest.raises(InputError, match=r"expected uint8 \[n, 3, 32, 32\] on the host"):
            backend.run(np.zeros(shape, dtype))


def test_batches_under_way_keep_their_results_and_free_their_input(backend, known):
    pixels, seen = known
    waiting = []
    for i in range(8):
        batch = pixels[8 * i : 8 * i + 8].copy()
        waiting.append(backend.submit(batch))
        batch[:] = 0  # may be reused when submit returns
    for i, take in enumerate(waiting):
        check(take(), seen, slice(8 * i, 8 * i + 8))


def test_eight_threads(backend, known):
    pixels, seen = known

    def work(i):
        for n in (3, 8, 1, 5):
            check(backend.run(pixels[8 * i : 8 * i + n]), seen, slice(8 * i, 8 * i + n))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))


def test_batches_on_the_gpu_of_any_length(backend, known):
    pixels, seen = known
    device, extension = backend.runner.native.device, backend.runner.native.extension
    assert isinstance(backend, DeviceBackend)
    stream = extension.Stream(device)
    for n in (0, 1, 8, 20):
        array = device.array((n, *pixels.shape[1:]), "uint8")
        device.upload(array, pixels[:n], stream.handle)
        check(backend.run_to_host(array, stream), seen, slice(0, n))
    found = backend.run_device(array, stream)
    assert found.raw.shape == (20, 44)
    host, other = np.empty((20, 44), np.float32), extension.Stream(device)
    device.download(host, device.take(found.raw, other.handle), other.handle)  # which waits for the first one
    other.synchronize()
    np.testing.assert_array_equal(host, seen.raw[:20])
    with pytest.raises(InputError, match=r"pixels are float32 \[2, 3, 32, 32\]; expected uint8"):
        backend.run_to_host(device.array((2, 3, 32, 32), "float32"))
    with pytest.raises(InputError, match="pixels cannot be taken: an array lies on DLPack device 1:0"):
        backend.run_to_host(pixels)


def test_batches_that_were_decoded_on_the_gpu(backend, known):
    """As a decoder hands them over: on the stream that the backend names, several under way, also above a batch."""
    pixels, seen = known
    assert isinstance(backend, DeviceBackend)
    index, stream = backend.place()
    assert (index, stream) == (backend.runner.native.gpu.index, backend.runner.stream)
    device = backend.runner.native.device
    waiting = []
    for n in (3, 8, 1, 11):
        array = device.array((n, 3, 32, 32), "uint8")
        device.upload(array, pixels[:n], stream)
        waiting.append((n, backend.submit_device(array)))
        del array
    for n, result in waiting:
        check(result(), seen, slice(0, n))


def on_gpu(backend, pixels, stream):
    """The batch in new memory, ready on the stream."""
    device = backend.runner.native.device
    array = device.array(pixels.shape, "uint8")
    device.upload(array, pixels, stream.handle)
    return array


def test_outputs_on_the_gpu_take_no_new_memory(backend, known, fakes):
    """An allocation a call, and worse a free, would stall the whole GPU."""
    pixels, seen = known
    stream = backend.runner.native.extension.Stream(backend.runner.native.device)
    arrays = [on_gpu(backend, pixels[:n], stream) for n in (8, 5, 8)]
    for array in arrays:
        check(backend.run_to_host(array, stream), seen, slice(0, len(array)))
    counts = fakes.count("allocate"), fakes.count("free")
    for array in arrays:
        found = backend.run_device(array, stream)
        assert found.raw.shape == (len(array), 44)
        del found
        check(backend.run_to_host(array, stream), seen, slice(0, len(array)))
    assert (fakes.count("allocate"), fakes.count("free")) == counts


def test_a_batch_is_kept_until_the_gpu_has_read_it(backend, known):
    """Even where only a part of the outputs is: their memory may be somebody else's as soon as it is dropped."""
    pixels, seen = known
    device, extension = backend.runner.native.device, backend.runner.native.extension
    stream = extension.Stream(device)
    given = OnlyInterface(on_gpu(backend, pixels[:8], stream), stream=stream.handle)
    alive = weakref.ref(given)
    raw = backend.run_device(given, stream).raw
    del given
    assert alive() is not None
    host = np.empty((8, 44), np.float32)
    device.download(host, raw, stream.handle)
    stream.synchronize()
    np.testing.assert_array_equal(host, seen.raw[:8])
    backend.run_device(on_gpu(backend, pixels[:1], stream), stream)
    assert alive() is None
    given = OnlyInterface(on_gpu(backend, pixels[:8], stream), stream=stream.handle)
    alive = weakref.ref(given)
    backend.run_device(given, stream)
    del given
    backend.close()
    assert alive() is None


def test_an_array_that_names_no_stream_is_waited_for(backend, known, fakes, caplog):
    """PyCUDA's do not. The caller names the stream on which the batch becomes ready, or all work is waited for."""
    pixels, seen = known
    producer = backend.runner.native.extension.Stream(backend.runner.native.device)
    given = OnlyInterface(on_gpu(backend, pixels[:8], producer))
    check(backend.run_to_host(given), seen, slice(0, 8))
    assert fakes.count("wait for all") == 1
    assert "names no stream" in caplog.text
    given = OnlyInterface(on_gpu(backend, pixels[:8], producer))
    check(backend.run_to_host(given, producer), seen, slice(0, 8))
    assert fakes.count("wait for all") == 1


def test_streams_by_all_their_names():
    class Named:
        pass

    for field in ("cuda_stream", "ptr", "handle"):
        stream = Named()
        setattr(stream, field, 4711)
        assert stream_handle(stream) == 4711
    stream = Named()
    stream.__cuda_stream__ = lambda: (0, 4711)
    assert stream_handle(stream) == 4711
    # The protocol's first version (a property), handles of ctypes (older Numba) and of cuda.bindings.
    stream.__cuda_stream__ = (0, 4712)
    assert stream_handle(stream) == 4712
    del stream.__cuda_stream__
    for handle, number in ((ctypes.c_void_p(4713), 4713), (ctypes.c_void_p(0), 0), (Handle(), 4714)):
        stream.handle = handle
        assert stream_handle(stream) == number
    assert (stream_handle(None), stream_handle(2)) == (0, 2)
    with pytest.raises(BackendError, match="expected a CUDA stream or its handle"):
        stream_handle("a stream")


class Handle:
    """As CUstream of cuda.bindings."""

    def __int__(self):
        return 4714


def test_closing_gives_all_memory_back(backend, fakes):
    assert fakes.count("memory") > 0
    backend.close()
    assert fakes.count("memory") == 0
    with pytest.raises(BackendError, match="was closed"):
        backend.run(np.zeros((1, 3, 32, 32), np.uint8))


def test_fp8_keeps_as_many_layers_as_the_gate_needs(make, fakes, tell, caplog):
    """The third build is the first whose engine answers well enough: two layers are kept."""
    builds = []

    def progress(phase, done, total):
        if phase == "Building" and done == 0:
            builds.append(phase)
            tell(fakes, error=0.2 if len(builds) < 3 else 0.001)

    with caplog.at_level(logging.INFO, "emonet_fast"):
        backend = make("fp8", progress=progress)
    report = backend.report
    assert len(report.keep) == 2
    assert "FP8 in all layers misses the bars (embedding cosine 0." in caplog.text
    assert f"in bf16 for fidelity: {', '.join(report.keep)}" in report.text()
    # The fake parser tells FP8 for products whose inputs both come from DequantizeLinear.
    fp8 = [layer.text.strip() for layer in report.precisions.layers if layer.precision == "fp8"]
    kept = sum(3 if name.endswith("qkv") else 1 for name in report.keep)
    assert len(fp8) == 2 * 6 - kept
    assert (report.precisions.missed, report.precisions.unknown) == ((), ())
    assert make("fp8").report is None


def test_fp8_that_no_layer_saves_is_refused(make, tmp_path):
    with pytest.raises(BackendError, match=r"FP8 cannot be certified: even without it embedding cosine"):
        make("fp8")
    assert list((tmp_path / "engines").glob("*.engine")) == []


def test_an_interrupted_build_ends_as_the_interruption(make, tmp_path):
    def progress(phase, done, total):
        if phase == "Building" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(progress=progress)
    assert list((tmp_path / "engines").glob("*.engine")) == []


def test_ctrl_c_reaches_a_build_whose_progress_comes_from_another_thread(make, fakes, tmp_path):
    """As TensorRT's may: the main thread, which alone is interrupted, must be free meanwhile."""
    said = threading.Event()

    class Heard(logging.Handler):
        def emit(self, record):
            if "stopped at TensorRT's next step" in record.getMessage():
                said.set()

    def progress(phase, done, total):
        if phase == "Building" and done == 1:
            os.kill(os.getpid(), signal.SIGINT)
            assert said.wait(20)

    heard, log = Heard(), logging.getLogger("emonet_fast")
    log.addHandler(heard)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background it may be ignored
    try:
        with pytest.raises(KeyboardInterrupt):
            make(progress=progress)
    finally:
        signal.signal(signal.SIGINT, before)
        log.removeHandler(heard)
    assert said.is_set()
    assert fakes.count("build") == 0
    assert not (tmp_path / "engines").exists()


def test_a_cache_that_cannot_be_written_costs_the_next_build_and_no_more(make, fakes, tell, known, tmp_path, caplog):
    tell(fakes)
    (tmp_path / "engines").touch()  # a file where the folder should be
    backend = make()
    assert backend.report.stored is None
    assert "not kept: the cache cannot be written" in backend.report.text()
    assert "the engine could not be kept in" in caplog.text
    pixels, seen = known
    check(backend.run(pixels[:3]), seen, slice(0, 3))


def test_no_room_for_the_network_is_told(make, known):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(BackendError, match=r"cannot be written to .* \(File too large\).*: set TMPDIR to a folder"):
            make()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_timing_cache_that_cannot_be_read_is_done_without(backend, make, tmp_path, caplog):
    (timing,) = (tmp_path / "engines").glob("timing-*.cache")
    timing.unlink()
    timing.mkdir()
    assert make(batch_size=4).report is not None
    assert f"timing cache {timing} is not used: [Errno 21]" in caplog.text


@pytest.mark.parametrize(("precision", "words"), [("fp32", "has precision 'bf16' and 'fp8'; for fp32 use backend")])
def test_precisions_that_it_does_not_have(make, precision, words):
    with pytest.raises(BackendError, match=words):
        make(precision)


def test_a_machine_without_a_driver_never_reaches_tensorrt(fakes):
    """TensorRT's path is none, and nobody notices: the driver is asked first."""
    with pytest.raises(BackendError, match=r"TensorRT cannot be used: NVIDIA's driver \(libcuda\) could not be opened"):
        open_native(Libraries(fakes.extension, ("libno.so",), (), ()), "cuda")


def test_a_runtime_that_cannot_build_says_so(fakes, checkpoint, tmp_path):
    lean = Libraries(fakes.extension, (fakes.driver,), (fakes.nvinfer,), ("libno.so",))
    with pytest.raises(BackendError, match=r"cannot build engines: TensorRT's ONNX parser"):
        TensorRtBackend(checkpoint, "cuda:1", "bf16", 4, tmp_path, libraries=lean)


def test_generated_pictures_are_the_same_every_time_and_for_each_seed_others(checkpoint):
    first, again, others = (generated_pixels(checkpoint, 2, seed) for seed in (0, 0, 1))
    assert first.shape == (2, 3, 32, 32)
    np.testing.assert_array_equal(first, again)
    assert (first != others).any()


def test_batch_sizes():
    assert [sizes_up_to(n, SIZES) for n in (1, 2, 8, 9, 64)] == [(1,), (1, 2), (1, 8), (1, 8, 9), (1, 8, 64)]
