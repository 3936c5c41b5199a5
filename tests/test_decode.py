"""Every kind of picture, made here with Pillow, to upright RGB."""

import io
import struct
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, features

from emonet_fast.decode import decode
from emonet_fast.options import Options
from emonet_fast.records import Picture, Status

from .decoding import pixels, published, run
from .sources.made import encoded, gradient

HAS_AVIF = "avif" in features.modules and features.check("avif")


# ---- what can be read


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_pixels(kind):
    got = run(encoded(kind=kind))
    assert (got.status, got.reason) == (Status.OK, "")
    np.testing.assert_array_equal(got.rgb, gradient())


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 75, "progressive": True}),
        ("JPEG", {"subsampling": 0, "quality": 100}),
        ("WEBP", {"quality": 80}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "jpeg"}),
        pytest.param("AVIF", {}, marks=pytest.mark.skipif(not HAS_AVIF, reason="this Pillow has no AVIF")),
    ],
)
def test_formats_equal_the_published_pipeline(kind, settings):
    data = encoded(gradient(100, 75), kind, **settings)
    got = run(data)
    assert got.reason == ""
    np.testing.assert_array_equal(got.rgb, published(data))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr", "HSV", "RGBX", "RGBa"])
def test_modes_in_memory_equal_pillows_convert(mode):
    grey = {"1": "L", "LA": "LA", "PA": "RGBA", "RGBa": "RGBA"}.get(mode)
    image = Image.fromarray(gradient())
    image = (image.convert(grey) if grey else image).convert(mode)
    np.testing.assert_array_equal(pixels(image), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "L"), ("PNG", "LA"), ("PNG", "1"), ("PNG", "P"), ("GIF", "P"), ("JPEG", "L")]
)
def test_other_modes_in_files_equal_the_published_pipeline(kind, mode):
    data = encoded(Image.fromarray(gradient()).convert(mode), kind)
    np.testing.assert_array_equal(pixels(data), published(data))


def test_alpha_is_dropped_not_blended():
    rgba = np.dstack([gradient(), np.zeros((24, 32), np.uint8)])
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(rgba))), gradient())


@pytest.mark.parametrize("transparency", [3, bytes([0, 128, 255])])
def test_palette_with_transparency_and_no_warning(transparency):
    image = Image.fromarray(gradient()).quantize(16)
    data = encoded(image, "PNG", transparency=transparency)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = pixels(data)
    np.testing.assert_array_equal(got, np.asarray(image.convert("RGB")))


def test_palette_image_in_memory_keeps_its_transparency():
    image = Image.open(io.BytesIO(encoded(Image.fromarray(gradient()).quantize(16), "PNG", transparency=b"\0\1")))
    pixels(image)
    assert image.info["transparency"] == b"\0\1"


