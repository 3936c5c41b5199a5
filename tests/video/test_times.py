"""Times as ffprobe shows them, always going on, and sampling that keeps to them."""

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.options import VideoOptions
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.choose import GivenSource, open_video
from emonet_fast.sources.video.clock import Clock
from emonet_fast.sources.video.frames import Faults, Frame, Sampling
from emonet_fast.video.summary import VideoSummary

from .making import number_of, numbered, write_clip
from .test_source import ffprobe_seconds

N = 24
RATE = 25


def read(path: Path, fps: float | None = None) -> tuple[list[Frame], Faults]:
    with closing(AvSource(str(path), Sampling(fps))) as source:
        return [frame for frame in source if isinstance(frame, Frame)], source.faults


def clip(path: Path, codec: str = "mpeg4", bf: int = 2, count: int = N, first: int = 0) -> Path:
    ticks = range(first, first + count)
    options = {"bf": str(bf), "g": "12"} | ({"qscale": "2", "flags": "+qscale"} if codec == "mpeg4" else {"crf": "12"})
    number = lambda i: numbered((first + i) % 256)  # noqa: E731
    return write_clip(path, ticks, Fraction(1, RATE), rate=RATE, codec=codec, options=options, picture=number)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
@pytest.mark.parametrize("kind", ["avi", "mp4", "mkv", "ts"])
def test_b_frames_of_every_container_come_in_order(tmp_path, codec, kind):
    """AVI says when frames are decoded, not when they are shown: its first time is that of the decoder's delay."""
    frames, faults = read(clip(tmp_path / f"a.{kind}", codec))
    assert [number_of(frame.rgb()) for frame in frames] == list(range(N))
    seconds = np.array([frame.seconds for frame in frames])
    np.testing.assert_allclose(np.diff(seconds), 1 / RATE, rtol=0, atol=0.0011 if kind == "mkv" else 1e-6)
    assert 0 <= seconds[0] <= 3 / RATE
    # What the decoder still holds at the end of an AVI goes on without a decoding time.
    held = {"mpeg4": 1, "libx264": 2}[codec] if kind == "avi" else 0
    assert (faults.restarts, faults.broken, faults.estimated) == (0, 0, held)
    probed = ffprobe_seconds(tmp_path / f"a.{kind}", "best_effort_timestamp")
    if probed is not None:
        np.testing.assert_allclose(seconds[: len(probed)], probed, rtol=0, atol=1e-6)
        assert len(probed) == N - faults.estimated


@pytest.mark.parametrize("count", [N, 6 * RATE])
def test_joined_clips_go_on(tmp_path, count):
    """Every frame once, of clips shorter than 5 s too, at times that never come twice; and the number of joints."""
    data = clip(tmp_path / "a.ts", "libx264", 0, count).read_bytes()
    (tmp_path / "b.ts").write_bytes(data * 3)
    frames, faults = read(tmp_path / "b.ts")
    assert [number_of(frame.rgb()) for frame in frames] == [*range(count)] * 3
    seconds = np.array([frame.seconds for frame in frames])
    np.testing.assert_allclose(np.diff(seconds), 1 / RATE, rtol=0, atol=2e-5)
    assert faults.restarts == 2
    sampled, _ = read(tmp_path / "b.ts", 5)
    assert [frame.index for frame in sampled] == list(range(0, 3 * count, 5))


def test_pairs_that_begin_anew_go_on():
    times = [0, 0.1, 0.2, 0.2, 0.3, 5.0, 5.1, 0, 0.1]
    source = GivenSource([(t, numbered(0)) for t in times], Sampling())
    want = [0, 0.1, 0.2, 0.200001, 0.3, 5.0, 5.1, 5.2, 5.3]
    assert [frame.seconds for frame in source] == pytest.approx(want, abs=1e-9)
    assert (source.faults.restarts, source.faults.estimated) == (1, 1)
    summary = VideoSummary()
    summary.end(source, len(want), 1.0)
    (note,) = summary.messages
    assert note.startswith("frames: its times began anew 1 time, as of joined clips")


def test_ffmpegs_best_effort():
    """Presentation times while they go back no more often than decoding times; decoding times where there are none."""
    faults = Faults()
    stamps = [(0, -2), (1, -1), (None, 0), (None, 3), (4, 2), (5, 3), (None, None), (7, None)]
    clock = Clock(Fraction(1), faults)
    assert [clock.next(pts, dts, Fraction(1)) for pts, dts in stamps] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert faults.estimated == 2  # the 0 that does not go on, and the one without any time


SAMPLED = [
    (Fraction(30), Fraction(1, 1000), 0), (Fraction(30), Fraction(1, 1000), Fraction(165, 10000)),
    (Fraction(24000, 1001), Fraction(1, 1000), Fraction(1, 3)), (Fraction(60), Fraction(1, 90000), 0),
    (Fraction(30), Fraction(1, 1_000_000), 0), (Fraction(30000, 1001), Fraction(1, 1_000_000), Fraction(1, 7)),
    (Fraction(25), Fraction(1, 25), 0), (Fraction(50), Fraction(1, 600), 0),
]  # fmt: skip


@pytest.mark.parametrize(("rate", "tick", "start"), SAMPLED)
@pytest.mark.parametrize("share", [1, 2, 5])
def test_the_sources_rate_gives_every_frame(rate, tick, start, share):
    """And half of it every second one, however times are rounded; a float of a rate that is no float too."""
    sampling = Sampling(float(rate / share))
    taken = [i for i in range(3000) if sampling.take(round((start + i / rate) / tick) * tick, tick)]
    assert taken == list(range(0, 3000, share))


def test_the_rate_of_a_file_and_of_pairs(tmp_path):
    frames, _ = read(clip(tmp_path / "a.mkv", "libx264"), RATE)
    assert len(frames) == N
    pairs = [(i / 30, numbered(0)) for i in range(300)]
    assert len(list(open_video(pairs, VideoOptions(fps=30)))) == 300
