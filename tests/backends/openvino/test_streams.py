"""Several batches at once on the CPU: the same bits in the same order, whatever ends the run; one copy of weights."""

import os
import subprocess
import sys
import threading
from itertools import chain, repeat
from pathlib import Path

import numpy as np
import pytest

import emonet_fast as ef
from emonet_fast.backends.choose import open_backend
from emonet_fast.backends.openvino import streams as sharing
from emonet_fast.backends.openvino.backend import OpenVinoBackend
from emonet_fast.bulk.settings import Settings
from emonet_fast.errors import BackendError, OptionError
from emonet_fast.options import Options
from emonet_fast.preprocess import resize
from emonet_fast.process import available_cores, memory_mb
from emonet_fast.sources.memory import Memory

TWO_CORES = pytest.mark.skipif(available_cores() < 2, reason="there is one stream on one core")


@pytest.fixture(scope="module")
def scorer_of(tiny_folder, cache_dir):
    """Makes a scorer of so many streams."""
    return lambda streams, **more: ef.Scorer(
        tiny_folder, device="cpu", precision="fp32", streams=streams, cache_dir=cache_dir, **more
    )


@pytest.fixture(scope="module")
def pictures():
    """Eleven, of which two cannot be read."""
    rng = np.random.default_rng(0)
    made = [rng.integers(0, 256, (30 + i, 40, 3), dtype=np.uint8) for i in range(9)]
    return [*made[:3], b"no picture", *made[3:6], b"nor this", *made[6:]]


@pytest.fixture(scope="module")
def want(scorer_of, pictures):
    with scorer_of(1) as scorer:
        return scorer(pictures, embeddings=True)


@pytest.mark.parametrize("streams", [2, 3, 5])
def test_scores_are_the_same_bits_in_the_same_order(scorer_of, pictures, want, streams):
    with scorer_of(streams) as scorer:
        found = scorer(pictures, embeddings=True)
        assert scorer.backend.streams == min(streams, available_cores())
        assert scorer.metadata == {**want.metadata}
    assert (found.keys, found.status, found.reason) == (want.keys, want.status, want.reason)
    np.testing.assert_array_equal(found.raw, want.raw)
    np.testing.assert_array_equal(found.embeddings, want.embeddings)


def test_bits_do_not_depend_on_the_threads_of_a_stream(small, photos, cache_dir):
    """A stream's share of the threads cuts products of the real widths up in another way; sums must not follow it."""
    pixels = resize(photos[0], small.preprocess)[None]
    one = OpenVinoBackend(small, "fp32", cache_dir=cache_dir).run(pixels)
    two = OpenVinoBackend(small, "fp32", streams=2, cache_dir=cache_dir)
    for again in [two.submit(pixels) for _ in range(3)]:
        np.testing.assert_array_equal(again().raw, one.raw)
        np.testing.assert_array_equal(again().embedding, one.embedding)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_end_in_the_middle_leaves_a_scorer_that_works(scorer_of, pictures, want, error):
    def ending():
        yield from Memory(pictures[:3], 1 << 20)
        raise error

    with scorer_of(2) as scorer:
        taken = []
        with pytest.raises(error):
            taken.extend(scorer.batches(ending()))
        np.testing.assert_array_equal(scorer(pictures).raw, want.raw)
    assert len(taken) < 3, "results were taken although batches were still under way"


def test_a_generator_that_nobody_takes_to_its_end_is_closed(scorer_of, pictures, want):
    scorer = scorer_of(2)
    batches = scorer.batches(chain.from_iterable(Memory(pictures, 1 << 20) for _ in repeat(None)))
    first = next(batches)
    np.testing.assert_array_equal(first.scores.raw, want.raw[:1])
    scorer.close()
    with pytest.raises(BackendError, match="closed"):
        next(batches)
    np.testing.assert_array_equal(scorer(pictures).raw, want.raw)
    scorer.close()


@TWO_CORES
def test_few_batches_are_under_way(scorer_of, pictures):
    """However many pictures come: one for each stream, and one that waits."""
    read = 0

    def counted():
        nonlocal read
        for picture in Memory(pictures * 3, 1 << 20):
            read += 1
            yield picture

    taken = 0
    with scorer_of(2) as scorer:
        for batch in scorer.batches(counted()):
            # One that cannot be read has no batch of its own, and the next picture is read before a batch is handed on.
            assert read - taken <= scorer.backend.depth + 3
            taken += len(batch.scores)
    assert taken == 33


@TWO_CORES
def test_closed_beside_batches_under_way(small, cache_dir):
    backend = OpenVinoBackend(small, "fp32", streams=2, cache_dir=cache_dir)
    pixels = np.full((1, 3, 384, 384), 99, np.uint8)
    want = backend.run(pixels).raw
    running = [backend.submit(pixels) for _ in range(6)]
    running[0]()
    closers = [threading.Thread(target=backend.close) for _ in range(2)]
    for one in closers:
        one.start()
    for one in closers:
        one.join(60)
        assert not one.is_alive()
    given_up = 0
    for outputs in running:
        try:
            np.testing.assert_array_equal(outputs().raw, want)
        except BackendError:
            given_up += 1
    assert given_up <= 4
    for use in (backend.run, backend.submit):
        with pytest.raises(BackendError, match="engine was closed"):
            use(pixels)


