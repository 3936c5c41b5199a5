"""The overlay's truth: the source's times, colours, boxes and sound, whatever codec and container it has."""

from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.errors import OptionError
from emonet_fast.sinks.overlay import Overlay
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Frame, Sampling

from .making import av, numbered, write_clip
from .test_sinks import line

N = 50
TICKS = [i * 40 for i in range(N)]
PATCHES = np.array(
    [(200, 120, 100), (230, 180, 150), (90, 60, 50), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)],
    np.uint8,
)


def overlay_of(clip: Path, path: Path, fps: float | None = None) -> str:
    """Write the overlay of a clip, with a box in each sampled frame; its audio note."""
    rows = line(0, 1)
    object.__setattr__(rows.scores, "faces", np.array([[8.0, 20.0, 20.0, 20.0, 0.9]]))
    overlay = Overlay(path)
    with closing(AvSource(str(clip), Sampling(fps), every=True)) as source:
        overlay.start(source.rate, source.audio)
        for item in source:
            overlay.write(item, rows, range(1) if isinstance(item, Frame) and item.chosen else None)
        overlay.close()
    return overlay.audio_note


def test_untrained_weights_are_named_in_every_frame(tmp_path):
    write_clip(tmp_path / "plain.mp4", TICKS[:6], picture=lambda i: numbered(i, 320, 160))
    warning = "untrained weights: the numbers mean nothing"
    for name, warnings in (("without.mp4", ()), ("with.mp4", (warning,))):
        overlay = Overlay(tmp_path / name, warnings=warnings)
        with closing(AvSource(str(tmp_path / "plain.mp4"), Sampling(), every=True)) as source:
            overlay.start(source.rate, source.audio)
            for item in source:
                overlay.write(item, line(0, 0), None)
        overlay.close()
    for plain, warned in zip(*(frames_of(tmp_path / name)[1] for name in ("without.mp4", "with.mp4")), strict=True):
        changed = (np.abs(plain.astype(int) - warned).max(axis=2) > 60).nonzero()
        assert len(changed[0]) > 300
        assert changed[0].max() < 40, "the text stands at the top"
    with av.open(str(tmp_path / "with.mp4")) as opened:
        assert opened.metadata["comment"] == warning


def frames_of(path: Path) -> tuple[list[float], list[np.ndarray]]:
    with closing(AvSource(str(path), Sampling())) as source:
        frames = list(source)
        return [frame.seconds for frame in frames], [frame.rgb() for frame in frames]


def sound_of(path: Path) -> tuple[str, float, float]:
    """Codec, first and last second of the sound as it is decoded."""
    with av.open(str(path)) as opened:
        stream = opened.streams.audio[0]
        frames = list(opened.decode(stream))
        last = frames[-1]
        return stream.codec_context.name, float(frames[0].time), float(last.time + last.samples / last.sample_rate)


SOUNDS = [
    ("aac", "mkv", "aac", "aac"), ("aac", "ts", "aac", "aac"), ("ac3", "mkv", "ac3", "ac3"),
    ("eac3", "mkv", "eac3", "eac3"), ("pcm_u8", "mkv", "aac", "pcm_u8"), ("flac", "mkv", "flac", "flac"),
    ("adpcm_ima_wav", "avi", "aac", "aac"),
]  # fmt: skip


