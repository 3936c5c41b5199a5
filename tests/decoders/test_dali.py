"""DALI's CPU pipeline, run for real, beside Pillow: pixels, boxes, orientation, what the network gets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from emonet_fast.options import Options
from emonet_fast.records import Box, Picture, Status

from .making import BILINEAR, dali, encoded, furthest, on_device, pillow, read, rows

pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")

# Shapes as (height, width): larger and smaller than the network's input, long, thin, single pixels, equal sides.
SHAPES = ((1024, 1024), (400, 600), (1200, 900), (385, 383), (384, 384), (100, 300), (1, 1), (3, 900), (900, 3), (2, 2))


@pytest.fixture(scope="module")
def noise() -> dict[tuple[int, int], np.ndarray]:
    rng = np.random.default_rng(7)
    return {shape: rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in SHAPES}


def test_equal_pixels(noise):
    pictures = [Picture(f"{shape}", encoded(pixels, "BMP")) for shape, pixels in noise.items()]
    assert furthest(rows(dali(), pictures), rows(pillow(), pictures)) == 0


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.tuples(st.integers(1, 400), st.integers(1, 400)), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_any_size(sizes, seed):
    small = replace(BILINEAR, size=96)
    rng = np.random.default_rng(seed)
    pictures = [
        Picture(f"{i}", encoded(rng.integers(0, 256, (*s, 3), dtype=np.uint8), "BMP")) for i, s in enumerate(sizes)
    ]
    assert furthest(rows(dali(small), pictures), rows(pillow(small), pictures)) == 0


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs(photos, subsampling, progressive):
    pictures = [
        Picture(f"{i}-{part}", encoded(pixels[:part], quality=85, subsampling=subsampling, progressive=progressive))
        for i, pixels in enumerate(photos[:3])
        for part in (333, 350)  # no whole number of blocks, and one
    ]
    decoder = dali()
    want = rows(pillow(), pictures)
    assert furthest(rows(decoder, pictures), want) == 0
    assert decoder.note() == ""  # Pillow decoded none of them


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_other_formats(photos, kind, mode):
    image = Image.fromarray(photos[0]).convert(mode)
    if mode == "RGBA":
        image.putalpha(100)
    pictures = [Picture("x", encoded(image, kind))]
    assert furthest(rows(dali(), pictures), rows(pillow(), pictures)) == 0


@pytest.mark.parametrize("exif", [True, False])
def test_orientation(photos, exif):
    pictures = []
    for orientation in range(1, 9):
        tag = Image.Exif()
        tag[0x0112] = orientation
        for kind in ("JPEG", "PNG"):
            data = encoded(photos[0][:150, :256], kind, exif=tag)
            pictures.append(Picture(f"{orientation}{kind}", data))
            pictures.append(Picture(f"{orientation}{kind}b", data, boxes=(Box(15, 20, 100, 145),)))
    options = Options(exif=exif)
    decoder = dali(options=options)
    want = rows(pillow(options=options), pictures)
    assert furthest(rows(decoder, pictures), want) == 0
    assert decoder.note() == ""


def test_boxes(photos):
    """Inside, over each edge, one pixel, the whole; several of one picture; rows among those of whole pictures."""
    height, width = photos[0].shape[:2]
    boxes = (
        Box(40, 50, 300, 333),
        Box(100, 101, 180, 190),
        Box(-70, 20, 200, 300),
        Box(20, -90, 300, 200),
        Box(width - 50, 10, width + 130, 200),
        Box(10, height - 1, 200, height + 300),
        Box(-40, -50, width + 60, height + 70),
        Box(77, 78, 78, 79),
        Box(0, 0, width, height),
    )
    data = encoded(photos[0], quality=90)
    pictures = [Picture("whole", data), Picture("many", data, boxes=boxes), Picture("one", data, boxes=boxes[:1])]
    pictures += [Picture(f"{i}", encoded(photos[1], "PNG"), boxes=(box,)) for i, box in enumerate(boxes[:4])]
    # A column or row alone, at each edge: libjpeg-turbo has other pixels for the first column.
    lines = (Box(0, 9, 1, 60), Box(width - 1, 9, width, 60), Box(9, 0, 60, 1), Box(9, height - 1, 60, height))
    pictures += [Picture(f"line {i}", data, boxes=(box,)) for i, box in enumerate(lines)]
    decoder = dali()
    got, want = rows(decoder, pictures, 5), rows(pillow(), pictures, 5)
    assert [d.key for d, _ in got][:4] == ["whole", "many::box0", "many::box1", "many::box2"]
    assert furthest(got, want) == 0
    assert decoder.note() == ""


def test_boxes_of_a_progressive_jpeg_without_its_last_scans(photos):
    """libjpeg smooths what is missing, and would do it otherwise at a region's edge."""
    data = encoded(photos[0], progressive=True, quality=60)
    starts = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    boxes = (Box(100, 90, 180, 170), Box(203, 111, 260, 190))
    pictures = [Picture(f"{i}", data[: starts[i]] + b"\xff\xd9", boxes=boxes) for i in (1, 2, 4)]
    decoder = dali()
    assert furthest(rows(decoder, pictures), rows(pillow(), pictures)) == 0
    assert decoder.note() == ""


