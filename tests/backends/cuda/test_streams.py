"""The order on streams of the GPU backend, what a failure leaves, and what it keeps; on a fake of PyTorch's CUDA."""

import logging
import threading
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from emonet_fast import gpu as gpu_room
from emonet_fast.backends.cuda import backend as room
from emonet_fast.backends.cuda import graphs, inputs
from emonet_fast.backends.cuda.backend import CudaBackend
from emonet_fast.backends.cuda.graphs import CudaCapture
from emonet_fast.backends.cuda.streams import ALONE, OwnStreams
from emonet_fast.backends.staging import Slot, Slots
from emonet_fast.errors import BackendError

from .fakes import GPU, FakeGraph, FakeStream, FakeTorch
from .making import random_pixels

pytestmark = pytest.mark.parametrize("tiny", ["small"], indirect=True)


@pytest.fixture
def fake(monkeypatch):
    """The fake torch, which everything below sees."""
    made = FakeTorch()
    for module in (room, graphs, inputs, gpu_room):
        monkeypatch.setattr(module, "need", lambda package, why: made)
    monkeypatch.setattr(room, "look", lambda device: GPU)

    class Streams:
        def __init__(self):
            self.names = iter(["compute", "copies", "captures"])
            self.back = []

        def take(self, device):
            return FakeStream(made.cuda.log, next(self.names))

        def give_back(self, stream):
            self.back.append(stream.name)

    made.streams = Streams()
    monkeypatch.setattr(room, "OWN_STREAMS", made.streams)
    return made


@pytest.fixture
def pixels(tiny):
    return random_pixels(tiny, 3, seed=1)


@pytest.fixture
def backend(tiny, fake, tmp_path):
    return CudaBackend(tiny, "cuda", "fp32", 2, tmp_path)


def test_a_graph_is_captured_alone_on_a_stream_of_its_own(tiny, fake):
    """cuBLAS's workspaces are given up before the capture too: a graph must not keep one that lies outside of it."""
    capture = CudaCapture(torch.device("cpu"), FakeStream(fake.cuda.log, "captures"))
    log = fake.cuda.log
    replay = capture(lambda: log.append(("work", fake.cuda.current[-1].name)))
    assert log == [
        ("wait", "captures", "default"),
        ("work", "captures"),
        ("work", "captures"),
        ("wait", "default", "captures"),
        ("clear",),
        ("synchronize", "captures"),
        ("empty cache",),
        ("begin", "captures"),
        ("work", "captures"),
        ("end", "captures"),
        ("clear",),
    ]
    log.clear()
    replay()
    assert log == [("replay", "default")]


@pytest.mark.parametrize("how", ["work", "end"])
def test_a_capture_that_fails_is_ended_and_the_work_runs_without_a_graph(tiny, fake, caplog, how):
    matmul = torch.backends.cuda.matmul
    precisions = []

    def work():
        precisions.append((matmul.fp32_precision, matmul.allow_bf16_reduced_precision_reduction))
        if fake.cuda.capturing and how == "work":
            raise RuntimeError("a call that a capture forbids")

    before = matmul.fp32_precision
    fake.cuda.broken = True
    capture = CudaCapture(torch.device("cpu"), FakeStream(fake.cuda.log, "captures"))
    matmul.fp32_precision = "tf32"
    try:
        with caplog.at_level(logging.WARNING):
            replay = capture(work)
        words = {"work": "a call that a capture forbids", "end": "a previous error during capture"}[how]
        assert words in caplog.text
        assert fake.cuda.log[-4:] == [("end", "captures"), ("end allocating",), ("release pool",), ("clear",)]
        assert fake.cuda.current == [fake.cuda.default]
        replay()
        assert precisions == [("ieee", False)] * 4
        assert matmul.fp32_precision == "tf32"
    finally:
        matmul.fp32_precision = before


def test_a_capture_without_memory_is_ended_and_says_so(tiny, fake):
    def work():
        if fake.cuda.capturing:
            raise torch.OutOfMemoryError("CUDA out of memory")

    capture = CudaCapture(torch.device("cpu"), FakeStream(fake.cuda.log, "captures"))
    with pytest.raises(torch.OutOfMemoryError):
        capture(work)
    assert fake.cuda.log[-2:] == [("end", "captures"), ("clear",)]
    assert not fake.cuda.capturing


