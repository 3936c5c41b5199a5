"""A Scorer among threads: opened once, closed when nobody is in it."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import emonet_fast as ef
from emonet_fast.sources.memory import Memory

THREADS = 8


@pytest.fixture
def scorer(tiny_folder, cache_dir):
    with ef.Scorer(tiny_folder, precision="fp32", threads=1, cache_dir=cache_dir) as one:
        yield one


@pytest.fixture(scope="module")
def pictures():
    return [np.full((20, 20, 3), 25 * i, np.uint8) for i in range(10)]


def together(work, count=THREADS):
    """What `work` gives in each of so many threads that begin at once."""
    barrier = threading.Barrier(count)

    def begin(number):
        barrier.wait(30)
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(begin, range(count), timeout=60))


def test_threads_open_an_unopened_scorer_once(scorer, pictures):
    found = together(lambda _: (scorer(pictures).raw, scorer.backend))
    assert len({id(backend) for _, backend in found}) == 1
    for raw, _ in found:
        np.testing.assert_array_equal(raw, found[0][0])


def test_closing_beside_running_calls_disturbs_none(scorer, pictures):
    want = scorer(pictures).raw

    def score_or_close(number):
        for _ in range(4):
            if number == 0:
                scorer.close()
            else:
                np.testing.assert_array_equal(scorer(pictures).raw, want)

    together(score_or_close)


class Waiting(list):
    """Pictures of which the last is there when somebody says so."""

    def __init__(self, pictures):
        super().__init__(pictures)
        self.asked, self.given = threading.Event(), threading.Event()

    def __iter__(self):
        yield from self[:-1]
        self.asked.set()
        assert self.given.wait(30)
        yield self[-1]


def test_close_waits_for_a_call_of_another_thread(scorer, pictures):
    want, waiting = scorer(pictures).raw, Waiting(pictures)
    with ThreadPoolExecutor(2) as pool:
        scoring = pool.submit(lambda: scorer(waiting))
        assert waiting.asked.wait(30)
        closing = pool.submit(scorer.close)
        with pytest.raises(TimeoutError):
            closing.result(timeout=0.1)
        waiting.given.set()
        np.testing.assert_array_equal(scoring.result(timeout=30).raw, want)
        closing.result(timeout=30)


def test_a_stream_that_was_begun_before_the_close_says_so(scorer, pictures):
    stream = scorer.batches(Memory(pictures, 10**9))
    next(stream)
    scorer.close()
    with pytest.raises(ef.BackendError, match="closed while its batches were being taken"):
        next(stream)
    assert scorer([pictures[0]]).status == ("ok",)


def test_an_engine_that_is_closed_says_so(scorer, pictures):
    backend, pixels = scorer.backend, np.zeros((1, 3, 32, 32), np.uint8)
    scorer.close()
    with pytest.raises(ef.BackendError, match="closed"):
        backend.run(pixels)
