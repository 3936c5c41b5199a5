"""Damage, foreign data, limits and threads: a status and a reason, never an exception, nothing global changed."""

import io
import struct
import subprocess
import sys
import threading
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from emonet_fast.records import Status

from .decoding import published, run
from .sources.made import encoded, gradient

# ---- what cannot


def test_empty():
    assert run(b"").status == Status.EMPTY


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"hello, this is text", "text: 'hello, this is text'"),
        ("žluťoučký kůň ".encode() * 60, "text"),
        (b"<!DOCTYPE html><html>404", "HTML"),
        (b"\n <HTML><body>", "HTML"),
        (b"%PDF-1.7\n", "PDF"),
        (b'<?xml version="1.0"?>\n<svg xmlns=', "SVG"),
        (b"<rss/>", "text"),
        (b'{"error": "not found"}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:12", "Git LFS"),
        (b"PK\x03\x04" + b"\0" * 20, "zip"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "video"),
        (b"\0" * 600, "zeros"),
        (b"\x93NUMPY\1\0", "NumPy"),
        (b"\xde\xad\xbe\xef\x00\x01", "de ad be ef 00 01"),
        (b"BMW is a car", "text"),
        (b"P1 is a letter and a digit", "text"),
        (b"Pyramid", "text"),
    ],
)
def test_not_an_image(data, hint):
    got = run(data)
    assert got.status == Status.NOT_AN_IMAGE
    assert hint in got.reason


@pytest.mark.parametrize("kind", ["EPS", "TGA", "PCX", "ICO", "SGI", "PDF", "XBM", "DIB", "JPEG2000", "MSP", "QOI"])
def test_formats_off_the_list_are_not_read(kind):
    """Pillow could open most of these; none may be reached, EPS least of all."""
    try:
        data = encoded(Image.fromarray(gradient()).convert("1" if kind in ("XBM", "MSP") else "RGB"), kind)
    except (OSError, KeyError):
        pytest.skip(f"this Pillow cannot write {kind}")
    assert run(data).status == Status.NOT_AN_IMAGE


def test_eps_in_memory_is_refused_without_being_run(monkeypatch):
    from PIL import EpsImagePlugin

    image = Image.open(io.BytesIO(encoded(kind="EPS")))
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *a, **k: pytest.fail("Ghostscript was called"))
    got = run(image)
    assert got.status == Status.BAD_INPUT
    assert "EPS" in got.reason


def test_readers_of_other_packages_are_not_reached():
    class Rogue(ImageFile.ImageFile):
        format = "ROGUE"

        def _open(self):
            pytest.fail("a registered reader was called")

    Image.register_open("ROGUE", Rogue, lambda prefix: True)
    try:
        assert run(b"anything").status == Status.NOT_AN_IMAGE
        assert run(b"\xff\xd8\xff broken").status == Status.TRUNCATED
    finally:
        Image.OPEN.pop("ROGUE")
        Image.ID.remove("ROGUE")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
def test_truncated(kind, part):
    data = encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), kind)
    got = run(data[: int(len(data) * part)])
    assert got.status == Status.TRUNCATED
    assert got.reason.startswith(f"{kind}: ")


@pytest.mark.parametrize("data", [b"\xff\xd8", b"\xff\xd8\xff", b"\x89PNG", b"\x89PNG\r\n\x1a\n", b"GIF8", b"RIFF\0\0"])
def test_cut_within_the_first_bytes(data):
    assert run(data).status == Status.TRUNCATED


def test_pillows_switch_for_truncated_images_is_untouched():
    run(encoded(kind="JPEG")[:300])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False


SAMPLES = {
    "jpeg": encoded(kind="JPEG"),
    "progressive": encoded(kind="JPEG", progressive=True),
    "png": encoded(kind="PNG"),
    "palette": encoded(Image.fromarray(gradient()).quantize(16), "PNG"),
    "gif": encoded(kind="GIF", save_all=True, append_images=[Image.fromarray(gradient()[::-1].copy())]),
    "webp": encoded(kind="WEBP"),
    "tiff": encoded(kind="TIFF"),
    "bmp": encoded(kind="BMP"),
    "ppm": encoded(kind="PPM"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=120, deadline=None)
@given(
    name=st.sampled_from(sorted(SAMPLES)),
    flips=st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(1, 255)), min_size=1, max_size=6),
    cut=st.floats(0, 1),
)
def test_flipped_and_cut_anywhere(name, flips, cut):
    """Any status is right; pixels exactly where it is OK (asserted in `run`), and never an exception."""
    data = bytearray(SAMPLES[name])
    for at, bits in flips:
        data[at % len(data)] ^= bits
    run(bytes(data), max_pixels=10_000_000)
    got = run(SAMPLES[name][: int(len(data) * cut)])
    assert got.status in (Status.OK, Status.TRUNCATED, Status.EMPTY, Status.NOT_AN_IMAGE)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(lambda b: b"\x89PNG\r\n\x1a\n" + b)))