def test_opening_and_closing_wait_for_their_own_work_alone(backend, fake, pixels):
    """To wait for the whole device is forbidden while another thread captures."""
    backend.submit(pixels[:2])
    backend.close()
    waited = {one[1] for one in fake.cuda.log if one[0] == "synchronize"}
    assert waited == {"default", "captures", "compute", "copies"}
    assert sorted(fake.streams.back) == ["captures", "compute", "copies"]


def test_one_engine_at_a_time_is_opened_captured_or_closed(tiny, fake, tmp_path, monkeypatch):
    """All of it within one lock of the process: a thread that captures must not meet another one's clean-up."""
    free = []

    def look():
        taken = ALONE.acquire(blocking=False)
        if taken:
            ALONE.release()
        free.append(taken)

    def watched(function):
        def call(*arguments):
            thread = threading.Thread(target=look)
            thread.start()
            thread.join()
            return function(*arguments)

        return call

    monkeypatch.setattr(room, "load", watched(room.load))
    monkeypatch.setattr(fake.cuda, "empty_cache", watched(fake.cuda.empty_cache))
    monkeypatch.setattr(FakeGraph, "capture_end", watched(FakeGraph.capture_end))
    opened = CudaBackend(tiny, "cuda", "fp32", 2, tmp_path)
    opened.engine.graphs.prepare(1)
    opened.close()
    # Opening, two captures with the clean-up before each, closing.
    assert free == [False] * 6


@pytest.mark.parametrize("place", ["host", "device"])
def test_after_an_error_others_wait_for_what_was_queued(backend, fake, pixels, monkeypatch, place):
    """The batch's patches are queued already when the replay fails."""

    def broken(batch):
        fake.cuda.log.append(("patches", fake.cuda.current[-1].name))
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(backend.engine, "run", broken)
    fake.cuda.log.clear()
    with pytest.raises(RuntimeError, match="CUDA error"):
        backend.submit(pixels[:2]) if place == "host" else backend.run_device(torch.from_numpy(pixels[:2]))
    stream = "compute" if place == "host" else "default"
    after = fake.cuda.log[fake.cuda.log.index(("patches", stream)) :]
    # The event that all launches wait for, and the slot's or the batch's own.
    assert after[1:] == [("record", stream)] * 2


@pytest.mark.parametrize("place", ["host", "device"])
def test_the_engine_waits_for_the_batch_and_for_the_one_before(backend, fake, pixels, monkeypatch, place):
    """For the copy of a host's batch, and for whatever used the static buffers last."""
    batch = torch.from_numpy(pixels[:2])
    monkeypatch.setattr(backend.engine, "run", lambda batch: fake.cuda.log.append(("run",)) or (batch, batch))
    monkeypatch.setattr(room, "_later", lambda *outputs: None)
    fake.cuda.log.clear()
    if place == "host":
        backend.submit(pixels[:2])
    else:
        with pytest.raises(RuntimeError):  # the outputs are none
            backend.run_device(batch)
    stream = "compute" if place == "host" else "default"
    before = fake.cuda.log[: fake.cuda.log.index(("run",))]
    assert before == [("wait", "compute", "copies")] * (place == "host") + [("wait", stream, "event")]


def test_a_copy_that_fails_is_waited_for_too(backend, fake, pixels, monkeypatch):
    """A part of it may be under way."""

    class Broken:
        def __getitem__(self, rows):
            return self

        def copy_(self, source, non_blocking):
            raise RuntimeError("CUDA error")

    slot = Slot(torch.empty(2, *pixels.shape[1:], dtype=torch.uint8), Broken(), fake.cuda.Event())
    monkeypatch.setattr(backend, "_slots", Slots([slot]))
    fake.cuda.log.clear()
    with pytest.raises(RuntimeError, match="CUDA error"):
        backend.submit(pixels[:2])
    assert fake.cuda.log == [("wait", "compute", "copies")]


