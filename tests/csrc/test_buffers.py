"""Memory on the GPU that is used again, batches that are kept, other CUDA contexts, and what an error leaves queued."""

import ctypes

import numpy as np
import pytest

from emonet_fast import driver
from emonet_fast.backends.staging import names_no_stream

from .bench import ROW, WIDTHS, check, pictures
from .test_arrays import OnlyDlpack, OnlyInterface


@pytest.fixture
def lent(bench):
    """Lends an array [4, width] for work on a stream."""
    buffers = bench.module.Buffers(bench.device)
    return lambda stream, width=100: buffers.array(bench.device, (4, width), "float32", stream.handle)


@pytest.fixture
def streams(bench):
    return [bench.module.Stream(bench.device) for _ in range(2)]


def test_memory_is_used_again_on_its_stream(lent, streams, fakes):
    """The driver is asked once, also for a batch of another length; two arrays at a time are never one."""
    first = lent(streams[0])
    address, asked = first.address, fakes.count("allocate")
    view = first.rows(1, 2)
    del first
    second = lent(streams[0])  # the view still lies in the first
    assert second.address != address
    del view
    assert lent(streams[0], width=70).address == address
    assert fakes.count("allocate") == asked + 1
    assert fakes.count("free") == 0
    # Work on another stream would have to wait for this one's.
    assert lent(streams[1]).address not in (address, second.address)


@pytest.mark.parametrize("way", ["another stream", "no waiting", "interface", "own"])
def test_memory_that_another_stream_may_use_is_freed_instead(bench, lent, streams, fakes, way):
    """Nobody can tell when that stream has used it; the driver waits for it."""
    array = lent(streams[0])
    if way == "another stream":
        bench.device.take(OnlyDlpack(array), streams[1].handle)
    elif way == "no waiting":
        array.__dlpack__(stream=-1)
    elif way == "interface":
        assert array.__cuda_array_interface__["data"][0] == array.address
    else:
        bench.device.take(array, streams[1].handle)
    del array
    assert fakes.count("free") == 1
    array = lent(streams[0])
    bench.device.take(OnlyDlpack(array), streams[0].handle)
    del array
    assert fakes.count("free") == 1


def test_the_default_stream_has_two_names(bench, fakes):
    buffers = bench.module.Buffers(bench.device)
    buffers.array(bench.device, (4, 4), "float32", 0).__dlpack__(stream=None)
    assert fakes.count("free") == 0


def test_few_arrays_are_kept_and_all_are_freed_in_the_end(bench, fakes, streams):
    held, buffers = fakes.count("memory"), bench.module.Buffers(bench.device)
    arrays = [buffers.array(bench.device, (4, 4), "float32", streams[0].handle) for _ in range(20)]
    arrays.clear()
    assert fakes.count("memory") == held + 16
    late = buffers.array(bench.device, (4, 4), "float32", streams[0].handle)
    del buffers
    assert fakes.count("memory") == held + 1
    del late
    assert fakes.count("memory") == held


def test_an_event_tells_whether_it_has_passed(bench, streams):
    array, event = bench.device.array((4, 4), "float32"), bench.module.Event(bench.device)
    bench.device.upload(array, np.zeros((4, 4), np.float32), streams[0].handle)
    event.record(streams[0].handle)
    assert not event.query()
    streams[0].synchronize()
    assert event.query()


def test_after_an_error_others_wait_for_what_was_queued(bench, fakes, streams):
    """The first batch's copy into the engine's buffer is queued, and then TensorRT fails.

    The copy must not come between the second batch's copy and its network, where the fake would do it.
    """
    fakes.fail("capture")
    bench.engine.prepare(4)  # without a graph
    arrays = [bench.device.array((3, *ROW), "uint8") for _ in range(2)]
    outputs = [bench.device.array((3, width), "float32") for width in WIDTHS]
    for array, stream, seed in zip(arrays, streams, (0, 1), strict=True):
        bench.device.upload(array, pictures(3, seed), stream.handle)
        stream.synchronize()
    addresses = [output.address for output in outputs]
    fakes.fail("enqueue")
    with pytest.raises(bench.module.TensorRtError, match="could not run batch size 4"):
        bench.engine.run(arrays[0].address, 3, addresses, streams[0].handle)
    bench.engine.run(arrays[1].address, 3, addresses, streams[1].handle)
    host = [np.zeros((3, width), np.float32) for width in WIDTHS]
    for to, source in zip(host, outputs, strict=True):
        bench.device.download(to, source, streams[1].handle)
    streams[1].synchronize()
    check(host, pictures(3, 1))


@pytest.fixture
def foreign(bench):
    """Makes memory of some owner, see fake_memory, as PyCUDA's arrays show it."""
    control, addresses = bench.fakes.control, []
    control.fake_memory.restype = ctypes.c_ulonglong

    def made(owner):
        addresses.append(control.fake_memory(owner.encode(), ctypes.c_size_t(4 * 3 * 8 * 8)))
        return OnlyInterface(bench.device.array((4, *ROW), "uint8"), data=(addresses[-1], False))

    yield made
    for address in addresses:
        assert control.cuMemFree_v2(ctypes.c_ulonglong(address)) == 0


def test_memory_of_another_context_is_refused(bench, foreign):
    """As pycuda.autoinit makes one. Memory of the driver's pools belongs to none."""
    for owner in ("mine", "pool"):
        assert bench.device.take(foreign(owner), 0).shape == (4, *ROW)
    with pytest.raises(bench.module.TensorRtError, match=r"another CUDA context .* import pycuda\.autoprimaryctx"):
        bench.device.take(foreign("theirs"), 0)


def test_the_driver_without_the_extension(bench, foreign, monkeypatch):
    monkeypatch.setattr(driver, "open_driver", lambda: ctypes.CDLL(bench.fakes.driver))
    owned = {owner: foreign(owner).__cuda_array_interface__["data"][0] for owner in ("mine", "theirs", "pool")}
    found = {owner: driver.in_another_context(address, 0) for owner, address in owned.items()}
    assert found == {"mine": False, "theirs": True, "pool": False}
    assert not driver.in_another_context(4711, 0)
    handles = [driver.new_stream(0) for _ in range(2)]
    assert len(set(handles) - {0}) == 2


def test_which_arrays_name_no_stream(bench):
    array = bench.device.array((1, *ROW), "uint8")
    assert names_no_stream(OnlyInterface(array))
    assert not names_no_stream(OnlyInterface(array, stream=2))
    assert not names_no_stream(OnlyDlpack(array))
    assert not names_no_stream(array)
    assert not names_no_stream(object())
