"""The extension on the fake TensorRT and driver: test_sanitized.py runs this file under AddressSanitizer too."""

import ctypes
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

ROW, WIDTHS = (3, 8, 8), (4, 2)
LINES = [
    "size 1",
    "size 4",
    "size 16",
    "input pixels uint8 3 8 8",
    "output embedding float32 4",
    "output raw float32 2",
]
BLOB = "\n".join(["fake-engine", *LINES, ""]).encode()


class Bench:
    """An engine on the fake device, and one way to run a batch from the host and back."""

    def __init__(self, fakes, blob=BLOB, sink=None):
        self.fakes, self.module = fakes, fakes.extension
        self.device = self.module.Device(self.module.Cuda([fakes.driver]), 0)
        self.tensorrt = self.module.TensorRt([fakes.nvinfer], [fakes.parser])
        self.engine = self.module.Engine(self.tensorrt, self.device, blob, sink)

    def run(self, pixels, stream=None, place=None):
        """pixels [n, ...] -> outputs. place: another way to hand them over than by address."""
        stream = stream or self.module.Stream(self.device)
        array = self.device.array(pixels.shape, "uint8")
        self.device.upload(array, pixels, stream.handle)
        given = place(array, stream.handle) if place else array
        outputs = [self.device.array((len(pixels), width), "float32") for width in WIDTHS]
        self.engine.run(given.address, len(pixels), [o.address for o in outputs], stream.handle)
        host = [np.zeros((len(pixels), width), np.float32) for width in WIDTHS]
        for to, source in zip(host, outputs, strict=True):
            self.device.download(to, source, stream.handle)
        stream.synchronize()
        return host


def pictures(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, *ROW), dtype=np.uint8)


def expected(pixels):
    total = pixels.reshape(len(pixels), -1).sum(axis=1, dtype=np.float64)[:, None] / 255
    return [total + np.arange(width) + 1000 * i for i, width in enumerate(WIDTHS)]


def check(found, pixels):
    for got, want in zip(found, expected(pixels), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)


@pytest.fixture
def bench(fakes):
    return Bench(fakes)


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
    for n in (3, 4, 2, 4):
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


def test_a_view_keeps_the_engine_alive(bench, fakes):
    check(bench.run(pictures(3)), pictures(3))
    view, device, module = bench.engine.view(bench.device, "embedding", 3), bench.device, bench.module
    del bench.engine
    assert "destroy engine" not in fakes.story()
    host, stream = np.zeros((3, 4), np.float32), module.Stream(device)
    device.download(host, view, stream.handle)
    stream.synchronize()
    np.testing.assert_allclose(host, expected(pictures(3))[0], rtol=1e-6)
    del view
    assert "destroy engine" in fakes.story()


def test_input_written_into_the_engines_own_buffer_is_not_copied(bench, fakes):
    stream = bench.module.Stream(bench.device)
    bench.device.upload(bench.engine.view(bench.device, "pixels", 3), pictures(3), stream.handle)
    before = fakes.count("copy")
    bench.engine.run(0, 3, [], stream.handle)
    assert fakes.count("copy") == before
    host = np.zeros((3, 2), np.float32)
    bench.device.download(host, bench.engine.view(bench.device, "raw", 3), stream.handle)
    stream.synchronize()
    np.testing.assert_allclose(host, expected(pictures(3))[1], rtol=1e-6)


class OnDevice:
    """Batches on the GPU in buffers of their own, run and read back; `ran` gives the copies that a run made."""

    def __init__(self, bench):
        self.bench, self.fakes = bench, bench.fakes
        self.stream = bench.module.Stream(bench.device)
        self.outputs = [bench.device.array((16, width), "float32") for width in WIDTHS]

    def ran(self, array, pixels, address=None):
        bench, handle = self.bench, self.stream.handle
        bench.device.upload(array, pixels, handle)
        before = self.fakes.count("copy")
        n = len(pixels)
        bench.engine.run(address or array.address, n, [o.address for o in self.outputs], handle)
        copies = self.fakes.count("copy") - before - len(WIDTHS)  # the outputs' are meant
        host = [np.zeros((n, width), np.float32) for width in WIDTHS]
        for to, source in zip(host, self.outputs, strict=True):
            bench.device.download(to, source.rows(0, n), handle)
        self.stream.synchronize()
        check(host, pixels)
        return copies


