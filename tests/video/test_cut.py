"""Files that are cut short, still grow, or cannot be decoded: what is there is read, and a line says what is wrong."""

from contextlib import closing
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from emonet_fast.errors import InputError
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Frame, Sampling
from emonet_fast.sources.video.structure import structure_of
from emonet_fast.video.summary import VideoSummary

from .making import write_clip

N = 100
_FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}
# The codec and the container's options of each file; all keyframes every 10 frames.
KINDS = {
    "first.mp4": ("libx264", {"movflags": "faststart"}),
    "fragments.mp4": ("libx264", _FRAGMENTS),
    "a.mov": ("libx264", {"movflags": "faststart"}),
    "a.ts": ("libx264", {}),
    "a.avi": ("mpeg4", {}),
    "a.flv": ("libx264", {}),
    "a.mkv": ("libx264", {}),
    "a.gif": ("gif", {}),
    "a.apng": ("apng", {}),
    "a.wmv": ("wmv2", {}),
    "a.ogv": ("libvpx", {}),
    "a.ivf": ("libvpx", {}),
    "a.mxf": ("mpeg2video", {}),
    "a.mpg": ("mpeg2video", {}),
    "a.y4m": ("wrapped_avframe", {}),
}
PIXELS = {"gif": "rgb8", "apng": "rgb24"}


def noise(number: int) -> np.ndarray:
    """Frames that take about as many bytes each."""
    return np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("cut")
    made = {}
    for name, (codec, container) in KINDS.items():
        options = {} if codec in (*PIXELS, "wrapped_avframe") else {"g": "10"}
        options |= {"deadline": "realtime", "cpu-used": "8"} if codec == "libvpx" else {}
        made[name] = write_clip(
            folder / name, range(N), Fraction(1, 25), codec=codec, container=container, options=options,
            pix_fmt=PIXELS.get(codec, "yuv420p"), picture=noise,
        )  # fmt: skip
    return made


