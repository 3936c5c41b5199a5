"""The extension on the fake TensorRT and driver: test_sanitized.py runs this file under AddressSanitizer too."""

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from .bench import BLOB, LINES, ROW, WIDTHS, Bench, check, pictures


def test_says_what_it_is(bench, fakes):
    assert bench.tensorrt.version == (11, 13, 0)
    assert bench.module.header_version == (11, 13)
    assert bench.tensorrt.build_fault == ""
    assert (bench.device.name, bench.device.capability) == ("Fake GPU", (9, 0))
    assert bench.device.memory() == (64_000_000_000, 80_000_000_000)
    # The fake lists outputs first; here the input is first in any case.
    found = [(t.name, t.input, t.dtype, t.row) for t in bench.engine.tensors]
    assert found[0] == ("pixels", True, "uint8", ROW)
    assert found[1:] == [("embedding", False, "float32", (4,)), ("raw", False, "float32", (2,))]
    assert bench.engine.batch_sizes == [1, 4, 16]
    assert bench.engine.buffer_bytes == 16 * (192 + 16 + 8) + 16 * 1024


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16])
def test_every_row_gets_its_own_result_whatever_the_padding_holds(bench, n):
    bench.run(pictures(16, seed=9))  # leaves other pictures in the padding
    check(bench.run(pictures(n, seed=n)), pictures(n, seed=n))
    assert bench.engine.size_for(n) == (1 if n == 1 else 4 if n <= 4 else 16)


@pytest.mark.parametrize("n", [0, -1, 17])
def test_a_batch_that_fits_no_size_is_refused(bench, n):
    with pytest.raises(
        bench.module.TensorRtError, match=rf"a batch has {n} rows; this engine takes 1 to 16 .*1, 4, 16"
    ):
        bench.engine.run(0, n, [], 0)


def test_a_graph_is_captured_once_and_launched_ever_after(bench, fakes):
    for n in (3, 4, 2, 3):  # one of just the size: a second in the same place would be read there
        check(bench.run(pictures(n)), pictures(n))
    assert bench.engine.captured() == [4]
    assert (fakes.count("enqueue"), fakes.count("launch")) == (2, 4)  # one to warm up, one to capture
    bench.engine.prepare(9)
    assert bench.engine.captured() == [4, 16]
    assert (fakes.count("enqueue"), fakes.count("launch")) == (4, 4)


@pytest.mark.parametrize("what", ["capture", "instantiate"])
def test_without_a_graph_it_runs_and_says_so(fakes, what):
    said = []
    bench = Bench(fakes, sink=lambda level, text: said.append((level, text)))
    fakes.fail(what)
    check(bench.run(pictures(3)), pictures(3))
    check(bench.run(pictures(2)), pictures(2))
    assert bench.engine.captured() == []
    (warning,) = [text for level, text in said if level == 30]
    assert warning.startswith("batch size 4 runs without a CUDA graph: CUDA's ")


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("context", "could not make a context for batch size 4; .*smaller batch.*: a context could not be made"),
        ("profile", "refused the profile of batch size 4: the profile cannot be set"),
        ("shape", "refused the shape of 'pixels' at batch size 4: the shape does not fit"),
        ("address", "refused the address of 'pixels': no such tensor"),
        ("enqueue", "could not run batch size 4: a kernel could not be launched"),
    ],
)
def test_a_failure_is_told_in_tensorrts_words_and_leaves_the_engine_usable(bench, fakes, what, words):
    fakes.fail(what)
    with pytest.raises(bench.module.TensorRtError, match=words):
        bench.run(pictures(3))
    check(bench.run(pictures(3)), pictures(3))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("runtime", "TensorRT 11.13.0 could not make a runtime"),
        ("deserialize", "refused an engine of .* bytes; .*build it again.*: the plan file is no engine"),
        ("allocate", r"out of memory \(2\); 0 MB were asked for, 64000 of 80000 MB are free: use a smaller batch"),
    ],
)
def test_an_engine_that_cannot_be_opened_leaves_nothing_behind(fakes, what, words):
    fakes.fail(what)
    with pytest.raises(fakes.extension.TensorRtError, match=words):
        Bench(fakes)
    assert fakes.count("memory") == 0
    made = [line.split()[1] for line in fakes.story() if line.startswith("make")]
    gone = [line.split()[1] for line in fakes.story() if line.startswith("destroy")]
    assert made == gone[::-1]


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (LINES[3:], "no optimisation profile"),
        ([*LINES, "input more uint8 3 8 8"], "has 2 inputs of 4 tensors; expected one input"),
        (LINES[:4], "has 1 inputs of 1 tensors"),
        ([*LINES, "output odd int64 4"], "a type that emonet-fast never builds"),
        ([*LINES, "output none float32 0"], "'none' has no fixed row"),
    ],
)
def test_engines_that_are_not_ours_are_refused(fakes, lines, words):
    with pytest.raises(fakes.extension.TensorRtError, match=words):
        Bench(fakes, "\n".join(["fake-engine", *lines, ""]).encode())