@pytest.mark.parametrize(("codec", "kind", "in_mp4", "in_mkv"), SOUNDS)
def test_sound_is_copied_or_becomes_aac(tmp_path, codec, kind, in_mp4, in_mkv):
    """As long as the source's, and beside all frames at their times."""
    base = Fraction(1, 25) if kind == "avi" else Fraction(1, 1000)
    clip = write_clip(tmp_path / f"a.{kind}", [tick * base.denominator // 1000 for tick in TICKS], base, sound=codec)
    seconds, _ = frames_of(clip)
    _, first, last = sound_of(clip)
    for path, expected in ((tmp_path / "o.mp4", in_mp4), (tmp_path / "o.mkv", in_mkv)):
        assert overlay_of(clip, path) == ""
        np.testing.assert_allclose(frames_of(path)[0], seconds, rtol=0, atol=0.0011)
        found, begins, ends = sound_of(path)
        assert found == expected
        # A packet of AAC at 8 kHz is 0.128 s; the first one, of the encoder's delay, plays before 0 and is left out.
        assert begins == pytest.approx(first, abs=0.13)
        assert ends == pytest.approx(last, abs=0.13)


def test_sound_of_joined_clips_goes_on(tmp_path):
    clip = write_clip(tmp_path / "a.ts", TICKS, sound="aac")
    (tmp_path / "b.ts").write_bytes(clip.read_bytes() * 2)
    for kind in ("mp4", "mkv"):
        assert overlay_of(tmp_path / "b.ts", tmp_path / f"o.{kind}") == ""
        assert len(frames_of(tmp_path / f"o.{kind}")[0]) == 2 * N
        _, first, last = sound_of(tmp_path / f"o.{kind}")
        assert last - first == pytest.approx(4.0, abs=0.3)


def test_packets_at_one_time_are_kept(tmp_path):
    """Some recorders give two audio packets one decoding time, which MP4 refuses."""
    clip = write_clip(tmp_path / "a.mkv", TICKS, sound="flac")
    with av.open(str(clip)) as source, av.open(str(tmp_path / "b.mkv"), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        packets, last = [packet for packet in source.demux() if packet.size], None
        for i, packet in enumerate(packets):
            sound = packet.stream.type == "audio"
            if sound and last is not None and i % 7 == 0:
                packet.dts = packet.pts = last
            last = packet.dts if sound else last
            packet.stream = streams[packet.stream.index]
            out.mux(packet)
        count = len([packet for packet in packets if packet.stream.type == "audio"])
    for kind in ("mp4", "mkv"):
        assert overlay_of(tmp_path / "b.mkv", tmp_path / f"o.{kind}") == ""
        with av.open(str(tmp_path / f"o.{kind}")) as opened:
            assert sum(packet.size > 0 for packet in opened.demux(audio=0)) == count


def test_times_need_not_begin_at_0(tmp_path):
    clip = write_clip(tmp_path / "a.mkv", [10_000 + tick for tick in TICKS], sound="flac")
    for kind in ("mp4", "mkv"):
        overlay_of(clip, tmp_path / f"o.{kind}")
        np.testing.assert_allclose(frames_of(tmp_path / f"o.{kind}")[0], frames_of(clip)[0], rtol=0, atol=1e-6)
        assert sound_of(tmp_path / f"o.{kind}")[1] == pytest.approx(10.0, abs=0.002)


@pytest.mark.parametrize(("height", "matrix"), [(360, 6), (720, 1)])
def test_colours_are_the_sources_and_tagged(tmp_path, height, matrix):
    """As the tag says, and as players take untagged video of that size."""
    width = height * 16 // 9
    picture = np.zeros((height, width, 3), np.uint8)
    for i, colour in enumerate(PATCHES):
        picture[:, i * width // 8 : (i + 1) * width // 8] = colour
    clip = write_clip(tmp_path / "a.mkv", [0], codec="ffv1", pix_fmt="bgr0", picture=lambda _: picture)
    overlay_of(clip, tmp_path / "o.mp4")
    with av.open(str(tmp_path / "o.mp4")) as opened:
        frame = next(opened.decode(video=0))
    assert (frame.colorspace, frame.color_primaries, frame.color_trc, frame.color_range) == (matrix, matrix, matrix, 1)
    shown = frames_of(tmp_path / "o.mp4")[1][0]
    middles = shown[height - 10, [i * width // 8 + width // 16 for i in range(8)]]
    np.testing.assert_allclose(middles.astype(int), PATCHES.astype(int), rtol=0, atol=5)  # of x264 at crf 20


def test_boxes_stay_until_the_next_sampled_frame(tmp_path):
    """However slow the sampling: here one frame in 4 s."""
    clip = write_clip(tmp_path / "a.mkv", [i * 200 for i in range(20)], rate=5, picture=lambda _: numbered(0, 320, 240))
    overlay_of(clip, tmp_path / "o.mkv", 0.2)
    plain, shown = frames_of(clip)[1], frames_of(tmp_path / "o.mkv")[1]
    edge = np.s_[24:36, 6:11]
    assert all(np.abs(a[edge].astype(int) - b[edge]).max() > 60 for a, b in zip(plain, shown, strict=True))


@pytest.mark.parametrize(
    ("name", "said"), [("nodir/o.mp4", "there is no folder"), ("isdir.mp4", "exists and is not a file")]
)
def test_an_overlay_that_cannot_be_is_said_at_once(tmp_path, name, said):
    (tmp_path / "isdir.mp4").mkdir()
    with pytest.raises(OptionError, match=said):
        Overlay(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["isdir.mp4"]
    (tmp_path / "left.mp4.partial").write_bytes(b"of a killed run")
    with pytest.raises(OptionError, match="is there already"):
        Overlay(tmp_path / "left.mp4")
    assert (tmp_path / "left.mp4.partial").read_bytes() == b"of a killed run"
