"""Raw frames without a container: by FFmpeg's own reader, which is told their size and rate."""

import io
from contextlib import closing
from fractions import Fraction

import numpy as np
import pytest

from emonet_fast.errors import InputError, OptionError
from emonet_fast.options import VideoOptions
from emonet_fast.sources.video.choose import open_video

from .making import HEIGHT, WIDTH, number_of, numbered

SIZE = f"{WIDTH}x{HEIGHT}"
FRAMES = b"".join(numbered(i).tobytes() for i in range(6))


class Pipe(io.BytesIO):
    def seekable(self):
        return False


def read(source, **options):
    """Of each frame its time and number; and what ended the video."""
    settings = {"fps": None, "cuts": False, "video_size": SIZE, "framerate": "10"} | options
    with closing(open_video(source, VideoOptions(**settings))) as video:
        frames = [(frame.time, number_of(frame.rgb())) for frame in video]
        return frames, video.faults.ended


def test_a_pipe_and_a_file_give_every_frame_at_its_time(tmp_path):
    path = tmp_path / "moov.rgb"
    path.write_bytes(FRAMES)
    for source in (Pipe(FRAMES), str(path)):
        assert read(source) == ([(Fraction(i, 10), i) for i in range(6)], "")
    assert [at for at, _ in read(Pipe(FRAMES), framerate="30000/1001")[0]][:2] == [0, Fraction(1001, 30000)]


def test_other_pixel_formats(tmp_path):
    grey = b"".join(np.ascontiguousarray(numbered(i)[..., 0]).tobytes() for i in range(3))
    assert [number for _, number in read(Pipe(grey), pixel_format="gray")[0]] == [0, 1, 2]


@pytest.mark.parametrize(
    ("data", "frames", "why"),
    [
        (FRAMES[:-1], 5, "the last frame is not whole; are these frames of 64x48 rgb24"),
        (FRAMES[:100], 0, "no whole frame came; expected frames of 64x48 rgb24"),
        (b"", 0, "no whole frame came"),
    ],
)
def test_a_cut_frame_and_no_data_are_told(data, frames, why):
    found, ended = read(Pipe(data))
    assert len(found) == frames
    assert why in ended


@pytest.mark.parametrize("bytes_first", [b"RIFF....AVI ", b"\x00\x00\x00\x20ftypisom", b"\x1aE\xdf\xa3"])
def test_pixels_that_look_like_a_container_are_pixels(bytes_first):
    data = bytes_first + FRAMES[len(bytes_first) :]
    for source in (Pipe(data), io.BytesIO(data)):
        assert [number for _, number in read(source)[0]][1:] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"framerate": None}, "both video_size"),
        ({"video_size": None}, "both video_size"),
        ({"video_size": "64 by 48"}, "expected width x height"),
        ({"video_size": "0x48"}, "expected width x height"),
        ({"framerate": "fast"}, "expected frames a second"),
        ({"framerate": "0"}, "expected frames a second"),
        ({"pixel_format": "RGB,24"}, "expected a name of FFmpeg's"),
        ({"pixel_format": "nope"}, "FFmpeg has no pixel format 'nope'"),
        ({"video_size": "99999x99999"}, "video"),
    ],
)
def test_what_cannot_be_is_refused(options, why):
    with pytest.raises((OptionError, InputError), match=why):
        read(Pipe(FRAMES), **options)


def test_only_files_and_pipes_have_raw_frames():
    for source in ("rtsp://host/a", "/dev/video0", [(0.0, numbered(0))]):
        with pytest.raises(InputError, match="raw frames"):
            read(source)
