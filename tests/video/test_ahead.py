"""The decoding thread: bounded, newest first for live sources, errors handed on, ended on demand."""

import threading
from fractions import Fraction

import numpy as np
import pytest

from emonet_fast.sources.video.ahead import AHEAD, Ahead
from emonet_fast.sources.video.frames import Faults, Frame, Sound


class Source:
    """Gives `count` frames; `gate` holds them back one by one, `given` tells how many were taken from it."""

    name, duration, every, time_base = "made", None, False, Fraction(1, 10)

    def __init__(self, count, *, live=False, error=None, gate=None, sounds=False):
        self.live, self.faults, self.closed, self.given = live, Faults(), False, 0
        self._count, self._error, self._gate, self._sounds = count, error, gate, sounds
        self.finished = threading.Event()

    def __iter__(self):
        try:
            for i in range(self._count):
                if self._gate is not None:
                    self._gate.acquire(timeout=20)
                self.given += 1
                yield Frame(i, i, self.time_base, lambda: np.zeros((2, 2, 3), np.uint8))
                if self._sounds:
                    yield Sound(i)
            if self._error is not None:
                raise self._error
        finally:
            self.finished.set()

    def close(self):
        self.closed = True


def test_order_and_sounds():
    source = Source(20, sounds=True)
    ahead = Ahead(source)
    items = list(ahead)
    assert [i.index for i in items if isinstance(i, Frame)] == list(range(20))
    assert [type(i) for i in items[:4]] == [Frame, Sound, Frame, Sound]
    ahead.close()
    assert source.closed


def test_reads_no_further_than_its_queue():
    source = Source(1000)
    ahead = Ahead(source)
    items = iter(ahead)
    for i in range(10):
        assert next(items).index == i
        assert source.given <= i + 1 + AHEAD + 1  # taken, waiting, and the one at the door
    ahead.close()
    assert source.closed


def test_newest_frame_wins_for_live_sources():
    gate = threading.Semaphore(0)
    source = Source(50, live=True, gate=gate)
    ahead = Ahead(source)
    items = iter(ahead)
    gate.release()
    assert next(items).index == 0
    gate.release(49)
    assert source.finished.wait(20)  # the reader of a live source never waits for us
    rest = [frame.index for frame in items]
    assert rest == [49]
    assert source.faults.dropped == 48
    ahead.close()


def test_error_comes_after_the_frames():
    ahead = Ahead(Source(3, error=OSError("unplugged")))
    found = []
    with pytest.raises(OSError, match="unplugged"):
        found.extend(frame.index for frame in ahead)
    assert found == [0, 1, 2]
    ahead.close()


def test_stopped_from_outside():
    """As a signal handler does, while the source is silent."""
    source = Source(5, gate=threading.Semaphore(1))
    ahead = Ahead(source)
    items = iter(ahead)
    assert next(items).index == 0
    ahead.stopped = True
    assert list(items) == []
    source._gate.release(10)
    ahead.close()
    assert source.closed
