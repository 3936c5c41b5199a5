"""The JPEG cutter: pixels of what it cuts beside those of the whole file, both decoded by Pillow."""

import io
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from .building import ROOT, SANITIZED, compiler

cutter = pytest.importorskip("emonet_fast._jpeg", reason="the JPEG cutter is not built: no C++ compiler")


@st.composite
def files(draw):
    """A JPEG file of a smooth picture with noise, and the picture's width and height."""
    width, height = draw(st.integers(1, 90)), draw(st.integers(1, 90))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    coarse = Image.fromarray(rng.integers(0, 256, (5, 5, 3), np.uint8)).resize((width, height))
    noise = rng.normal(0, draw(st.sampled_from([0, 5, 40])), (height, width, 3))
    image = Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))
    how = {"quality": draw(st.integers(1, 100)), "optimize": draw(st.booleans())}
    if draw(st.booleans()):
        how["restart_marker_blocks"] = draw(st.integers(1, 20))
    if draw(st.integers(0, 4)) == 0:
        image = image.convert("L")
    else:
        how["subsampling"] = draw(st.sampled_from(["4:4:4", "4:2:2", "4:2:0"]))
    return saved(image, **how), width, height


@st.composite
def parts(draw, width, height):
    left, top = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    return left, top, draw(st.integers(left + 1, width)), draw(st.integers(top + 1, height))


def saved(image: Image.Image, **how) -> bytes:
    out = io.BytesIO()
    image.save(out, "JPEG", **how)
    return out.getvalue()


def pixels(file: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(file)).convert("RGB"))


def equal(file: bytes, region: tuple[int, int, int, int], found) -> bool:
    data, left, top, right, bottom = found
    whole, part = pixels(file), pixels(data)
    assert part.shape[:2] == (bottom - top, right - left)
    want = whole[region[1] : region[3], region[0] : region[2]]
    got = part[region[1] - top : region[3] - top, region[0] - left : region[2] - left]
    return np.array_equal(got, want)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_cut_has_the_pixels_of_its_file(data):
    file, width, height = data.draw(files())
    region = data.draw(parts(width, height))
    found = cutter.cut(file, *region)
    assert found is not None
    assert equal(file, region, found)


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_cut_as_it_is_decoded_or_not_at_all(data):
    file, width, height = data.draw(files())
    damaged = bytearray(file)
    start = file.index(b"\xff\xda") + 4  # what comes before makes pictures of other sizes, mostly
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(start, len(file) - 3))] ^= 1 << data.draw(st.integers(0, 7))
    region = data.draw(parts(width, height))
    found = cutter.cut(bytes(damaged), *region)
    try:
        pixels(bytes(damaged))
    except OSError:
        return  # Pillow refuses it, which triage sees before any cutting
    assert found is None or equal(bytes(damaged), region, found)


@pytest.mark.parametrize("how", [{}, {"restart_marker_rows": 1}, {"restart_marker_rows": 30}], ids=["plain", "1", "30"])
def test_a_large_file_becomes_a_small_one(how):
    rng = np.random.default_rng(3)
    image = Image.fromarray(rng.integers(0, 256, (540, 960, 3), np.uint8)).resize((1920, 1080))
    file = saved(image, **how)
    found = cutter.cut(file, 800, 400, 1000, 500)
    assert found[1:] == (784, 384, 1008, 512)  # whole units of 16 x 16 pixels, one value of colour beyond the region
    assert len(found[0]) < len(file) / 40
    assert equal(file, (800, 400, 1000, 500), found)
    for region in ((0, 0, 9, 9), (1911, 1071, 1920, 1080), (5, 700, 1900, 720)):
        assert equal(file, region, cutter.cut(file, *region))


GREY = Image.fromarray(np.arange(64 * 64, dtype=np.uint8).reshape(64, 64))


@pytest.mark.parametrize(
    "file",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xd9",
        b"no picture at all",
        saved(GREY, progressive=True),
        saved(GREY.convert("CMYK")),
        saved(GREY)[:400],
    ],
    ids=["empty", "start", "nothing", "text", "progressive", "cmyk", "truncated"],
)
def test_what_cannot_be_cut_is_left(file):
    assert cutter.cut(file, 0, 0, 8, 64) is None


@pytest.mark.parametrize(
    "region",
    [(-1, 0, 5, 5), (0, -1, 5, 5), (0, 0, 65, 5), (0, 0, 5, 65), (5, 5, 5, 9), (9, 9, 5, 12), (2**31 - 1,) * 4],
)
def test_a_region_outside_of_the_picture_is_refused(region):
    assert cutter.cut(saved(GREY), *region) is None


def test_damaged_files_under_address_sanitizer(tmp_path):
    if compiler() is None:
        pytest.skip("g++ is not installed")
    if not sys.platform.startswith("linux"):
        pytest.skip("only on Linux")
    program, folder = tmp_path / "cut_damaged", ROOT / "csrc" / "jpeg"
    sources = [str(folder / f"{name}.cpp") for name in ("cut", "header", "huffman", "source")]
    main = str(Path(__file__).with_name("cut_damaged.cpp"))
    flags = [*SANITIZED, "-O1", "-fsanitize=undefined", "-fno-sanitize-recover=all", f"-I{folder}"]
    done = subprocess.run(["g++", *flags, main, *sources, "-o", program], capture_output=True, text=True, check=False)
    if "cannot find" in done.stderr:
        pytest.skip("g++ has no sanitizers")
    assert done.returncode == 0, done.stderr
    cuts = 0
    ways = [{}, {"restart_marker_blocks": 3}, {"subsampling": "4:4:4", "optimize": True}, {"quality": 95}]
    for i, how in enumerate(ways):
        large = "quality" in how  # longer than the window in which the data are read
        width, height, count = (500, 400, 300) if large else (100, 90, 3000)
        noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
        path = tmp_path / f"{i}.jpg"
        path.write_bytes(saved(Image.fromarray(noise), **how))
        command = [program, path, str(count), str(width), str(height)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
        cuts += int(done.stdout)
    assert cuts > 300  # some got through, so that all of the code was met
