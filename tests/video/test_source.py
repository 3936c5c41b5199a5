"""Frames of files: each once, in order, at its own time, upright and with square pixels; and what damage costs."""

import shutil
import subprocess
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.errors import InputError
from emonet_fast.options import VideoOptions
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.choose import GivenSource, open_video
from emonet_fast.sources.video.convert import square_size, upright
from emonet_fast.sources.video.frames import Frame, Sampling
from emonet_fast.sources.video.names import is_live

from .making import HEIGHT, WIDTH, av, move_edit_list, number_of, numbered, write_clip

N = 40
CFR = [i * 40 for i in range(N)]
VFR = [int(v) for v in np.cumsum([0, *np.random.default_rng(0).integers(5, 180, N - 1)])]
B_FRAMES = {"bf": "3", "g": "12", "crf": "12"}


def read(path: Path, fps: float | None = None, **more) -> list[Frame]:
    source = AvSource(str(path), Sampling(fps, **more))
    try:
        return [frame for frame in source if isinstance(frame, Frame)]
    finally:
        source.close()


def numbers(path: Path, fps: float | None = None, **more) -> list[int]:
    source = AvSource(str(path), Sampling(fps, **more))
    try:
        return [number_of(frame.rgb()) for frame in source if isinstance(frame, Frame)]
    finally:
        source.close()


def ffprobe_seconds(path: Path, what: str = "pts") -> list[float] | None:
    """The shown frames' times in seconds by FFmpeg's own tool, where it has one; None where it is not installed."""
    if shutil.which("ffprobe") is None:
        return None
    fields = ["-show_entries", f"frame={what}", "-of", "csv=p=0"]
    base = ["-show_entries", "stream=time_base", "-of", "csv=p=0"]
    run = ["ffprobe", "-v", "error", "-select_streams", "v:0"]
    found = subprocess.run([*run, *fields, path], capture_output=True, text=True, check=True).stdout
    ticks = subprocess.run([*run, *base, path], capture_output=True, text=True, check=True).stdout
    unit = Fraction(ticks.strip().splitlines()[0].strip(","))
    return [float(int(line.strip(",")) * unit) for line in found.split() if line.strip(",") not in ("", "N/A")]


def cases(folder: Path) -> dict[str, tuple[Path, list[int], list[int]]]:
    """Name: the clip, its times in milliseconds, and the numbers of its frames."""
    every = list(range(N))
    return {
        "constant": (write_clip(folder / "cfr.mp4", CFR), CFR, every),
        "variable": (write_clip(folder / "vfr.mp4", VFR), VFR, every),
        "b-frames": (write_clip(folder / "b.mp4", VFR, options=B_FRAMES), VFR, every),
        "matroska": (write_clip(folder / "m.mkv", VFR, options=B_FRAMES), VFR, every),
        "late start": (write_clip(folder / "l.mkv", [t + 5000 for t in CFR]), [t + 5000 for t in CFR], every),
        "rotated": (write_clip(folder / "r.mp4", VFR, rotation=90), VFR, every),
        "wrong rate": (write_clip(folder / "w.mp4", VFR, rate=240), VFR, every),
        "with sound": (write_clip(folder / "s.mp4", CFR, sound="aac"), CFR, every),
    }


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return cases(tmp_path_factory.mktemp("clips"))


CASES = ["constant", "variable", "b-frames", "matroska", "late start", "rotated", "wrong rate", "with sound"]


@pytest.mark.parametrize("case", CASES)
def test_every_frame_once_at_its_time(clips, case):
    path, ticks, expected = clips[case]
    frames = read(path)
    np.testing.assert_allclose([f.seconds for f in frames], np.array(ticks) / 1000, rtol=0, atol=1e-6)
    assert [f.index for f in frames] == list(range(N))
    assert all(f.pts * f.time_base == f.time for f in frames)
    probed = ffprobe_seconds(path)
    if probed is not None:
        np.testing.assert_allclose([f.seconds for f in frames], probed, rtol=0, atol=1e-6)
    if case != "rotated":  # its bars lie; see the test of rotation
        assert numbers(path) == expected


@pytest.mark.parametrize("case", ["constant", "variable", "b-frames", "wrong rate"])
@pytest.mark.parametrize("fps", [2.0, 7.5])
def test_sampling_goes_by_time(clips, case, fps):
    path, ticks, _ = clips[case]
    expected, cell = [], -1
    for number, tick in enumerate(ticks):
        now = (tick - ticks[0]) * Fraction(fps) // 1000
        if now > cell:
            expected.append(number)
            cell = now
    assert numbers(path, fps) == expected
    assert [f.index for f in read(path, fps)] == expected