def test_a_batch_is_kept_until_the_gpu_has_read_it(backend, fake, pixels):
    """Foreign memory may be given to others as soon as nobody holds it, whatever our stream still has to do."""
    batch = np.array(pixels[:2])
    alive = weakref.ref(batch)
    outputs = backend.run_device(batch)
    del batch
    assert alive() is not None
    backend.run_device(pixels[:1])
    assert alive() is not None
    for event in fake.cuda.events:
        event.passed = True
    backend.run_device(pixels[:1])
    assert alive() is None
    assert outputs.raw.shape == (2, 44)
    # Whoever takes the outputs knows that the batch was read.
    batch = np.array(pixels[:2])
    alive = weakref.ref(batch)
    take = backend.queue(batch, None)
    del batch
    for event in fake.cuda.events:
        event.passed = True
    take()
    assert alive() is None


@pytest.mark.parametrize(
    ("named", "ready", "waited", "warned"),
    [
        (None, False, ("synchronize", "all"), True),
        (None, True, None, False),
        (4711, False, ("wait", "default", "4711"), False),
        (gpu_room.PER_THREAD_DEFAULT, True, ("synchronize", "all"), False),
    ],
)
def test_where_an_array_becomes_ready(tiny, fake, caplog, named, ready, waited, warned):
    """PyCUDA's arrays name no stream: all of the GPU's work is waited for, unless the caller names one."""
    tensor = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    fake.as_tensor = lambda pixels, device: tensor
    fake.cuda.ExternalStream = lambda handle, device: FakeStream(fake.cuda.log, str(handle))
    array = SimpleNamespace(__cuda_array_interface__={"data": (tensor.data_ptr(), False), "stream": named})
    assert inputs.as_tensor(array, torch.device("cpu"), 64, ready=ready) is tensor
    assert fake.cuda.log == ([waited] if waited else [])
    assert ("names no stream" in caplog.text) == warned


def test_fp8_is_tried_before_a_minute_is_spent_on_it(tiny, fake, tmp_path, monkeypatch):
    def refuse(device):
        raise BackendError("FP8 products by rows do not work")

    monkeypatch.setattr(room, "check_fp8", refuse)
    monkeypatch.setattr(room, "certified", lambda *arguments: pytest.fail("it was certified"))
    with pytest.raises(BackendError, match="do not work"):
        CudaBackend(tiny, "cuda", "fp8", 2, tmp_path)


def test_a_failed_open_gives_its_memory_back_at_once(tiny, fake, tmp_path, monkeypatch):
    """While the error is still held, as by whoever tries again with a smaller batch."""
    held = []
    load = room.load

    def loaded(*arguments):
        weights = load(*arguments)
        held.append(weakref.ref(weights.positions))
        return weights

    def without_memory(self, work):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(room, "load", loaded)
    monkeypatch.setattr(CudaCapture, "__call__", without_memory)
    with pytest.raises(BackendError, match="does not hold batch size 2") as caught:
        CudaBackend(tiny, "cuda", "fp32", 2, tmp_path)
    assert held[0]() is None
    assert fake.cuda.log[-1] == ("empty cache",)
    assert caught.value is not None


def test_streams_are_used_again_and_never_by_two(tiny, monkeypatch):
    from emonet_fast.backends.cuda import streams

    made = iter(range(100, 200))
    monkeypatch.setattr(streams, "new_stream", lambda index: next(made))

    class External:
        def __init__(self, handle, device):
            self.cuda_stream, self.device = handle, device

    class Torch:
        class cuda:  # noqa: N801 - PyTorch's name
            ExternalStream = External

    monkeypatch.setattr(streams, "need", lambda package, why: Torch)
    pool, first, second = OwnStreams(), torch.device("cuda", 0), torch.device("cuda", 1)
    taken = [pool.take(first), pool.take(first), pool.take(second)]
    assert [one.cuda_stream for one in taken] == [100, 101, 102]
    pool.give_back(taken[1])
    assert [pool.take(second).cuda_stream, pool.take(first).cuda_stream, pool.take(first).cuda_stream] == [
        103,
        101,
        104,
    ]
