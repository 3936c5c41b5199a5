"""Frames look as in a player: HDR, matrices that nobody tagged, deep colours, fields, crops."""

import struct
from collections.abc import Iterable
from contextlib import closing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from emonet_fast.sources.video.av import AvSource
from emonet_fast.sources.video.choose import GivenSource
from emonet_fast.sources.video.convert import Crop, Fit
from emonet_fast.sources.video.frames import Frame, Sampling
from emonet_fast.video.summary import VideoSummary

from .making import av, write_clip

NITS = np.array([0, 1, 5, 10, 26, 50, 100, 203, 300, 400, 600, 800, 900, 1000])
# What FFmpeg 5.1 makes of grey patches of so many cd/m2: zscale=t=linear:npl=N,format=gbrpf32le,zscale=p=bt709,
# tonemap=hable:desat=0,zscale=t=bt709:m=bt709:r=tv with N = 203 and 100.
HABLE_203 = np.array([0, 18, 37, 48, 73, 94, 123, 157, 176, 190, 210, 223, 228, 232])
HABLE_100 = np.array([0, 25, 50, 66, 96, 123, 157, 193, 211, 223, 239, 249, 252, 255])


def pq(nits):
    """SMPTE ST 2084."""
    y = (nits / 10000) ** (2610 / 16384)
    return ((3424 / 4096 + 2413 / 128 * y) / (1 + 2392 / 128 * y)) ** (2523 / 32)


def hlg(nits):
    """ITU-R BT.2100 for a display of 1000 cd/m2."""
    light = (nits / 1000) ** (1 / 1.2)
    upper = 0.17883277 * np.log(np.maximum(12 * light - 0.28466892, 1e-9)) + 0.55991073
    return np.where(light <= 1 / 12, np.sqrt(3 * light), upper)