@pytest.mark.parametrize("blob", [b"", b"garbage", BLOB[1:], bytes(range(256)) * 64])
def test_garbage_is_refused(fakes, blob):
    with pytest.raises(fakes.extension.TensorRtError, match=f"refused an engine of {len(blob)} bytes"):
        Bench(fakes, blob)


def test_everything_is_destroyed_in_order_and_the_logger_last(fakes):
    said = []
    bench = Bench(fakes, sink=lambda level, text: said.append(text))
    bench.run(pictures(3))
    bench.run(pictures(1))
    del bench
    assert [line for line in fakes.story() if line.startswith("destroy")] == [
        "destroy graph", "destroy context", "destroy graph", "destroy context", "destroy engine", "destroy runtime",
    ]  # fmt: skip
    assert said[-1] == "runtime destroyed"
    assert fakes.count("memory") == 0


def test_eight_threads_at_once(bench, fakes):
    """Each on a stream of its own, all through the same buffers, and never two in one launch."""

    def work(seed):
        stream = bench.module.Stream(bench.device)
        for i in range(20):
            pixels = pictures(1 + (seed + i) % 16, seed=100 * seed + i)
            check(bench.run(pixels, stream), pixels)

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(work, seed) for seed in range(8)]:
            done.result()
    assert fakes.count("overlap") == 0


def test_runs_on_two_streams_wait_for_each_other(bench):
    """Both are queued before either is waited for, through the same buffers; the fake mixes their steps."""
    streams = [bench.module.Stream(bench.device) for _ in range(2)]
    batches = [pictures(4, seed=seed) for seed in (1, 2)]
    inputs = [bench.device.array(pixels.shape, "uint8") for pixels in batches]
    outputs = [[bench.device.array((4, width), "float32") for width in WIDTHS] for _ in batches]
    bench.engine.prepare(4)
    for stream, pixels, array, out in zip(streams, batches, inputs, outputs, strict=True):
        bench.device.upload(array, pixels, stream.handle)
        bench.engine.run(array.address, 4, [o.address for o in out], stream.handle)
    for stream, pixels, out in zip(streams, batches, outputs, strict=True):
        host = [np.zeros((4, width), np.float32) for width in WIDTHS]
        for to, source in zip(host, out, strict=True):
            bench.device.download(to, source, stream.handle)
        stream.synchronize()
        check(host, pixels)


@pytest.mark.parametrize("what", ["synchronize", "run", "prepare"])
def test_pythons_lock_is_released_while_the_gpu_is_waited_for(bench, fakes, what):
    """The kernel blocks until Python unblocks it: a lock that is held would keep Python from that for 20 s."""
    pixels, found = pictures(2), []
    if what == "synchronize":
        bench.engine.prepare(2)  # else the warm-up is what blocks, inside of run
    fakes.control.fake_block()
    act = (lambda: bench.engine.prepare(2)) if what == "prepare" else (lambda: found.append(bench.run(pixels)))
    worker = threading.Thread(target=act)
    worker.start()
    fakes.control.fake_wait_blocked()
    fakes.control.fake_unblock()
    worker.join()
    check(found[0] if found else bench.run(pixels), pixels)
    assert (fakes.count("blocked"), fakes.count("timed out")) == (1, 0)


def test_a_stream_under_capture_is_refused(bench, fakes):
    stream = bench.module.Stream(bench.device)
    handle, graph = ctypes.c_void_p(stream.handle), ctypes.c_void_p()
    assert fakes.control.cuStreamBeginCapture_v2(handle, 1) == 0
    with pytest.raises(bench.module.TensorRtError, match="capturing a CUDA graph; expected one that is not"):
        bench.engine.run(0, 1, [0, 0], stream.handle)
    assert fakes.control.cuStreamEndCapture(handle, ctypes.byref(graph)) == 0
    fakes.control.cuGraphDestroy(graph)


