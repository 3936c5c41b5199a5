"""A closed video leaves no thread behind, however far it was read, and while the garbage collector sleeps."""

import gc
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from emonet_fast import stream
from emonet_fast.errors import InputError
from emonet_fast.options import FaceOptions, VideoOptions
from emonet_fast.sources.video.ahead import Ahead
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Sampling

from .making import write_clip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="counts the threads that Linux shows")
N = 30


def threads() -> int:
    """The decoder's threads, by the names that FFmpeg gives them."""
    tasks = Path("/proc/self/task").glob("*/comm")
    return sum(name.startswith("av:") for name in map(_read, tasks))


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:  # it ended meanwhile
        return ""


def left() -> int:
    """The decoder's threads that stay; one that was joined is shown by Linux for a moment."""
    until = time.monotonic() + 5
    while threads() and time.monotonic() < until:
        os.sched_yield()
    return threads()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    ticks = [i * 40 for i in range(N)]
    return write_clip(tmp_path_factory.mktemp("clip") / "a.mkv", ticks, options={"bf": "3"}, sound="aac")


@pytest.fixture
def uncollected() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def broken(clip: Path) -> Path:
    data = bytearray(clip.read_bytes())
    for at in range(len(data) // 3, len(data), 97):
        data[at] ^= 0xFF
    path = clip.with_name("broken.mkv")
    path.write_bytes(data)
    return path


def early(source: AvSource) -> object:
    items = iter(source)
    return items, [next(items) for _ in range(5)]


def ahead(source: AvSource) -> object:
    read = Ahead(source)
    items = iter(read)
    kept = [next(items) for _ in range(3)]
    read.close()
    return read, items, kept


WAYS: dict[str, Callable[[AvSource], object]] = {
    "whole": list,
    "early": early,
    "ahead": ahead,
    "unread": lambda source: (),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("damaged", [False, True])
def test_closing_ends_the_decoders_threads(clip, uncollected, way, damaged):
    """What was read, and the source itself, are still held."""
    source = AvSource(str(broken(clip) if damaged else clip), Sampling(), every=True, threads=4)
    kept = WAYS[way](source)
    assert way in ("ahead", "unread") or threads() >= 4
    source.close()
    assert left() == 0
    source.close()
    del kept


def test_a_refused_video_leaves_no_thread(tmp_path, uncollected):
    (tmp_path / "a.mp4").write_bytes(b"no video" * 100)
    with pytest.raises(InputError) as refused:
        AvSource(str(tmp_path / "a.mp4"), Sampling())
    assert left() == 0
    del refused


def test_streams_of_every_end(clip, scorer, uncollected):
    """Read to the end, closed early, and ended by an error of who reads."""
    options = VideoOptions(fps=None, faces=FaceOptions(), track=False)
    assert sum(len(part) for part in stream(scorer, clip, options)) == N
    assert left() == 0
    parts = stream(scorer, clip, options)
    next(parts)
    assert threads()
    parts.close()
    assert left() == 0

    def fails() -> None:
        for _ in stream(scorer, clip, options):
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert left() == 0