def planes(luma, chroma=(512, 512), form="yuv420p10le", tags=(2, 2, 2)):
    """A frame of these values, 4:2:0; tags: matrix, transfer and primaries of H.273."""
    height, width = luma.shape
    frame = av.VideoFrame(width, height, form)
    wide = np.uint16 if form.endswith("le") else np.uint8
    flat = [np.full((height // 2, width // 2), value) for value in chroma]
    for plane, values in zip(frame.planes, [luma, *flat], strict=True):
        rows = np.zeros((plane.height, plane.line_size // np.dtype(wide).itemsize), wide)
        rows[:, : values.shape[1]] = values
        plane.update(rows.tobytes())
    frame.colorspace, frame.color_trc, frame.color_primaries = tags
    frame.color_range = 1
    return frame


def encoded(path: Path, frames: Iterable, tags=(2, 2, 2), options=None, codec="libx264", rate=25) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, options=options or {"qp": "0", "preset": "ultrafast"})
        for number, frame in enumerate(frames):
            if number == 0:
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, frame.format.name
                context = stream.codec_context
                context.colorspace, context.color_trc, context.color_primaries = tags
                context.color_range = 1
            frame.pts, frame.time_base = number, Fraction(1, rate)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def texts(source):
    return {name: fact.text for name, fact in source.facts.items()}


def shown(path, **options):
    """The RGB of every frame, and the facts."""
    with closing(AvSource(str(path), Sampling(None), **options)) as source:
        return [frame.rgb() for frame in source if isinstance(frame, Frame)], texts(source)


@pytest.mark.parametrize(("curve", "tag", "name"), [(pq, 16, "PQ"), (hlg, 18, "HLG")])
def test_hdr_is_mapped_to_what_screens_show(tmp_path, curve, tag, name):
    """Read without mapping, 1 cd/m2 would be 37 and 1000 would be 190 in PQ."""
    luma = np.repeat(np.round(64 + 876 * curve(NITS)), 4)[None].repeat(16, axis=0)
    tags = (9, tag, 9)
    path = encoded(tmp_path / "a.mp4", [planes(luma, tags=tags)], tags)
    (rgb,), facts = shown(path)
    grey = rgb[8, 2::4].astype(int)
    assert facts == {"colours": f"HDR ({name}) mapped to BT.709 by FFmpeg's scale, intent perceptual"}
    assert np.ptp(grey, axis=1).max() <= 2, "grey stays grey"
    if name == "HLG":
        assert (grey[:, 1] >= HABLE_203 - 1).all()
        assert (grey[:, 1] <= HABLE_100 + 1).all()
    else:  # without a mastering peak FFmpeg keeps room for 10,000 cd/m2
        assert np.abs(grey[:, 1] - HABLE_203).max() <= 25
        assert (np.diff(grey[:, 1]) > 0).all()


def test_wide_primaries_are_mapped_and_grey_stays():
    """Skin of BT.709 (200, 120, 100), written with the primaries of BT.2020 (ITU-R BT.2087)."""
    skin = (np.array([200, 120, 100]) / 255) ** 2.4
    wide = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]]) @ skin
    red, green, blue = wide ** (1 / 2.4)
    y = 0.2627 * red + 0.6780 * green + 0.0593 * blue
    chroma = np.round(512 + 896 * np.array([(blue - y) / 1.8814, (red - y) / 1.4746]))
    frame = planes(np.full((16, 16), round(64 + 876 * y)), chroma, tags=(9, 14, 9))
    source = GivenSource([(0.0, frame)], Sampling(None))
    rgb = next(iter(source)).rgb()
    np.testing.assert_allclose(rgb[8, 8], [200, 120, 100], atol=4)  # a table of 33 values a colour
    assert texts(source) == {"colours": "primaries of BT.2020 mapped to BT.709 by FFmpeg's scale, intent perceptual"}


# Y, U and V of (200, 120, 100), limited range.
SKIN = {"BT.709": (132, 111, 164), "BT.601": (138, 107, 165)}


@pytest.mark.parametrize(
    ("width", "height", "name"),
    [(1920, 1080, "BT.709"), (1280, 544, "BT.709"), (608, 608, "BT.709"), (720, 576, "BT.601"), (640, 480, "BT.601")],
)
def test_untagged_video_has_the_matrix_of_its_size(width, height, name):
    """As players do: BT.709 from 1280 columns or 577 lines on."""
    y, *chroma = SKIN[name]
    source = GivenSource([(0.0, planes(np.full((height, width), y), chroma, "yuv420p"))], Sampling(None))
    np.testing.assert_allclose(next(iter(source)).rgb()[8, 8], [200, 120, 100], atol=3)
    assert texts(source) == {"colours": f"untagged, read as {name}"}


def noted(tags):
    """What a run says of a frame with these tags."""
    source = GivenSource([(0.0, planes(np.full((16, 16), 500), tags=tags))], Sampling(None))
    next(iter(source)).rgb()
    summary = VideoSummary()
    summary.end(source, 1, 1.0)
    return summary.messages


def test_what_most_videos_have_is_no_note_and_what_else_there_is_stands_with_it():
    assert noted((2, 2, 2)) == []
    mapped = "HDR (PQ) mapped to BT.709 by FFmpeg's scale, intent perceptual"
    assert noted((2, 16, 9)) == [f"frames: colours: untagged, read as BT.601; {mapped}"]


def test_a_matrix_that_cannot_be_read_is_said():
    """libswscale refuses such frames altogether."""
    source = GivenSource([(0.0, planes(np.full((16, 16), 128), (128, 128), "yuv420p", (14, 1, 1)))], Sampling(None))
    assert next(iter(source)).rgb().shape == (16, 16, 3)
    assert texts(source) == {"colours": "colours are off: ICtCp was read as BT.601"}


@pytest.mark.parametrize("form", ["yuv420p10le", "yuv422p10le", "yuv444p12le"])
def test_deep_grey_is_not_cut_off(form):
    frame = planes(np.full((32, 32), 64 + 876 * 128 / 255).round()).reformat(format=form)
    rgb = next(iter(GivenSource([(0.0, frame)], Sampling(None)))).rgb()
    assert (rgb == 128).all()


@pytest.mark.parametrize(
    ("form", "value"), [("gray", 77), ("rgba", 77), ("gbrp", 77), ("pal8", 77), ("yuvj420p", 77), ("yuva420p", 77)]
)
def test_other_layouts(form, value):
    grey = av.VideoFrame.from_ndarray(np.full((16, 16, 3), value, np.uint8), format="rgb24")
    if form == "pal8":
        palette = np.zeros((256, 4), np.uint8)
        palette[5] = 255, value, value, value  # alpha first
        frame = av.VideoFrame.from_ndarray((np.full((16, 16), 5, np.uint8), palette), format="pal8")
    else:
        frame = grey.reformat(format=form)
    rgb = next(iter(GivenSource([(0.0, frame)], Sampling(None)))).rgb()
    np.testing.assert_allclose(rgb, value, atol=2)  # libswscale dithers 4:2:0


def fields(number, height=96, width=96):
    """Two moments of a bar that moves to the right, one in the even rows and one in the odd ones."""
    rgb = np.full((height, width, 3), 40, np.uint8)
    for parity in (0, 1):
        left = 8 + 8 * (2 * number + parity)
        rgb[parity::2, left : left + 16] = 220
    return rgb


@pytest.mark.parametrize("start", [0, 3])
def test_fields_are_made_whole_at_their_own_times(tmp_path, start):
    """From the first interlaced frame on; every frame is there once."""
    options = {"qp": "2", "preset": "ultrafast", "flags": "+ildct+ilme", "x264-params": "bff=1:bframes=0"}
    path = tmp_path / "a.mkv"
    write_clip(path, range(0, 200, 40), picture=fields, options=options)
    with closing(AvSource(str(path), Sampling(None, start=start * 0.04))) as source:
        frames = [frame for frame in source if isinstance(frame, Frame)]
        pictures = [frame.rgb().astype(int) for frame in frames]
    assert [frame.pts for frame in frames] == list(range(start * 40, 200, 40))
    assert [frame.index for frame in frames] == list(range(start, 5))
    assert texts(source)["interlaced"] == "fields made whole by FFmpeg's bwdif, one picture a frame"
    for number, rgb in zip(range(start, 5), pictures, strict=True):
        combed = fields(number).astype(int)
        assert np.abs(np.diff(combed, axis=0)).mean() > 20
        left = 16 + 16 * number  # of the bar in the lower field, which is the earlier one here
        np.testing.assert_allclose(rgb[8:-8, left : left + 16, 0], 220, atol=12)


def test_progressive_frames_pass_untouched(tmp_path):
    path = write_clip(tmp_path / "a.mkv", range(0, 120, 40), picture=fields, options={"qp": "2"})
    pictures, facts = shown(path)
    assert "interlaced" not in facts
    np.testing.assert_allclose(pictures[1], fields(1), atol=12)


def cropped_mkv(data: bytes, **sides: int) -> bytes:
    """A Matroska file of FFmpeg's with PixelCrop elements, whose bytes are taken from the empty element before them."""
    ids = {"left": "54cc", "right": "54dd", "top": "54bb", "bottom": "54aa"}
    more = b"".join(bytes.fromhex(ids[side]) + b"\x82" + struct.pack(">H", value) for side, value in sides.items())
    file = bytearray(data)

    def grow(at: int, size: int, by: int) -> None:
        mark = 1 << (7 * size)
        file[at : at + size] = (int.from_bytes(file[at : at + size], "big") % mark + by | mark).to_bytes(size, "big")

    void = file.index(b"\xec\x01\0\0\0") + 1
    grow(void, 8, -len(more))
    del file[void + 8 : void + 8 + len(more)]
    tracks = file.index(b"\x16\x54\xae\x6b", void) + 4
    grow(tracks, 2, len(more))
    entry = file.index(b"\xae\x01", tracks) + 1
    grow(entry, 8, len(more))
    video = next(i for i in range(entry, len(file)) if file[i] == 0xE0 and file[i + 2] == 0xB0)
    file[video + 1] += len(more)
    file[video + 2 : video + 2] = more
    return bytes(file)


def cropped_mp4(data: bytes, width: int, height: int, across: int, down: int) -> bytes:
    """An MP4 whose index is at its end, with a clean aperture of this size, its centre moved by so many pixels."""
    clap = struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, across, 1, down, 1)
    file = bytearray(data)
    entry = file.index(b"avc1", file.index(b"stsd")) - 4
    end = entry + int.from_bytes(file[entry : entry + 4], "big")
    file[end:end] = clap
    for name in (b"avc1", b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        at = file.rindex(name, 0, entry + 8) - 4
        file[at : at + 4] = (int.from_bytes(file[at : at + 4], "big") + 40).to_bytes(4, "big")
    return bytes(file)


def marked(number, width=96, height=64):
    """Red tells the column, green the row."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0], rgb[..., 1] = np.arange(width) * 2, np.arange(height)[:, None] * 3
    return rgb


SAID = "pixels 7 left, 12 right, 5 top, 10 bottom, as the container says"


@pytest.mark.parametrize("kind", ["mkv", "mp4"])
@pytest.mark.parametrize("rotation", [None, 90])
def test_what_the_container_crops_is_not_seen(tmp_path, kind, rotation):
    rotation = rotation if kind == "mp4" else None
    path = write_clip(
        tmp_path / f"a.{kind}", [0, 40], picture=marked, options={"qp": "0"}, pix_fmt="yuv444p", rotation=rotation
    )
    data = path.read_bytes()
    if kind == "mkv":
        path.write_bytes(cropped_mkv(data, left=7, right=12, top=5, bottom=10))
    else:
        path.write_bytes(cropped_mp4(data, 77, 49, 0, 0))
    pictures, facts = shown(path)
    expected = marked(0)[5:-10, 7:-12] if kind == "mkv" else None
    if kind == "mp4":  # the aperture lies in the middle
        left, top = (96 - 77) // 2, (64 - 49) // 2
        expected = marked(0)[top : top + 49, left : left + 77]
    expected = np.rot90(expected, 1) if rotation else expected
    np.testing.assert_allclose(pictures[0][..., :2], expected[..., :2], atol=3)
    if kind == "mkv":
        assert facts["cropped"] == SAID


def test_a_crop_of_the_codec_is_exact(tmp_path):
    """FFmpeg's own programs cut too little at the left: to a multiple of 32 pixels."""
    path = write_clip(tmp_path / "a.mp4", [0, 40], picture=marked, options={"qp": "0"}, pix_fmt="yuv444p")
    out = tmp_path / "b.mp4"
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        crop = av.bitstream.BitStreamFilterContext("h264_metadata=crop_left=10:crop_top=6", stream, copy)
        for packet in source.demux(stream):
            for one in crop.filter(packet if packet.size else None):
                one.stream = copy
                target.mux(one)
    pictures, _ = shown(out)
    np.testing.assert_allclose(pictures[0][..., :2], marked(0)[6:, 10:, :2], atol=3)


def test_a_crop_follows_the_shape_of_pixels():
    fit = Fit.of(96, 64, Fraction(2), Crop(6, 10, 4, 0))
    assert fit == Fit((192, 64), (slice(4, 64), slice(12, 172)))
    assert Fit.of(96, 64, Fraction(1), Crop(50, 50, 0, 0)) == Fit((96, 64), (slice(0, 64), slice(0, 96)))
