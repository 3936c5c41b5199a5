"""The bookkeeping of captured graphs: which size serves a batch, when it is captured, what a failure leaves."""

import pytest
import torch

from emonet_fast.backends.cuda.graphs import SIZES, Graphs, call_directly
from emonet_fast.backends.staging import sizes_up_to
from emonet_fast.errors import BackendError


def test_sizes():
    assert sizes_up_to(256, SIZES) == SIZES
    assert sizes_up_to(100, SIZES) == (1, 2, 4, 8, 16, 32, 64, 100)
    assert sizes_up_to(1, SIZES) == (1,)
    with pytest.raises(ValueError, match="0 rows"):
        Graphs(call_directly, lambda size: None, 4).size_for(0)


def test_captured_once_at_first_use():
    ran: list[int] = []
    captured: list[int] = []

    def capture(work):
        work()
        captured.append(ran[-1])
        return work

    graphs = Graphs(capture, ran.append, 8)
    assert graphs.captured == ()
    graphs.prepare(3)()
    graphs.prepare(4)()
    assert captured == [4]
    assert ran == [4, 4, 4]
    graphs.prepare(5)
    assert graphs.captured == (4, 8)
    graphs.clear()
    assert graphs.captured == ()


def test_out_of_memory_leaves_the_other_sizes_usable():
    ran: list[int] = []

    def capture(work):
        work()
        if ran[-1] == 8:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return work

    graphs = Graphs(capture, ran.append, 8)
    graphs.prepare(2)
    with pytest.raises(BackendError, match=r"batch size 8 .*smaller batch size"):
        graphs.prepare(7)
    assert graphs.captured == (2,)
    graphs.prepare(2)()
    assert ran == [2, 8, 2]
