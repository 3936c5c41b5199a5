"""NVDEC by PyNvVideoCodec gives the frames that PyAV gives: number, order, times and pixels. The hardware is a stand-in
(nvdec_stand_in.py) but for the last test, which needs a GPU."""

import logging
import sys
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emonet_fast.gpu import driver_present
from emonet_fast.sources.video import nvdec, opening
from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.frames import Frame, Sampling, Sound

from .making import av, move_edit_list, numbered, write_clip
from .nvdec_stand_in import DecodedFrame, Decoder, Pixel_Format, PyNvVCException, StandIn, by_nvdec, open_by

N = 24
CFR = [i * 40 for i in range(N)]
VFR = [int(v) for v in np.cumsum([0, *np.random.default_rng(0).integers(5, 180, N - 1)])]
B_FRAMES = {"bf": "3", "g": "8", "crf": "12"}


def colourful(number: int) -> np.ndarray:
    """A picture with hard edges between colours, where one interpolation of chroma differs from another."""
    blocks = np.random.default_rng(number).integers(0, 255, (6, 8, 3)).astype(np.uint8)
    return np.kron(blocks, np.ones((8, 8, 1), np.uint8))


def frames_of(path: Path, nvc: object = None) -> tuple[list[Frame], AvSource]:
    source = open_by(path, nvc)
    try:
        return [frame for frame in source if isinstance(frame, Frame)], source
    finally:
        source.close()


def same(path: Path, nvc: object, sessions: int | None = 1) -> AvSource:
    """Both ways give the same frames; the pictures are compared after all were read, when buffers were overwritten."""
    expected, plain = frames_of(path)
    found, source = frames_of(path, nvc)
    key = [(f.index, f.pts, f.time_base) for f in expected]
    assert [(f.index, f.pts, f.time_base) for f in found] == key
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.rgb(), theirs.rgb())
    assert source.faults == plain.faults
    if sessions is not None:
        assert len(nvc.made) == sessions
    return source


def with_edit_list(path: Path) -> Path:
    write_clip(path, CFR, options=B_FRAMES, picture=colourful)
    with av.open(str(path)) as opened:
        unit = opened.streams.video[0].time_base
    move_edit_list(path, int(Fraction(200, 1000) / unit))
    return path