def test_cmyk_jpeg():
    data = encoded(Image.fromarray(gradient(40, 40)).convert("CMYK"), "JPEG", quality=95)
    got = run(data)
    assert got.reason == "CMYK converted to RGB by Pillow"
    np.testing.assert_array_equal(got.rgb, published(data))
    assert np.abs(got.rgb.astype(int) - gradient(40, 40)).mean() < 12, "not inverted"


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
@pytest.mark.parametrize("highest", [255, 4095, 65535])
def test_16_bit_grey_is_converted_as_published_and_said(kind, highest):
    """Values of 8 bits are right, those of 12 and 16 are cut off: the row says so."""
    values = (gradient(40, 50)[..., 0].astype(np.uint32) * highest // 255).astype("<u2")
    values[0, 0] = 0
    data = encoded(Image.frombytes("I;16", (50, 40), values.tobytes()), kind)
    got = run(data)
    np.testing.assert_array_equal(got.rgb, published(data))
    np.testing.assert_array_equal(got.rgb[..., 0], values.clip(0, 255))
    assert got.reason.startswith("16-bit grey, as Pillow converts it: ")
    assert f"{100 * (values > 255).mean():.0f}% of it is above 255" in got.reason


def test_16_bit_grey_in_memory():
    big_endian = Image.frombytes("I;16B", (2, 1), struct.pack(">2H", 128, 65535))
    assert pixels(big_endian)[0, :, 2].tolist() == [128, 255]
    assert pixels(Image.fromarray(np.array([[0, 254, 65535]], np.int32)))[0, :, 1].tolist() == [0, 254, 255]


@pytest.mark.parametrize("values", [np.array([[-1, 5]], np.int32), np.array([[0, 70000]], np.int32)])
def test_32_bit_pixels_are_refused(values):
    got = run(Image.fromarray(values))
    assert got.status == Status.BAD_INPUT
    assert f"{values.min()}..{values.max()}" in got.reason


def test_float_pixels_are_refused():
    image = Image.fromarray(np.array([[0.0, 1.0]], np.float32))
    for data, status in ((encoded(image, "TIFF"), Status.NOT_AN_IMAGE), (image, Status.BAD_INPUT)):
        got = run(data)
        assert got.status == status
        assert "floating point" in got.reason


def test_a_mode_that_pillow_cannot_convert_is_refused():
    got = run(Image.new("La", (3, 3)))
    assert got.status == Status.BAD_INPUT
    assert "mode La" in got.reason


@pytest.mark.parametrize("shape", [(1, 1), (10, 20_000), (20_000, 10), (33, 65_500)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_extreme_shapes(shape, kind):
    assert pixels(encoded(np.full((*shape, 3), 200, np.uint8), kind)).shape == (*shape, 3)


@pytest.mark.parametrize(("kind", "settings"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})])
def test_first_of_several_frames(kind, settings):
    frames = [Image.new("RGB", (8, 6), c) for c in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **settings)
    got = run(data)
    assert got.reason == "first of 3 frames"
    assert got.rgb.shape == (6, 8, 3)
    assert got.rgb[3, 3].tolist() == [255, 0, 0]


def test_mpo():
    frames = [Image.new("RGB", (16, 16), c) for c in ("red", "blue")]
    got = run(encoded(frames[0], "MPO", save_all=True, append_images=frames[1:]))
    assert got.reason == "first of 2 frames"
    assert got.rgb[8, 8, 0] > 250


def test_later_frames_may_be_damaged():
    frames = [Image.fromarray(np.roll(gradient(), i * 5, 0)) for i in range(3)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    single = len(encoded(frames[0], "GIF"))
    got = run(data[: single + 200])
    assert got.status == Status.OK
    np.testing.assert_array_equal(got.rgb, published(data))


# ---- EXIF


def turned(rgb, orientation):
    """The stored array whose EXIF orientation makes it `rgb`, by the standard's table."""
    return {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: a.transpose(1, 0, 2)[::-1],
        7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    }[orientation](rgb)


def exif_of(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_orientation(orientation, kind):
    settings = {"PNG": {}, "WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}[kind]
    want = gradient(48, 64)
    stored = np.ascontiguousarray(turned(want, orientation))
    data = encoded(stored, kind, exif=exif_of(orientation), **settings)
    got = pixels(data)
    assert got.shape == want.shape
    np.testing.assert_allclose(got.astype(int), want, atol=0 if kind != "JPEG" else 40)
    assert np.abs(got[0, -1].astype(int) - [255, 0, 0]).max() < 40, "the red corner is at the top right"
    assert np.abs(got[-1, 0].astype(int) - [0, 255, 0]).max() < 40, "the green corner is at the bottom left"
    as_stored = pixels(data, exif=False)
    assert as_stored.shape == stored.shape
    np.testing.assert_array_equal(as_stored, published(data))


@pytest.mark.parametrize("orientation", [3, 6])
def test_orientation_of_images_in_memory(orientation):
    want = gradient()
    data = encoded(np.ascontiguousarray(turned(want, orientation)), "PNG", exif=exif_of(orientation))
    image = Image.open(io.BytesIO(data))
    np.testing.assert_array_equal(pixels(image), want)
    np.testing.assert_array_equal(pixels(image), want)  # the caller's image was not turned
    np.testing.assert_array_equal(pixels(image, exif=False), turned(want, orientation))
    assert run(image).reason == ""
    # A program has turned this one, and may have left the orientation as it was.
    assert run(image.rotate(90)).reason.startswith(f"turned by its EXIF orientation {orientation}; give an array")


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_orientation_out_of_range_is_upright(orientation):
    np.testing.assert_array_equal(pixels(encoded(kind="PNG", exif=exif_of(orientation))), gradient())


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow says that the EXIF is corrupt
@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), min_size=1, max_size=5))
def test_broken_exif_does_not_lose_the_picture(changes):
    exif = exif_of(3)
    exif[0x010F] = "maker"
    exif[0x011A] = (72, 1)
    data = bytearray(encoded(kind="JPEG", exif=exif))
    start = data.index(b"Exif\0\0") + 6
    length = int.from_bytes(data[start - 8 : start - 6], "big") - 8
    for at, value in changes:
        data[start + at % length] = value
    assert run(bytes(data)).status == Status.OK


def test_unreadable_exif_is_said():
    got = run(encoded(kind="WEBP", lossless=True, exif=b"Exif\0\0not a TIFF header"))
    assert got.status == Status.OK
    assert "EXIF unreadable" in got.reason
    np.testing.assert_array_equal(got.rgb, gradient())


# ---- objects


def test_array_passes_as_it_is():
    rgb = gradient()
    np.testing.assert_array_equal(pixels(rgb), rgb)
    np.testing.assert_array_equal(pixels(rgb[::-1, ::2]), rgb[::-1, ::2])


@pytest.mark.parametrize("array", [np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3)), np.zeros((0, 5, 3), np.uint8)])
def test_wrong_arrays(array):
    got = run(array)
    assert got.status == Status.BAD_INPUT
    assert str(list(array.shape)) in got.reason


@pytest.mark.parametrize("data", [None, "path.jpg", 7])
def test_wrong_objects(data):
    assert run(data).status == Status.BAD_INPUT


def test_empty_pil_image():
    assert run(Image.new("RGB", (0, 5))).status == Status.BAD_INPUT


def test_pil_image_whose_file_was_closed(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded())
    image = Image.open(tmp_path / "a.png")
    image.close()
    assert run(image).status == Status.UNREADABLE


def test_truncated_pil_image():
    assert run(Image.open(io.BytesIO(encoded(gradient(64, 64), "JPEG")[:700]))).status == Status.TRUNCATED


def test_current_frame_of_an_image_in_memory():
    frames = [Image.new("RGB", (8, 6), c) for c in ("red", "blue")]
    image = Image.open(io.BytesIO(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    image.seek(1)
    assert pixels(image)[2, 2].tolist() == [0, 0, 255]
    assert image.tell() == 1


def test_what_the_source_said_is_passed_on():
    got = decode(Picture("k", None, Status.UNREADABLE, "Permission denied"), Options())
    assert (got.key, got.rgb, got.status, got.reason) == ("k", None, Status.UNREADABLE, "Permission denied")