def read(where: object) -> tuple[int, str]:
    """The number of frames, and what a run would say of the file."""
    with closing(AvSource(str(where) if isinstance(where, Path) else where, Sampling(None))) as source:
        frames = sum(isinstance(item, Frame) for item in source)
        summary = VideoSummary()
        summary.end(source, frames, 1.0)
    return frames, "; ".join(summary.messages)


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_not_called_cut(files, kind):
    assert read(files[kind]) == (N, "")


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_in_half_gives_its_half_and_says_so(files, kind, tmp_path):
    data = files[kind].read_bytes()
    cut = tmp_path / kind
    cut.write_bytes(data[: len(data) // 2 + 1])
    frames, said = read(cut)
    assert N * 0.3 < frames < N * 0.9
    assert said.startswith(f"{cut} ended early: it ")
    assert "cut short" in said
    with cut.open("rb") as file:
        assert read(file) == (frames, said)


def test_the_frames_before_a_cut_packet_are_all_there(tmp_path):
    """libavcodec's threads refuse the packet late, and PyAV then loses the frames that they hold."""
    options = {"bf": "2", "g": "50", "crf": "30"}
    data = write_clip(tmp_path / "a.flv", range(0, N * 40, 40), options=options).read_bytes()
    last = int.from_bytes(data[-4:], "big")  # what ends the sequence, and before it the last picture
    end = len(data) - 4 - last
    end -= 4 if int.from_bytes(data[end - 4 : end], "big") > 20 else 0
    cut = tmp_path / "cut.flv"
    cut.write_bytes(data[: end - 10])
    for threads in (1, 2, 5):
        with closing(AvSource(str(cut), Sampling(None), threads=threads)) as source:
            assert sum(isinstance(item, Frame) for item in source) == N - 1
            assert (source.faults.broken, source.faults.ended) == (1, "it is cut short: it ends within a packet")


def test_a_cut_between_packets_shows_where_a_container_has_an_end(files, tmp_path):
    """MPEG streams have none: a recording of them may end anywhere."""
    for kind, end in {"a.ogv": b"OggS", "a.mpg": b"\0\0\1\xba", "a.ts": None}.items():
        data = files[kind].read_bytes()
        at = len(data) // 376 * 188 if end is None else data.index(end, len(data) // 2)
        cut = tmp_path / kind
        cut.write_bytes(data[:at])
        frames, said = read(cut)
        assert N * 0.3 < frames < N * 0.9
        assert said == (
            ""
            if kind != "a.ogv"
            else f"{cut} ended early: it is cut short: the mark of its end is missing; its frames up to there are kept"
        )


def test_a_file_whose_first_frame_is_cut_says_so(files, tmp_path):
    for kind in ("first.mp4", "a.mkv"):
        data = files[kind].read_bytes()
        cut = tmp_path / kind
        cut.write_bytes(data[: data.index(b"x264 - core") + 20])
        frames, said = read(cut)
        assert frames == 0
        assert said.startswith(f"{cut} gave no frame: it ")
        assert "cut short" in said


def test_fragments_of_an_mp4_are_read_wherever_it_is_cut(files, tmp_path):
    """FFmpeg refuses the whole file where the cut lies within a `moof`."""
    data = files["fragments.mp4"].read_bytes()
    cut = tmp_path / "a.mp4"
    third = [i for i in range(len(data)) if data[i : i + 4] == b"moof"][2] - 4
    cut.write_bytes(data[:third])
    whole, said = read(cut)
    assert (whole > 1, said) == (True, "")
    for more in (9, 40):
        cut.write_bytes(data[: third + more])
        frames, said = read(cut)
        assert frames == whole
        assert "cut short" in said


def test_an_mp4_without_its_index_says_what_is_missing(files, tmp_path):
    data = files["first.mp4"].read_bytes()
    cut = tmp_path / "a.mp4"
    cut.write_bytes(data[: data.index(b"ftyp") + 28] + data[data.index(b"mdat") - 4 :])
    with pytest.raises(InputError, match=r"it has no index \(moov\), which such a file gets at its end"):
        AvSource(str(cut), Sampling(None))


@pytest.mark.parametrize("kind", ["a.mkv", "a.ts", "fragments.mp4"])
def test_a_file_that_still_grows_is_read_as_far_as_it_goes(files, kind, tmp_path):
    data = files[kind].read_bytes()
    growing = tmp_path / kind
    growing.write_bytes(data[: len(data) // 2])
    with closing(AvSource(str(growing), Sampling(None))) as source:
        items = iter(source)
        frames = [next(items)]
        with growing.open("ab") as file:
            file.write(data[len(data) // 2 :][:1000])
        frames += items
    assert len(frames) > N * 0.3
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert source.faults.ended == "it grew by 1,000 bytes while it was read, so something still writes it"


def test_an_animated_webp_is_said(tmp_path):
    """Where FFmpeg decodes it one day, it is a video."""
    path = tmp_path / "a.webp"
    frames = [Image.new("RGB", (64, 48), (60 * i, 0, 0)) for i in range(4)]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=100)
    count, said = read(path)
    assert count == 4 or said == (
        f"{path} gave no frame: it is an animated WebP, which this FFmpeg cannot decode; convert it to a video first"
    )


@pytest.mark.parametrize("kind", ["first.mp4", "a.mov", "a.avi", "a.mkv", "a.apng", "a.wmv", "a.ogv"])
@given(part=st.floats(0.01, 1, exclude_max=True))
def test_wherever_a_file_is_cut_that_states_its_size_or_end(files, kind, part):
    data = files[kind].read_bytes()
    cut = data[: int(len(data) * part)]
    assert structure_of(BytesIO(cut), len(cut)).fault
    assert not structure_of(BytesIO(data), len(data)).fault


# What files of each kind begin with.
BEGINNINGS = [
    b"\0\0\0\x10ftyp",
    b"RIFF\x20\0\0\0AVI ",
    b"RIFF\x20\0\0\0WEBPVP8X",
    b"\x1a\x45\xdf\xa3\x80\x18\x53\x80\x67",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa1\xdc\xab\x8c\x47\xa9\xcf\x11\x8e\xe4\x00\xc0\x0c\x20\x53\x65",
    b"\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02\x01\x01\x02",
    b"OggS",
    b"\0\0\1\xba",
    b"FLV",
    b"YUV4MPEG2 W2 H2",
    b"GIF8",
    b"\x89PNG",
    b"",
]


@given(st.builds(bytes.__add__, st.sampled_from(BEGINNINGS), st.binary(max_size=300)))
def test_any_bytes_have_a_structure(data):
    file = BytesIO(data)
    found = structure_of(file, len(data))
    assert 0 <= found.size <= len(data)
    assert file.tell() == 0