def test_start_and_end(clips):
    path, ticks, _ = clips["variable"]
    expected = [i for i, tick in enumerate(ticks) if 500 <= tick <= 1500]
    assert numbers(path, start=0.5, end=1.5) == expected
    assert [f.index for f in read(path, start=0.5, end=1.5)] == expected  # places count from the file's beginning


@pytest.mark.parametrize("degrees", [0, 90, 180, -90])
def test_rotation_of_phones(tmp_path, degrees):
    """What is stored turned comes back upright: the display matrix undoes it."""
    stored = lambda number: np.rot90(numbered(number), -degrees // 90)  # noqa: E731
    path = write_clip(tmp_path / "phone.mp4", CFR[:6], picture=stored, rotation=degrees)
    frames = read(path)
    assert [number_of(f.rgb()) for f in frames] == list(range(6))
    assert frames[0].rgb().shape == (HEIGHT, WIDTH, 3)


def test_display_matrix_by_hand():
    picture = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2)
    one = 1 << 16
    shown = {
        (one, 0, 0, one): picture,
        (-one, 0, 0, one): picture[:, ::-1],
        (one, 0, 0, -one): picture[::-1],
        (-one, 0, 0, -one): picture[::-1, ::-1],
        # x' = -y, y' = x: a quarter turn clockwise
        (0, one, -one, 0): np.rot90(picture, -1),
        (0, -one, one, 0): np.rot90(picture, 1),
        (0, one, one, 0): picture.transpose(1, 0, 2),
    }
    for matrix, expected in shown.items():
        np.testing.assert_array_equal(upright(picture, matrix), expected)
    assert upright(picture, None) is picture


@pytest.mark.parametrize(("aspect", "shape"), [(Fraction(4, 3), (48, 85)), (Fraction(1, 2), (96, 64))])
def test_pixels_become_square(tmp_path, aspect, shape):
    path = write_clip(tmp_path / "a.mp4", CFR[:3], aspect=aspect)
    assert [f.rgb().shape[:2] for f in read(path)] == [shape] * 3
    assert numbers(path) == [0, 1, 2]


def test_absurd_aspect_is_ignored():
    assert square_size(64, 48, Fraction(1000, 1)) == (64, 48)
    assert square_size(64, 48, Fraction(1)) == (64, 48)


def test_edit_list_cuts_the_beginning(tmp_path):
    path = write_clip(tmp_path / "e.mp4", CFR, options=B_FRAMES)
    with av.open(str(path)) as opened:
        unit = opened.streams.video[0].time_base
    move_edit_list(path, int(Fraction(200, 1000) / unit))
    found = numbers(path)
    assert found == list(range(found[0], N))
    assert found[0] == 5
    probed = ffprobe_seconds(path)
    if probed is not None:
        np.testing.assert_allclose([f.seconds for f in read(path)], probed, rtol=0, atol=1e-6)


def test_frames_without_times_are_continued(tmp_path):
    """A raw H.264 stream has no times at all: they go on at the stream's rate, and are counted."""
    path = write_clip(tmp_path / "raw.h264", CFR[:12])
    with closing(AvSource(str(path), Sampling())) as source:
        frames = list(source)
    seconds = [f.seconds for f in frames]
    assert len(seconds) == 12
    np.testing.assert_allclose(np.diff(seconds), 0.04, atol=1e-6)
    assert source.faults.estimated == 12


def test_resolution_changes_in_mid_stream(tmp_path):
    first = write_clip(tmp_path / "a.ts", CFR[:10], options={"bf": "0"})
    larger = lambda number: numbered(number, 128, 96)  # noqa: E731
    second = write_clip(tmp_path / "b.ts", [t + 400 for t in CFR[:10]], picture=larger, options={"bf": "0"})
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    shapes = [f.rgb().shape[:2] for f in read(path)]
    assert shapes == [(48, 64)] * 10 + [(96, 128)] * 10