def joined_late(path: Path) -> Path:
    """A stream that is met in the middle of an open group of pictures, as a live one is."""
    options = {**B_FRAMES, "x264-params": "open-gop=1:keyint=8:min-keyint=8:scenecut=0"}
    data = write_clip(path, [i * 40 for i in range(40)], options=options, picture=colourful).read_bytes()
    path.write_bytes(data[len(data) // 3 // 188 * 188 :])
    return path


CASES = {
    "constant": lambda path: write_clip(path / "a.mp4", CFR, picture=colourful),
    "variable with B-frames": lambda path: write_clip(path / "a.mp4", VFR, options=B_FRAMES, picture=colourful),
    "matroska, late start": lambda path: write_clip(path / "a.mkv", [t + 5000 for t in VFR], options=B_FRAMES),
    "transport stream": lambda path: write_clip(path / "a.ts", CFR, options=B_FRAMES, picture=colourful),
    "hevc": lambda path: write_clip(
        path / "a.mp4", VFR, codec="libx265", options={"x265-params": "log-level=none:keyint=8"}, picture=colourful
    ),
    "rotated": lambda path: write_clip(path / "a.mp4", CFR, rotation=90),
    "other aspect, full range": lambda path: write_clip(
        path / "a.mp4", CFR, aspect=Fraction(4, 3), picture=colourful,
        options={"x264-params": "colormatrix=bt709:fullrange=on"},
    ),
    "edit list": lambda path: with_edit_list(path / "a.mp4"),
    "joined late": lambda path: joined_late(path / "a.ts"),
    "without times": lambda path: write_clip(path / "a.h264", CFR, options=B_FRAMES, picture=colourful),
    "one frame": lambda path: write_clip(path / "a.mp4", [0]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_frames_that_pyav_gives(tmp_path, case):
    source = same(CASES[case](tmp_path), StandIn())
    assert by_nvdec(source)


def test_all_frames_and_the_sound_for_an_overlay(tmp_path):
    path = write_clip(tmp_path / "a.mp4", CFR, options=B_FRAMES, sound="aac")
    told = []
    for nvc in (None, StandIn()):
        source = open_by(path, nvc, Sampling(5), every=True)
        items = list(source)
        told.append([(f.pts, f.chosen) for f in items if isinstance(f, Frame)])
        assert sum(isinstance(item, Sound) for item in items) > 5
        source.close()
    assert told[0] == told[1]
    assert len(told[0]) == N


def test_a_new_size_gets_a_new_decoder(tmp_path):
    first = write_clip(tmp_path / "a.ts", CFR, options=B_FRAMES)
    larger = lambda number: numbered(number, 128, 96)  # noqa: E731
    second = write_clip(tmp_path / "b.ts", [t + 1000 for t in CFR], picture=larger, options=B_FRAMES)
    path = tmp_path / "both.ts"
    path.write_bytes(first.read_bytes() + second.read_bytes())
    same(path, StandIn(), sessions=2)


def test_avi_is_left_to_libavcodec(tmp_path):
    """Its packets have decoding times only, which no hardware hands on to the picture that they are of."""
    clip = write_clip(tmp_path / "a.avi", range(N), Fraction(1, 25), options=B_FRAMES, picture=colourful)
    source = same(clip, StandIn(), sessions=None)
    assert not by_nvdec(source)


def test_sampled_frames_alone_are_copied(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", CFR, options=B_FRAMES, picture=colourful)
    kept = []
    whole = nvdec.NvdecDecoder.keep
    monkeypatch.setattr(
        nvdec.NvdecDecoder, "keep", lambda self, picture: kept.append(picture.pts) or whole(self, picture)
    )
    source = open_by(path, StandIn(), Sampling(5))
    frames = list(source)
    assert [f.pts for f in frames] == kept
    assert len(kept) == 5
    source.close()


def test_broken_packets_cost_their_frames(tmp_path):
    path = write_clip(tmp_path / "a.mp4", CFR, options={"bf": "0", "g": "5", "crf": "12"})
    with av.open(str(path)) as opened:
        places = [packet.pos for packet in opened.demux(video=0) if packet.size]
    data = bytearray(path.read_bytes())
    for number in (0, 3, 4, 17):  # a length that reaches beyond the packet; the first key frame is among them
        data[places[number] : places[number] + 4] = b"\xff\xff\xff\xf0"
    path.write_bytes(data)
    found, source = frames_of(path, StandIn())
    kept = [i for i in range(N) if i not in (0, 1, 2, 3, 4, 17)]  # the first group refers to a frame that is lost
    assert [f.pts * 1000 * f.time_base for f in found] == [CFR[i] for i in kept]
    assert source.faults.broken >= 2  # before the first whole key frame PyAV's threads tell of some only
    assert not source.faults.ended


def refusal(why: str) -> PyNvVCException:
    """As the binding words it."""
    return PyNvVCException(f"HandleVideoSequence : \nError code : 801\nError Type : {why}\nat /a/NvDecoder.cpp:274\n")


class Refusing(StandIn):
    """Hardware that cannot do it, and says so in one of the places where it may."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self._where = where

    def CreateDecoder(self, *, gpuid, codec, usedevicememory):  # noqa: N802
        if self._where == "create":
            raise refusal("Codec not supported on this GPU")
        decoder = super().CreateDecoder(gpuid=gpuid, codec=codec, usedevicememory=usedevicememory)
        whole = decoder.Decode

        def decode(sent):
            if self._where == "first packet":
                raise refusal("\nResolution : 9000x9000\nResolution not supported on this GPU")
            frames = whole(sent)
            if self._where == "times":
                frames = [DecodedFrame(-1, frame._nv12) for frame in frames]
            if self._where == "size":
                frames = [DecodedFrame(frame.getPTS(), frame._nv12[:-2]) for frame in frames]
            if self._where == "format":
                for frame in frames:
                    frame.format = Pixel_Format.P016
            return [] if self._where == "nothing" else frames

        decoder.Decode = decode
        return decoder


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ("create", "Codec not supported on this GPU"),
        ("first packet", "Resolution : 9000x9000 Resolution not supported on this GPU"),
        ("times", "carries no times"),
        ("size", "expected NV12 of 4608"),
        ("format", "expected NV12"),
        ("nothing", "gave no picture"),
    ],
)
@pytest.mark.parametrize("case", ["variable with B-frames", "one frame"])
def test_what_nvdec_cannot_do_pyav_does(tmp_path, caplog, where, said, case):
    """From the first frame on, and a line says so."""
    with caplog.at_level(logging.INFO, "emonet_fast"):
        source = same(CASES[case](tmp_path), Refusing(where), sessions=None)
    assert not by_nvdec(source)
    assert any("decoded by PyAV on the CPU from here on" in line and said in line for line in caplog.messages)
    assert "NvDecoder.cpp" not in caplog.text


def test_a_fault_in_mid_stream_costs_its_packet(tmp_path, monkeypatch):
    path = write_clip(tmp_path / "a.mp4", CFR, options={"bf": "0", "g": "1", "crf": "12"})
    whole, calls = Decoder.Decode, []

    def faulty(self, sent):
        calls.append(sent.pts)
        if len(calls) == 9:
            raise PyNvVCException("cuvidDecodePicture failed")
        return whole(self, sent)

    monkeypatch.setattr(Decoder, "Decode", faulty)
    found, source = frames_of(path, StandIn())
    assert len(found) == N - 1
    assert source.faults.broken == 1
    assert by_nvdec(source)


@pytest.mark.parametrize("kind", ["mpeg4", "ten bits", "interlaced"])
def test_streams_that_are_left_to_pyav(tmp_path, kind, caplog):
    if kind == "mpeg4":
        path, said = write_clip(tmp_path / "a.mp4", CFR, codec="mpeg4", options={}), "this is mpeg4"
    elif kind == "ten bits":
        path, said = tmp_path / "a.mkv", "this is yuv420p10le"
        with av.open(str(path), "w") as out:
            stream = out.add_stream("libx264", rate=25, width=64, height=48, pix_fmt="yuv420p10le")
            for number in range(4):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number), format="rgb24")))
            out.mux(stream.encode(None))
    else:
        path, said = write_clip(tmp_path / "a.mp4", CFR, options={"x264-params": "tff=1"}), "interlaced"
    with caplog.at_level(logging.INFO, "emonet_fast"):
        source = same(path, StandIn(), sessions=0)
    assert said in caplog.text
    assert not by_nvdec(source)


@given(
    st.lists(st.tuples(st.sampled_from([7, 8, 5, 1, 6]), st.binary(min_size=1, max_size=30)), max_size=6), st.booleans()
)
def test_parameter_sets_are_found(units, long_codes):
    """Payloads as an encoder writes them: no start code within, the last byte not zero."""
    code = b"\0\0\0\1" if long_codes else b"\0\0\1"
    made = [bytes([0x60 | kind]) + body.replace(b"\0", b"\3") for kind, body in units]
    found = nvdec.parameter_sets(b"".join(code + unit for unit in made), "h264")
    assert found == {unit for (kind, _), unit in zip(units, made, strict=True) if kind == 7}


@pytest.fixture
def driver(monkeypatch):
    """A machine with an NVIDIA driver, as far as the question for it goes."""
    monkeypatch.setattr(opening, "driver_present", lambda: True)


def test_who_decodes_is_said(tmp_path, monkeypatch, caplog, driver):
    """In order: PyNvVideoCodec, PyAV's own NVDEC, PyAV; each with a line."""
    path = write_clip(tmp_path / "a.mp4", CFR)
    caplog.set_level(logging.INFO, "emonet_fast")
    monkeypatch.setattr(nvdec, "library", StandIn)
    with closing(AvSource(str(path), Sampling(), hardware=True)) as source:
        assert len(list(source)) == N
    assert caplog.messages == ["video is decoded on the GPU by PyNvVideoCodec"]

    def missing():
        raise nvdec.NoNvdecError("PyNvVideoCodec is not installed")

    monkeypatch.setattr(nvdec, "library", missing)
    caplog.clear()
    with closing(AvSource(str(path), Sampling(), hardware=True)) as source:
        assert len(list(source)) == N
    assert caplog.messages[-1].startswith("video is decoded by PyAV")
    assert "PyNvVideoCodec is not installed" in caplog.text
    caplog.clear()
    with closing(AvSource(str(path), Sampling(), hardware=False)) as source:
        list(source)
    assert not caplog.messages


def test_doctor_says_who_decodes(monkeypatch):
    assert opening.who_decodes(False, True) == "PyAV on the CPU (no NVIDIA driver was found)"
    monkeypatch.setattr(nvdec, "available", lambda package: False)
    assert opening.who_decodes(True, True).startswith("PyAV, by its own NVDEC where it can (PyNvVideoCodec is not inst")
    assert opening.who_decodes(True, False).startswith("PyAV, on the CPU (")
    monkeypatch.setattr(nvdec, "library", StandIn)
    assert opening.who_decodes(True, True) == "PyNvVideoCodec for h264 and hevc, PyAV for others"


def test_a_package_that_finds_no_driver(tmp_path, monkeypatch):
    """The wheel raises RuntimeError with a page of advice where the driver's libraries are missing."""
    package = tmp_path / "PyNvVideoCodec"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise RuntimeError('Failed to load libnvidia-encode.so.1\\n\\n=== STEPS ===')"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "PyNvVideoCodec", raising=False)
    with pytest.raises(nvdec.NoNvdecError, match=r"cannot be used: Failed to load libnvidia-encode\.so\.1$"):
        nvdec.library()


def test_the_real_hardware_gives_the_same_times(tmp_path):
    """Times and order exact; pixels within what two decoders of the same standard may differ: nothing."""
    if not driver_present():
        pytest.skip("no NVIDIA driver on this machine")
    try:
        nvc = nvdec.library()
    except nvdec.NoNvdecError as why:
        pytest.skip(str(why))
    big = lambda number: np.kron(colourful(number), np.ones((8, 8, 1), np.uint8))  # noqa: E731 NVDEC's least size is 48
    for name, ticks, more in (
        ("a.mp4", CFR, {}),
        ("b.mp4", VFR, {"options": B_FRAMES}),
        ("c.ts", VFR, {"options": B_FRAMES}),
        ("d.mp4", VFR, {"codec": "libx265", "options": {"x265-params": "log-level=none:keyint=8"}}),
    ):
        source = same(write_clip(tmp_path / name, ticks, picture=big, **more), nvc, sessions=None)
        assert by_nvdec(source)