def test_any_bytes(data):
    run(data, max_pixels=10_000_000)


# ---- limits


def forged_png(width, height):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body


def test_bomb_is_refused_by_its_header():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        got = run(forged_png(60_000, 60_000))
    assert got.status == Status.TOO_LARGE
    assert got.reason == "60,000 x 60,000 = 3,600,000,000 pixels; max_pixels allows 200,000,000"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_pixel_limit_is_inclusive(kind):
    data = encoded(gradient(20, 30), kind)
    assert run(data, max_pixels=600).status == Status.OK
    got = run(data, max_pixels=599)
    assert got.status == Status.TOO_LARGE
    assert "30 x 20 = 600 pixels" in got.reason


def test_pixel_limit_holds_for_memory_too():
    for data in (gradient(20, 30), Image.fromarray(gradient(20, 30))):
        assert run(data, max_pixels=600).status == Status.OK
        assert run(data, max_pixels=599).status == Status.TOO_LARGE


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "PPM"])
def test_our_limit_decides_not_pillows(kind, monkeypatch):
    """A program may have lowered Pillow's own limit for itself; it neither warns nor refuses here, and stays."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run(encoded(gradient(20, 30), kind)).status == Status.OK
        assert run(encoded(gradient(12, 10), kind)).status == Status.OK
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize("kind", ["TIFF", "WEBP", "GIF", "JPEG", "PNG"])
def test_what_a_program_has_set_in_pillow_changes_no_row(kind, monkeypatch):
    """Whole, cut and damaged: with its limit, its switch and warnings as errors, in several threads, all as without."""
    whole = encoded(gradient(20, 30), kind, **({"exif": b"Exif\0\0II*\0\x08\0\0\0\xff\xff"} if kind == "PNG" else {}))
    files = [whole, whole[: len(whole) * 3 // 4], whole[:-40] + bytes(30) + whole[-10:]] * 3
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = [run(data) for data in files]
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with warnings.catch_warnings(), ThreadPoolExecutor(3) as pool:
        warnings.simplefilter("error")
        got = list(pool.map(run, files))
        assert warnings.filters[0][0] == "error"
    assert (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES) == (100, True)
    assert want[0].status == Status.OK
    for one, other in zip(got, want, strict=True):
        assert (one.status, one.reason) == (other.status, other.reason)
        np.testing.assert_array_equal(one.rgb, other.rgb)


def test_byte_limit():
    data = encoded()
    assert run(data, max_bytes=len(data)).status == Status.OK
    assert run(data, max_bytes=len(data) - 1).status == Status.TOO_LARGE


# ---- threads and processes


def test_threads_give_what_one_thread_gives():
    jobs = [encoded(gradient(60 + i, 80), kind) for i in range(6) for kind in ("PNG", "JPEG", "GIF", "WEBP")]
    bad = [b"", b"text", jobs[0][:500]]
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(run, (jobs + bad) * 3))
    for i in range(0, len(got), len(jobs) + len(bad)):
        for one, data in zip(got[i:], jobs, strict=False):
            np.testing.assert_array_equal(one.rgb, published(data))
        faults = [one.status for one in got[i + len(jobs) : i + len(jobs) + len(bad)]]
        assert faults == [Status.EMPTY, Status.NOT_AN_IMAGE, Status.TRUNCATED]


def test_one_lazily_opened_image_in_many_threads():
    """Pillow closes the file after the first load: a second thread in the middle of it would find none."""
    data = encoded(gradient(500, 500), "PNG")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            shared = Image.open(io.BytesIO(data))
            start = threading.Barrier(8)

            def job(image=shared, start=start):
                start.wait(timeout=30)
                return run(image)

            assert [f.result().status for f in [pool.submit(job) for _ in range(8)]] == [Status.OK] * 8


def test_import_changes_nothing_global():
    code = (
        "import warnings, numpy, PIL.Image as I, PIL.ImageFile as F\n"
        "before = (I.MAX_IMAGE_PIXELS, F.LOAD_TRUNCATED_IMAGES, list(warnings.filters))\n"
        "import emonet_fast.decode\n"
        "print(before == (I.MAX_IMAGE_PIXELS, F.LOAD_TRUNCATED_IMAGES, list(warnings.filters)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"