def test_broken_packets_cost_their_frames_only(tmp_path):
    path = write_clip(tmp_path / "a.mp4", CFR, options={"bf": "0", "g": "5", "crf": "12"})
    with av.open(str(path)) as opened:
        places = [packet.pos for packet in opened.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    hurt = (3, 4, 17)
    for number in hurt:  # a length that reaches beyond the packet: nothing of it can be decoded
        data[places[number] : places[number] + 4] = b"\xff\xff\xff\xf0"
    path.write_bytes(data)
    with closing(AvSource(str(path), Sampling())) as source:
        frames = list(source)
    kept = [i for i in range(N) if i not in hurt]
    np.testing.assert_allclose([f.seconds for f in frames], np.array(CFR)[kept] / 1000, atol=1e-6)
    assert source.faults.broken == len(hurt)
    assert not source.faults.ended


def test_cut_in_the_middle(tmp_path):
    """Fragmented files and Matroska keep what came before the cut; of a plain MP4 the index is gone."""
    path = write_clip(tmp_path / "a.mkv", CFR)
    data = path.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) * 9 // 10])
    frames = read(cut)
    assert 5 < len(frames) < N
    np.testing.assert_allclose([f.seconds for f in frames], np.array(CFR[: len(frames)]) / 1000, atol=1e-6)
    start = tmp_path / "start.mp4"  # its index stands before its pictures
    data = write_clip(tmp_path / "b.mp4", CFR, container={"movflags": "faststart"}).read_bytes()
    start.write_bytes(data[: len(data) * 3 // 4])
    with closing(AvSource(str(start), Sampling())) as source:
        assert 5 < len(list(source)) < N
    assert source.faults.ended or source.faults.broken


def broken(folder: Path, kind: str) -> str:
    path = folder / f"{kind}.mp4"
    if kind == "moov missing":
        data = write_clip(folder / "whole.mp4", CFR).read_bytes()
        path.write_bytes(data[: data.index(b"moov") - 4])
    elif kind == "zero bytes":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("no video")
    elif kind == "audio only":
        with av.open(str(path), "w") as out:
            tone = out.add_stream("aac", rate=8000)
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, 0
            out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
    elif kind == "folder":
        path.mkdir()
    return str(path)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("moov missing", "moov"),
        ("zero bytes", "zero bytes"),
        ("text", "cannot be opened as video"),
        ("audio only", "no video stream, only audio"),
        ("folder", "is a folder"),
        ("missing", "there is no such file"),
    ],
)
def test_what_is_no_video_is_said(tmp_path, kind, said):
    with pytest.raises(InputError, match=said):
        AvSource(broken(tmp_path, kind), Sampling())


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("http://127.0.0.1:9/a.mp4", "server running"),
        ("rtsp://127.0.0.1:9/a", "server running"),
        ("/dev/video97", "plugged in"),
    ],
)
def test_unreachable_sources(where, said):
    with pytest.raises(InputError, match=said):
        AvSource(where, Sampling())


def test_passwords_are_not_shown():
    with pytest.raises(InputError) as refused:
        AvSource("rtsp://me:secret@127.0.0.1:9/door?x=a@b", Sampling())
    assert "secret" not in str(refused.value)
    assert "rtsp://127.0.0.1:9/door?x=a@b" in str(refused.value)


def test_which_sources_are_live():
    assert all(is_live(w) for w in ("0", "12", "/dev/video3", "rtsp://h/x", "udp://@:5"))
    assert not any(is_live(w) for w in ("a.mp4", "dev/video0", "http://h/a.mp4", "0.mp4"))


def test_containers_and_pairs(clips):
    path, ticks, _ = clips["constant"]
    with av.open(str(path)) as container:
        opened = open_video(container, VideoOptions(fps=None))
        assert [number_of(f.rgb()) for f in opened] == list(range(N))
        opened.close()
        assert container.streams.video  # still the caller's
    pairs = [(tick / 1000, numbered(i)) for i, tick in enumerate(ticks)]
    given = open_video(iter(pairs), VideoOptions(fps=5))
    frames = list(given)
    assert [f.seconds for f in frames] == [ticks[f.index] / 1000 for f in frames]
    assert [number_of(f.rgb()) for f in frames] == [f.index for f in frames]


def test_pairs_on_other_libraries():
    torch = pytest.importorskip("torch")
    pairs = [(0, torch.from_numpy(numbered(3))), (1, av.VideoFrame.from_ndarray(numbered(4)))]
    assert [number_of(f.rgb()) for f in GivenSource(pairs, Sampling())] == [3, 4]


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([numbered(0)], "expected \\(seconds, frame\\)"),
        ([("now", numbered(0))], "has the time 'now'"),
        ([(float("nan"), numbered(0))], "has the time nan"),
        ([(0, np.zeros((4, 4), np.uint8))], "looks like grey"),
        ([(0, "frame")], "frame of type str"),
    ],
)
def test_pairs_refused(pairs, said):
    with pytest.raises(InputError, match=said):
        [f.rgb() for f in GivenSource(pairs, Sampling())]


@pytest.mark.parametrize("source", [3.5, b"bytes", None, True])
def test_sources_refused(source):
    with pytest.raises(InputError, match="came as video"):
        open_video(source, VideoOptions())
