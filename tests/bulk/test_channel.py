"""Bounded queues between threads."""

import threading

import pytest

from emonet_fast.bulk.channel import Channel, ClosedError


def test_bounds_and_order():
    """By number and by weight; one item fits however heavy."""
    channel: Channel[int] = Channel(3, weight=10)
    taken, most = [], []

    def take() -> None:
        try:
            while True:
                most.append(len(channel._held))
                taken.append(channel.get())
        except ClosedError:
            pass

    thread = threading.Thread(target=take)
    thread.start()
    for i in range(100):
        channel.put(i, weight=50 if i % 10 == 0 else 4)
    channel.close()
    thread.join()
    assert taken == list(range(100))
    assert max(most) <= 3
    assert channel._heavy == 0


def test_abort_wakes_both_sides():
    channel: Channel[int] = Channel(1)
    channel.put(1)
    ended = []

    def wait(what) -> None:
        with pytest.raises(ClosedError):
            what()
        ended.append(True)

    putting = threading.Thread(target=wait, args=(lambda: channel.put(2),))
    putting.start()
    channel.abort()
    putting.join()
    wait(channel.get)
    assert len(ended) == 2
    assert channel.aborted