def test_a_box_that_touches_nothing_is_a_status(photos):
    pictures = [Picture("x", encoded(photos[0]), boxes=(Box(0, 0, 9, 9), Box(-9, 0, 0, 9)))]
    got = rows(dali(), pictures)
    assert [d.status for d, _ in got] == [Status.OK, Status.BAD_INPUT]
    furthest(got, rows(pillow(), pictures))


def test_pictures_are_kept_only_where_asked(photos):
    picture = Picture("x", encoded(photos[0], "PNG"))
    assert rows(dali(), [picture])[0][0].rgb is None
    np.testing.assert_array_equal(rows(dali(), [picture], keep_rgb=True)[0][0].rgb, photos[0])


@pytest.mark.parametrize("resample", ["bicubic", "lanczos"])
def test_other_filters_are_pillows(photos, resample):
    spec = replace(BILINEAR, resample=resample)
    pictures = [Picture("x", encoded(photos[0], "PNG"))]
    assert furthest(rows(dali(spec), pictures), rows(pillow(spec), pictures)) == 0


def test_nothing_is_read_further_than_needed(photos):
    """Endless input streams: what was read ahead is bounded."""
    data, read = encoded(photos[0]), 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield Picture(f"{read}", data)

    batches = dali().batches(endless(), 2, keep_rgb=False)
    for _ in range(3):
        next(batches)
    batches.close()
    assert read <= 6 * 16


@pytest.mark.usefixtures("wide_blocks")
@pytest.mark.parametrize("boxes", [(), (Box(3, 5, 60, 90), Box(-9, 20, 70, 130))], ids=["whole", "boxes"])
def test_on_a_gpu_the_resize_is_pillows(photos, boxes):
    """DALI's pictures, uploaded ones and arrays, cropped and resized where they lie. Here all is on the CPU."""
    torch = pytest.importorskip("torch")
    small = replace(BILINEAR, size=64)
    tall = photos[0][:200, :60]
    turned = Image.Exif()
    turned[0x0112] = 6
    pictures = [
        Picture("a", encoded(photos[1][:150, :120]), boxes=boxes),
        Picture("turned", encoded(photos[1][:130, :160], exif=turned), boxes=boxes[:1]),
        Picture("array", photos[2][:90, :100], boxes=boxes),
        Picture("gif", encoded(photos[1][:150, :120], "GIF"), boxes=boxes),
        Picture("bad", b"text", boxes=boxes),
        Picture("tall", encoded(tall), boxes=boxes[:1]),
    ]
    batches = list(on_device(small).batches(pictures, 3, keep_rgb=False))
    assert all(part.on_device for batch in batches for part in batch.parts)
    assert all(torch.from_dlpack(part.pixels).dtype == torch.uint8 for batch in batches for part in batch.parts)
    assert furthest(read(batches), rows(pillow(small), pictures, 3)) == 0


@pytest.mark.usefixtures("wide_blocks")
def test_a_crop_too_large_for_the_kernel_is_resized_on_the_host(photos, monkeypatch):
    from emonet_fast.decoders.dali import exact

    small = replace(BILINEAR, size=64)
    monkeypatch.setattr(exact, "_MAX_VALUES", 3 * 100 * 100)
    pictures = [Picture("large", photos[0][:120, :90]), Picture("small", photos[0][:80, :90])]
    (batch,) = on_device(small).batches(pictures, 4, keep_rgb=False)
    assert [(part.places, part.on_device) for part in batch.parts] == [((1,), True), ((0,), False)]
    assert furthest(rows(on_device(small), pictures), rows(pillow(small), pictures)) == 0


def test_the_kernel_has_the_filters_that_are_exact():
    pytest.importorskip("torch")
    pytest.importorskip("triton", reason="Triton is not installed")
    from emonet_fast.kernels.resize import FILTERS

    from emonet_fast.decoders.dali.exact import EXACT_RESAMPLES

    assert tuple(FILTERS) == EXACT_RESAMPLES
