"""Batches that the engine reads where they lie, and those that it copies first."""

import numpy as np
import pytest

from .bench import ROW, WIDTHS, Bench, check, pictures


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


@pytest.mark.parametrize("what", ["capture", "address", "enqueue", "instantiate"])
def test_a_buffer_that_cannot_be_captured_is_copied_ever_after(fakes, what):
    said = []
    bench = Bench(fakes, sink=lambda level, text: said.append(text) if level == 30 else None)
    device, array = OnDevice(bench), bench.device.array((4, *ROW), "uint8")
    assert device.ran(array, pictures(4)) == 1
    fakes.fail(what)
    assert [device.ran(array, pictures(4, seed)) for seed in range(3)] == [1, 1, 1]
    assert [text.partition(":")[0] for text in said] == ["batch size 4 copies its input on the GPU"]


def test_an_address_that_tensorrt_cannot_take_is_copied(bench):
    device, array = OnDevice(bench), bench.device.array((2, *ROW), "uint8")
    odd = array.rows(1, 2)  # 192 bytes behind an address of 256
    assert [device.ran(odd, pictures(1, seed)) for seed in range(3)] == [1, 1, 1]