def test_a_buffer_that_comes_again_is_read_where_it_lies(bench):
    """The first time it is copied; what lies in it is new every time."""
    device, array = OnDevice(bench), bench.device.array((4, *ROW), "uint8")
    assert [device.ran(array, pictures(4, seed)) for seed in range(5)] == [1, 0, 0, 0, 0]
    assert bench.engine.in_place() == 1
    # Padding needs the engine's own buffer: no row behind the caller's is read.
    assert [device.ran(array.rows(0, 3), pictures(3, seed)) for seed in range(3)] == [1, 1, 1]
    # The engine's own buffer is never copied onto itself.
    own = bench.engine.view(bench.device, "pixels", 3)
    assert device.ran(own, pictures(3, seed=8)) == 0
    assert device.ran(array, pictures(4, seed=9)) == 0


def test_few_buffers_are_kept_and_forgotten_ones_make_room(bench):
    device = OnDevice(bench)
    arrays = [bench.device.array((4, *ROW), "uint8") for _ in range(5)]

    def rounds(count, used):
        return [[device.ran(array, pictures(4, seed)) for array in used] for seed in range(count)]

    # More than are kept, in turns: none is captured, since none would last.
    assert rounds(3, arrays) == [[1] * 5] * 3
    assert bench.engine.in_place() == 0
    assert rounds(3, arrays[:4])[-1] == [0] * 4
    assert device.ran(arrays[4], pictures(4)) == 1
    assert bench.engine.in_place() == 4
    rounds(22, arrays[:3])  # 66 runs without the fourth
    assert [device.ran(arrays[4], pictures(4)) for _ in range(3)] == [1, 0, 0]
    assert bench.engine.in_place() == 4


def test_a_buffer_that_cannot_be_captured_is_copied_ever_after(fakes):
    said = []
    bench = Bench(fakes, sink=lambda level, text: said.append(text) if level == 30 else None)
    device, array = OnDevice(bench), bench.device.array((4, *ROW), "uint8")
    assert device.ran(array, pictures(4)) == 1
    fakes.fail("capture")
    assert [device.ran(array, pictures(4, seed)) for seed in range(3)] == [1, 1, 1]
    assert [text.partition(":")[0] for text in said] == ["batch size 4 copies its input on the GPU"]


def test_an_address_that_tensorrt_cannot_take_is_copied(bench):
    device, array = OnDevice(bench), bench.device.array((2, *ROW), "uint8")
    odd = array.rows(1, 2)  # 192 bytes behind an address of 256
    assert [device.ran(odd, pictures(1, seed)) for seed in range(3)] == [1, 1, 1]


class OnlyDlpack:
    def __init__(self, array):
        self.array = array

    def __dlpack__(self, stream=None):
        return self.array.__dlpack__(stream=stream)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class OnlyInterface:
    def __init__(self, array, **changes):
        self.__cuda_array_interface__ = array.__cuda_array_interface__ | changes
        self.array = array


@pytest.mark.parametrize("wrap", [OnlyDlpack, OnlyInterface])
def test_arrays_of_other_libraries_are_taken_where_they_lie(bench, wrap):
    addresses = []

    def place(array, stream):
        view = bench.device.take(wrap(array), stream)
        addresses.append((view.address, array.address))
        assert (view.dtype, view.shape, len(view)) == ("uint8", (3, *ROW), 3)
        return view

    check(bench.run(pictures(3), place=place), pictures(3))
    assert addresses[0][0] == addresses[0][1]


def test_the_producers_stream_is_waited_for(bench):
    """The upload is queued on another stream, and the fake does nothing before it is waited for."""
    producer, ours = bench.module.Stream(bench.device), bench.module.Stream(bench.device)
    array = bench.device.array((4, *ROW), "uint8")
    zeros = np.zeros((4, *ROW), np.uint8)
    bench.device.upload(array, zeros, producer.handle)
    producer.synchronize()
    bench.device.upload(array, pictures(4), producer.handle)
    view = bench.device.take(OnlyInterface(array, stream=producer.handle), ours.handle)
    host = np.zeros((4, 4), np.float32)
    bench.engine.run(view.address, 4, [], ours.handle)
    bench.device.download(host, bench.engine.view(bench.device, "embedding", 4), ours.handle)
    ours.synchronize()
    np.testing.assert_allclose(host, expected(pictures(4))[0], rtol=1e-6)


