"""Containers that were decoded before, and file objects of every kind."""

import io
import os
import tempfile
from contextlib import closing
from threading import Thread

import numpy as np
import pytest

from emonet_fast.errors import InputError
from emonet_fast.options import VideoOptions
from emonet_fast.sources.video.choose import open_video

from .making import av, number_of, write_clip

N = 30
ALL = VideoOptions(fps=None)
KINDS = ("a.mp4", "a.mkv", "a.ts", "a.avi", "a.h264")


class Pipe:
    """A file object without a seek."""

    def __init__(self, data):
        self.read = io.BytesIO(data).read


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given")
    options = {"bf": "2", "g": "10", "crf": "12"}
    return {name: write_clip(folder / name, range(0, N * 40, 40), options=options) for name in KINDS}


def read(source) -> tuple[list[float], list[int]]:
    video = open_video(source, ALL)
    try:
        return zip(*((frame.seconds, number_of(frame.rgb())) for frame in video), strict=True)
    finally:
        video.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("decoded", [0, 15, N])
def test_a_container_is_read_from_its_beginning(files, kind, decoded):
    seconds, numbers = read(str(files[kind]))
    assert numbers == tuple(range(N))
    with av.open(str(files[kind])) as container:
        frames = container.decode(video=0)
        for _ in range(decoded):
            next(frames)
        assert list(read(container)) == [seconds, numbers]
        assert list(read(container)) == [seconds, numbers]  # it stays open


@pytest.mark.parametrize("kind", KINDS)
def test_file_objects(files, kind):
    """Of a disk, of memory, without a name, read before; they stay open."""
    expected = list(read(str(files[kind])))
    memory = io.BytesIO(files[kind].read_bytes())
    with files[kind].open("rb") as buffered, tempfile.TemporaryFile() as nameless:
        nameless.write(memory.getvalue())
        buffered.read(100)
        for file in (memory, buffered, nameless):
            assert list(read(file)) == expected
            assert not file.closed


@pytest.mark.parametrize("kind", ["a.mkv", "a.ts", "a.h264"])
def test_a_container_that_cannot_go_back(files, kind):
    """It says what to do; nothing is scored from its middle in silence, as FFmpeg does."""
    with av.open(Pipe(files[kind].read_bytes())) as container:
        next(container.decode(video=0))
        with pytest.raises(InputError, match=r"was decoded before, and cannot go back to its beginning .*open it anew"):
            open_video(container, ALL)


def test_a_container_whose_packets_were_read(files):
    with av.open(str(files["a.mkv"])) as container:
        list(container.demux())
        assert list(read(container)) == list(read(str(files["a.mkv"])))


def test_a_file_object_without_jumps(files):
    assert list(read(Pipe(files["a.mkv"].read_bytes()))) == list(read(str(files["a.mkv"])))


def test_an_index_at_the_end_of_a_pipe(files, tmp_path):
    """It is read whole first: what FFmpeg must pass over to reach it does not come again."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 240, 320, 3), np.uint8)
    path = write_clip(tmp_path / "a.mp4", range(0, 800, 40), picture=lambda number: noise[number])
    assert path.stat().st_size > 1_000_000
    with closing(open_video(str(path), ALL)) as video, closing(open_video(Pipe(path.read_bytes()), ALL)) as piped:
        for expected, found in zip(video, piped, strict=True):
            assert expected.pts == found.pts
            np.testing.assert_array_equal(expected.rgb(), found.rgb())
    with pytest.raises(InputError, match=r"more than 1,000 bytes \(--max-download"):
        open_video(Pipe(path.read_bytes()), VideoOptions(max_download=1000))
    os.mkfifo(tmp_path / "pipe")
    writing = Thread(target=(tmp_path / "pipe").write_bytes, args=[path.read_bytes()])
    writing.start()
    with closing(open_video(str(tmp_path / "pipe"), ALL)) as piped:
        assert sum(1 for _ in piped) == len(noise)
    writing.join()
    assert list(read(Pipe(files["a.mp4"].read_bytes()))) == list(read(str(files["a.mp4"])))


def test_file_objects_refused(files, tmp_path):
    with files["a.mp4"].open(encoding="latin-1") as text, pytest.raises(InputError, match="opened as text"):
        open_video(text, ALL)
    with pytest.raises(InputError, match="file object cannot be opened as video"):
        open_video(io.BytesIO(b"no video" * 100), ALL)
    script = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    with pytest.raises(InputError):
        list(open_video(io.BytesIO(script), ALL))
