"""Which stream is the video: what players take, never a cover picture, or the one that is asked for."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.errors import InputError, OptionError
from emonet_fast.options import VideoOptions
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.choose import open_video
from emonet_fast.sources.video.frames import Sampling

from .making import av, numbered, write_clip

DEFAULT, COVER = av.stream.Disposition.default, av.stream.Disposition.attached_pic


def joined(path: Path, *streams: tuple[str, int, int, int]) -> Path:
    """A file of video streams; each has a codec, a disposition, a width and a number of frames."""
    with av.open(str(path), "w") as out:
        made = []
        for codec, disposition, width, count in streams:
            stream = out.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = width, 48, "yuvj420p" if codec == "mjpeg" else "yuv420p"
            stream.disposition = disposition
            made.append((stream, width, count))
        for stream, width, count in made:
            for number in range(count):
                frame = av.VideoFrame.from_ndarray(numbered(number, width), format="rgb24")
                frame.pts = number
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def read(path: Path, stream: int | None = None) -> tuple[int, int, list[str]]:
    """Frames, their width, and the notes."""
    with closing(AvSource(str(path), Sampling(), stream=stream)) as source:
        frames = list(source)
        return len(frames), frames[0].rgb().shape[1], source.faults.notes


def test_a_cover_is_no_video(tmp_path):
    """Taggers write the cover before the video; ours is written behind it, so their boxes change places."""
    path = joined(tmp_path / "a.mp4", ("libx264", DEFAULT, 64, 10), ("mjpeg", COVER, 32, 1))
    data = path.read_bytes()
    start = data.index(b"moov") - 4
    boxes, at = {}, start + 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        boxes.setdefault(data[at + 4 : at + 8], data[at : at + size])
        at += size
    path.write_bytes(data[: start + 8] + b"".join(boxes[kind] for kind in (b"mvhd", b"udta", b"trak")))
    with av.open(str(path)) as opened:
        assert opened.streams.video[0].disposition == COVER
    assert read(path) == (10, 64, [])


def test_the_default_stream_is_taken_and_the_others_named(tmp_path):
    path = joined(tmp_path / "a.mkv", ("libx264", 0, 64, 10), ("libx264", DEFAULT, 128, 5))
    listed = "0 (h264 64 x 48), 1 (h264 128 x 48)"
    said = f"it has video streams {listed}; stream 1 was taken (choose another by --stream)"
    assert read(path) == (5, 128, [said])
    assert read(path, 0) == (10, 64, [])
    assert read(path, 1) == (5, 128, [])
    with pytest.raises(InputError, match="has no video stream 2; expected one of 0 "):
        read(path, 2)
    with closing(open_video(path, VideoOptions(fps=None, stream=0))) as source:
        assert len(list(source)) == 10
    with pytest.raises(OptionError, match="stream is -1; expected a whole number from 0"):
        VideoOptions(stream=-1)


def test_music_with_a_cover_is_no_video(tmp_path):
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        cover, tone = out.add_stream("mjpeg"), out.add_stream("aac", rate=8000)
        cover.width, cover.height, cover.pix_fmt, cover.disposition = 64, 48, "yuvj420p", COVER
        out.mux(cover.encode(av.VideoFrame.from_ndarray(numbered(0), format="rgb24")))
        out.mux(cover.encode(None))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 8000, 0
        out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    with pytest.raises(InputError, match="has no video stream, only audio, a cover picture; expected a video"):
        read(path)


def test_an_unknown_codec_is_said(tmp_path):
    path = write_clip(tmp_path / "a.mp4", [0, 40])
    path.write_bytes(path.read_bytes().replace(b"avc1", b"zzzz"))
    with pytest.raises(InputError, match=r"FFmpeg has no decoder for video stream 0 \(of an unknown codec\)"):
        read(path)


def test_frames_beyond_8k_are_not_decoded(tmp_path):
    """Neither where the container says so, nor where a frame within the stream does; the rest is read."""
    path = joined(tmp_path / "a.mkv", ("libvpx", DEFAULT, 64, 3))
    data = path.read_bytes()
    with av.open(str(path)) as opened:
        places = [(packet.pos, bytes(packet)[:10]) for packet in opened.demux(video=0) if packet.is_keyframe]
    head = places[0][1]
    assert head[3:6] == b"\x9d\x01\x2a"  # the start code of VP8, before width and height of 14 bits
    at = data.index(head)
    path.write_bytes(data[: at + 6] + b"\x00\x20\x00\x20" + data[at + 10 :])
    with closing(AvSource(str(path), Sampling())) as source:
        assert list(source) == []
        assert source.faults.broken == 3
    path = write_clip(tmp_path / "a.gif", [0, 40], codec="gif", pix_fmt="rgb8", options={"gifflags": "0"})
    data = path.read_bytes()
    path.write_bytes(data[:6] + b"\x00\x20\x00\x20" + data[10:])
    with pytest.raises(InputError, match="is too large; at most 8192 x 4352 pixels are read"):
        read(path)