@pytest.mark.parametrize("way", ["dlpack", "own", "interface"])
def test_a_consumers_stream_waits_for_the_values(bench, way):
    """By DLPack, to ourselves or by CUDA's interface, on another stream than the one they come to be on."""
    producer, consumer = bench.module.Stream(bench.device), bench.module.Stream(bench.device)
    array, ready = bench.device.array((4, 4), "float32"), bench.module.Event(bench.device)
    values, host = np.arange(16, dtype=np.float32).reshape(4, 4), np.zeros((4, 4), np.float32)
    bench.device.upload(array, np.zeros((4, 4), np.float32), producer.handle)
    producer.synchronize()
    bench.device.upload(array, values, producer.handle)
    ready.record(producer.handle)
    array.mark_ready(ready, producer.handle)
    wrapped = {"dlpack": OnlyDlpack, "own": lambda array: array, "interface": OnlyInterface}[way](array)
    taken = bench.device.take(wrapped, consumer.handle)
    bench.device.download(host, taken, consumer.handle)
    consumer.synchronize()
    np.testing.assert_array_equal(host, values)


def test_a_consumer_may_ask_for_no_waiting_and_gets_no_copy(bench):
    array, ready, stream = (
        bench.device.array((4, 4), "float32"), bench.module.Event(bench.device), bench.module.Stream(bench.device),
    )  # fmt: skip
    ready.record(stream.handle)
    array.mark_ready(ready, stream.handle)
    array.__dlpack__(stream=-1, max_version=(1, 0), dl_device=(2, 0), copy=False)
    for asked, words in (({"copy": True}, "no copies"), ({"dl_device": (1, 0)}, "lies on cuda:0 and is not copied")):
        with pytest.raises(BufferError, match=words):
            array.__dlpack__(**asked)


def test_arrays_that_cannot_be_taken(bench):
    array = bench.device.array((3, *ROW), "uint8")
    error = bench.module.TensorRtError
    with pytest.raises(error, match=r"type object has neither __dlpack__ nor .* expected an array on the GPU"):
        bench.device.take(object(), 0)
    with pytest.raises(error, match=r"lies on DLPack device 1:0; expected the GPU cuda:0 \(2:0\)"):
        bench.device.take(np.zeros((1, *ROW), np.uint8), 0)
    for changes, words in [
        ({"strides": (999, 64, 8, 1)}, "not contiguous"),
        ({"typestr": "<i8"}, "type <i8; expected"),
        ({"data": (12345, False)}, "no memory of CUDA's"),
        ({"mask": array}, "has a mask"),
    ]:
        with pytest.raises(error, match=words):
            bench.device.take(OnlyInterface(array, **changes), 0)
    other = bench.module.Device(bench.module.Cuda([bench.fakes.driver]), 1)
    with pytest.raises(error, match=r"lies on DLPack device 2:0; expected the GPU cuda:1 \(2:1\)"):
        other.take(OnlyDlpack(array), 0)
    with pytest.raises(error, match="lies on cuda:0, the engine on cuda:1; copy it there first"):
        other.take(OnlyInterface(array), 0)
    assert bench.device.take(OnlyInterface(array, strides=(192, 64, 8, 1)), 0).address == array.address


def test_a_capsule_that_nobody_takes_is_freed(bench, fakes):
    array = bench.device.array((3, *ROW), "uint8")
    held = fakes.count("memory")
    capsule = array.__dlpack__()
    del array
    assert fakes.count("memory") == held
    del capsule
    assert fakes.count("memory") == held - 1


def test_sizes_on_both_sides_of_a_copy_are_compared(bench):
    array, error = bench.device.array((2, 4), "float32"), bench.module.TensorRtError
    with pytest.raises(error, match="has 12 bytes; expected 32"):
        bench.device.upload(array, np.zeros(3, np.float32), 0)
    with pytest.raises(error, match="not contiguous"):
        bench.device.download(np.zeros((4, 2), np.float32).T, array, 0)
    with pytest.raises(error, match="no tensor 'logits'; it has pixels, embedding, raw"):
        bench.engine.view(bench.device, "logits", 1)
    with pytest.raises(error, match="1 addresses came for 2 outputs"):
        bench.engine.run(0, 1, [array.address], 0)
    pinned = bench.device.pinned((2, 4), np.dtype(np.float32))
    assert (pinned.shape, pinned.dtype, pinned.flags.writeable) == ((2, 4), np.float32, True)


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
        bench.engine.run(0, 1, [], stream.handle)
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
    return bench.module.build(bench.tensorrt, bench.device, str(path), [1, 4], cache, 0, 3, sink, progress)


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
