"""Arrays at the border: GPU memory of other libraries in, views of ours out; no copies, and streams are waited for."""

import numpy as np
import pytest

from .bench import ROW, WIDTHS, check, expected, pictures


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
    outputs = [bench.device.array((4, width), "float32") for width in WIDTHS]
    bench.engine.run(view.address, 4, [output.address for output in outputs], ours.handle)
    bench.device.download(host, outputs[0], ours.handle)
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
        ({"shape": (2**40, 2**40)}, "more bytes than any memory"),
        ({"shape": (2**40, 2**40, 1), "strides": (2**40, 1, 1)}, "more bytes than any memory"),
        ({"shape": (-1, 3)}, "negative side"),
        ({"shape": (3, *ROW), "strides": (1,)}, "not contiguous"),
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
    with pytest.raises(error, match="1 addresses came for 2 outputs"):
        bench.engine.run(0, 1, [array.address], 0)
    pinned = bench.device.pinned((2, 4), np.dtype(np.float32))
    assert (pinned.shape, pinned.dtype, pinned.flags.writeable) == ((2, 4), np.float32, True)