def ended(program: str, folder: Path, cache_dir: Path) -> tuple[int, str, str]:
    """Exit status, output and errors of a program that has a `scorer` of two streams."""
    begin = (
        "import sys, numpy as np, emonet_fast as ef\n"
        "scorer = ef.Scorer(sys.argv[1], device='cpu', precision='fp32', streams=2, cache_dir=sys.argv[2])\n"
    )
    command = [sys.executable, "-c", begin + program, str(folder), str(cache_dir)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    return done.returncode, done.stdout, done.stderr


def test_a_program_may_end_with_batches_under_way(tiny_folder, cache_dir):
    """OpenVINO's own callbacks into Python would abort it."""
    program = (
        "from emonet_fast.sources.memory import Memory\n"
        "batches = scorer.batches(Memory([np.zeros((9, 9, 3), np.uint8)] * 9, 1 << 20))\n"
        "print(len(next(batches).scores))\n"
    )
    assert ended(program, tiny_folder, cache_dir) == (0, "1\n", "")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_signal_after_the_engine_was_closed_elsewhere(tiny_folder, cache_dir):
    """The plugin's stack for signals must outlive the engine: without it, Ctrl-C was a segmentation fault."""
    program = (
        "import os, signal, threading\n"
        "scorer([np.zeros((9, 9, 3), np.uint8)])\n"
        "closer = threading.Thread(target=scorer.close)\n"
        "closer.start()\n"
        "closer.join()\n"
        "signal.signal(signal.SIGTERM, lambda number, frame: print('came'))\n"
        "os.kill(os.getpid(), signal.SIGTERM)\n"
    )
    assert ended(program, tiny_folder, cache_dir) == (0, "came\n", "")


def megabytes_of(streams: int, folder: Path, cache_dir: Path) -> float:
    """What an engine of so many streams adds to a process of its own: earlier tests' freed memory would hide a part."""
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from emonet_fast.backends.openvino.backend import OpenVinoBackend\n"
        "from emonet_fast.checkpoint import open_checkpoint\n"
        "from emonet_fast.process import memory_mb\n"
        "streams, folder, cache = sys.argv[1:]\n"
        "checkpoint = open_checkpoint(Path(folder), Path(cache))\n"
        "before = memory_mb()['anonymous']\n"
        "backend = OpenVinoBackend(checkpoint, 'fp32', streams=int(streams), cache_dir=Path(cache))\n"
        "print(memory_mb()['anonymous'] - before)\n"
        "backend.close()\n"
    )
    command = [sys.executable, "-c", program, str(streams), str(folder), str(cache_dir)]
    return float(subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout)


@TWO_CORES
@pytest.mark.skipif("anonymous" not in memory_mb(), reason="the system does not tell a process' own memory")
def test_streams_share_one_copy_of_the_weights(published_small, cache_dir):
    """122 MB of the tower's and 26 MB of the top's in float32, and about 10 MB of buffers for each stream."""
    alone, shared = (megabytes_of(streams, published_small, cache_dir) for streams in (1, 2))
    assert alone > 100
    assert shared - alone < 74


def test_auto_takes_streams_for_many_pictures(monkeypatch):
    monkeypatch.setattr(sharing, "available_cores", lambda: 32)
    assert sharing.auto_streams(None, None) == 8
    assert sharing.auto_streams(None, 1) == 1
    assert sharing.auto_streams(None, 127) == 1
    assert sharing.auto_streams(None, 128) == 8
    assert sharing.auto_streams(8, None) == 2
    assert sharing.auto_streams(3, None) == 1


def test_a_share_of_the_cores_is_not_bound_to_the_first_ones(monkeypatch):
    """OpenVINO would bind each of several processes to the same cores: two of one thread each took twice as long."""
    monkeypatch.setattr(sharing, "available_cores", lambda: 4)
    assert sharing.share_of_cores(1, 2)["ENABLE_CPU_PINNING"] is False
    assert sharing.share_of_cores(1, 4)["ENABLE_CPU_PINNING"] is True
    assert "ENABLE_CPU_PINNING" not in sharing.share_of_cores(2, None)


def test_a_bulk_run_may_go_on_with_other_streams(tmp_path, tiny_folder):
    one, two = (
        Settings(["pictures"], str(tiny_folder), tmp_path / "out", options=Options(streams=n)) for n in ("auto", 2)
    )
    assert one.known() == two.known()


@pytest.mark.parametrize("streams", [0, -1, 4097, True, 1.5, "many", None])
def test_wrong_streams(streams):
    with pytest.raises(OptionError, match="expected 'auto' or a whole number from 1 to 4096"):
        Options(streams=streams)


def test_a_gpu_has_no_streams_of_this_kind(small):
    with pytest.raises(BackendError, match="streams 2 was asked for, and the engine runs on a GPU"):
        open_backend(small, Options(backend="tensorrt", streams=2))