def test_libraries_that_are_missing_or_wrong(fakes):
    error = fakes.extension.TensorRtError
    with pytest.raises(error, match=r"TensorRT \(libnvinfer\) could not be opened; tried:\n  libno\.so.*\n  libnot"):
        fakes.extension.TensorRt(["libno.so", "libnot.so"], [])
    with pytest.raises(error, match="has no function getInferLibMajorVersion"):
        fakes.extension.TensorRt([fakes.driver], [])
    without = fakes.extension.TensorRt([fakes.nvinfer], ["libno.so"])
    assert without.build_fault.startswith("TensorRT's ONNX parser (libnvonnxparser) could not be opened")
    with pytest.raises(error, match="NVIDIA's driver"):
        fakes.extension.Cuda(["libno.so"])
    fakes.fail("devices")
    with pytest.raises(error, match="finds no GPU on this machine"):
        fakes.extension.Cuda([fakes.driver])
    with pytest.raises(error, match="cuda:2 does not exist; this machine has cuda:0 to cuda:1"):
        fakes.extension.Device(fakes.extension.Cuda([fakes.driver]), 2)


def test_another_major_version_is_refused(fakes, fakes10):
    """Built with the headers of 11, a library of 10."""
    with pytest.raises(fakes.extension.TensorRtError, match=r"is TensorRT 10\.13\.0, but .* headers of 11; .*build"):
        fakes.extension.TensorRt([fakes10], [])


@pytest.fixture
def network(tmp_path):
    """An ONNX file with our inputs and outputs; the fake parser reads these and one layer a MatMul."""
    nodes = [helper.make_node("MatMul", ["a", "b"], ["embedding"], name="layer0/out/product")]
    values = [
        helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", *ROW]),
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["N", 4]),
        helper.make_tensor_value_info("raw", TensorProto.FLOAT, ["N", 2]),
    ]
    path = tmp_path / "network.onnx"
    path.write_bytes(helper.make_model(helper.make_graph(nodes, "g", values[:1], values[1:])).SerializeToString())
    assert onnx.load(path).graph.name == "g"
    return path


def build(bench, path, *, cache=b"", sink=None, progress=None):
    return bench.module.build(bench.tensorrt, bench.device, str(path), [1, 4], cache, sink, progress)


def test_builds_an_engine_that_runs(fakes, bench, network):
    steps, said = [], []

    def progress(*step):
        steps.append(step)
        return True

    blob, cache = build(bench, network, cache=b"old", sink=lambda *m: said.append(m), progress=progress)
    assert cache == b"oldT"
    assert steps == [("Building", i, 3) for i in (0, 1, 2, 3, 3)]
    assert (20, "building") in said
    made = Bench(fakes, blob)
    assert made.engine.batch_sizes == [1, 4]
    assert '"layer0/out/product"' in made.engine.inspect()
    check(made.run(pictures(3)), pictures(3))


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("builder", "could not make a builder"),
        ("parse", "cannot read the network .*network.onnx; an operator is not supported"),
        ("dimensions", "refused an optimisation profile of batch size 1"),
        ("build", "found no engine for .*: no implementation for a layer"),
    ],
)
def test_builds_that_fail(bench, fakes, network, what, words):
    fakes.fail(what)
    with pytest.raises(bench.module.TensorRtError, match=words):
        build(bench, network)


def test_a_build_can_be_stopped(bench, network):
    with pytest.raises(bench.module.TensorRtError, match="the build was stopped"):
        build(bench, network, progress=lambda phase, done, total: done < 2)


def test_a_foreign_timing_cache_is_said(bench, fakes, network):
    said = []
    fakes.fail("timing")
    build(bench, network, cache=b"x", sink=lambda *m: said.append(m))
    assert (30, "the timing cache is of another GPU or TensorRT and is not used") in said


def test_a_sink_that_raises_harms_nothing(fakes, monkeypatch):
    def sink(level, text):
        raise ValueError(text)

    events = []
    monkeypatch.setattr("sys.unraisablehook", lambda event: events.append(str(event.exc_value)))
    bench = Bench(fakes, sink=sink)
    check(bench.run(pictures(2)), pictures(2))
    del bench
    assert events == ["runtime destroyed"]
