"""DALI's CPU pipeline, run for real, beside Pillow: pixels, boxes, orientation, what the network gets."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from emonet_fast.errors import BackendError
from emonet_fast.options import Options
from emonet_fast.preprocess import normalise
from emonet_fast.records import Box, Picture, Status

from .. import tolerances
from .making import BILINEAR, apart, by_pipeline, check_resized, dali, encoded, furthest, pillow, rows, untimed

pytest.importorskip("nvidia.dali", reason="DALI (extra dali) is not installed")

from emonet_fast.decoders.dali.decoder import DaliDecoder
from emonet_fast.decoders.dali.definition import Definition
from emonet_fast.decoders.dali.feeding import rows_of
from emonet_fast.decoders.dali.runner import Runner
from emonet_fast.decoders.dali.triage import triage

# Shapes as (height, width): larger and smaller than the network's input, long, thin, single pixels, equal sides.
SHAPES = ((1024, 1024), (400, 600), (1200, 900), (385, 383), (384, 384), (100, 300), (1, 1), (3, 900), (900, 3), (2, 2))


@pytest.fixture(scope="module")
def noise() -> dict[tuple[int, int], np.ndarray]:
    rng = np.random.default_rng(7)
    return {shape: rng.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in SHAPES}


def test_resize_of_equal_pixels(noise):
    """Noise is the worst case: at the border DALI's own rule is 13 levels away."""
    pictures = [Picture(f"{shape}", encoded(pixels, "BMP")) for shape, pixels in noise.items()]
    got, want = by_pipeline(pictures, 4), rows(pillow(), pictures)
    check_resized(got, want)
    assert np.mean([(a != b).mean() for a, (_, b) in zip(got, want, strict=True)]) <= tolerances.DALI_RESIZE_SHARE
    assert furthest(rows(dali(), pictures), want) == 0


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(
    sizes=st.lists(st.tuples(st.integers(1, 1500), st.integers(1, 1500)), min_size=4, max_size=4),
    seed=st.integers(0, 99),
)
def test_any_size(sizes, seed):
    rng = np.random.default_rng(seed)
    pictures = [
        Picture(f"{i}", encoded(rng.integers(0, 256, (*s, 3), dtype=np.uint8), "BMP")) for i, s in enumerate(sizes)
    ]
    check_resized(by_pipeline(pictures), rows(pillow(), pictures))


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
    got = by_pipeline(pictures)
    assert apart(got, want) <= tolerances.DALI_DECODE_MAX
    differences = [np.abs(a.astype(int) - b).mean() for a, (_, b) in zip(got, want, strict=True)]
    assert max(differences) < tolerances.DALI_DECODE_MEAN


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
            pictures.append(Picture(f"{orientation}{kind}", encoded(photos[0][:300], kind, exif=tag)))
            box = Box(30, 40, 200, 290)
            pictures.append(Picture(f"{orientation}{kind}b", encoded(photos[0][:300], kind, exif=tag), boxes=(box,)))
    options = Options(exif=exif)
    decoder = dali(options=options)
    want = rows(pillow(options=options), pictures)
    assert furthest(rows(decoder, pictures), want) == 0
    assert decoder.note() == ""
    for half in (0, 1):  # whole pictures, boxes
        assert apart(by_pipeline(pictures[half::2], 16, exif=exif), want[half::2]) <= tolerances.DALI_DECODE_MAX


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
    decoder = dali()
    got, want = rows(decoder, pictures, 5), rows(pillow(), pictures, 5)
    assert [d.key for d, _ in got][:4] == ["whole", "many::box0", "many::box1", "many::box2"]
    assert furthest(got, want) == 0
    assert decoder.note() == ""
    assert apart(by_pipeline(pictures[1:2], 5), want[1 : 1 + len(boxes)]) <= tolerances.DALI_DECODE_MAX


def test_a_box_that_touches_nothing_is_a_status(photos):
    pictures = [Picture("x", encoded(photos[0]), boxes=(Box(0, 0, 9, 9), Box(-9, 0, 0, 9)))]
    got = rows(dali(), pictures)
    assert [d.status for d, _ in got] == [Status.OK, Status.BAD_INPUT]
    furthest(got, rows(pillow(), pictures))


def test_normalised_outputs(photos):
    """float32 and bfloat16 of the pipeline are the pixels normalised; bf16 rounds to nearest, ties to even."""
    torch = pytest.importorskip("torch", reason="torch says what bf16 is")
    pictures = [Picture("x", encoded(p)) for p in photos[:2]]
    found = {name: np.stack(by_pipeline(pictures, output=name)) for name in ("uint8", "float32", "bfloat16")}
    want = normalise(found["uint8"], BILINEAR)
    np.testing.assert_allclose(found["float32"], want, atol=1e-6)
    bits = torch.from_numpy(found["bfloat16"].view(np.int16)).view(torch.bfloat16)
    assert torch.equal(bits, torch.from_numpy(found["float32"]).to(torch.bfloat16))


def test_pictures_are_kept_only_where_asked(photos):
    picture = Picture("x", encoded(photos[0], "PNG"))
    assert rows(dali(), [picture])[0][0].rgb is None
    np.testing.assert_array_equal(rows(dali(), [picture], keep_rgb=True)[0][0].rgb, photos[0])


def test_other_filters_are_pillows_on_the_cpu_and_refused_on_a_gpu(photos):
    spec = replace(BILINEAR, resample="bicubic")
    pictures = [Picture("x", encoded(photos[0], "PNG"))]
    assert furthest(rows(dali(spec), pictures), rows(pillow(spec), pictures)) == 0
    # Lanczos is neither's: not DALI's own resize's, which is bilinear, nor our kernel's.
    with pytest.raises(BackendError, match=r"'lanczos'.*use decoder 'pillow'"):
        DaliDecoder(replace(BILINEAR, resample="lanczos"), Options(), untimed, threads=2, device_id=0, stream=0)


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


def test_a_run_goes_to_torch_over_dlpack(photos):
    """The hand-over to a GPU engine, with DALI's memory on the host; the batch keeps that memory."""
    torch = pytest.importorskip("torch", reason="torch takes the batch")
    from emonet_fast.backends.cuda.inputs import as_tensor

    pictures = [Picture(f"{i}", encoded(p)) for i, p in enumerate(photos[:3])]
    runner = Runner(Definition(BILINEAR, None, 4, 2))
    runner.start([sample for picture in pictures for sample in triage(picture, Options())])
    batch = runner.finish().outputs[0].batch()
    runner.close()
    tensor = as_tensor(batch, torch.device("cpu"), 384)
    assert tensor.shape == (3, 3, 384, 384)
    assert tensor.dtype == torch.uint8
    for got, want in zip(tensor.numpy(), by_pipeline(pictures), strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("boxes", [(), (Box(3, 5, 60, 90), Box(-9, 20, 70, 130))], ids=["whole", "boxes"])
def test_the_exact_resize_is_pillows(photos, boxes):
    """As a GPU does it: DALI's pictures resized by our kernel where they lie. Here both are on the CPU."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    pytest.importorskip("triton", reason="Triton is not installed")
    from emonet_fast.decoders.dali.exact import ExactResize

    small = replace(BILINEAR, size=64)
    tall = photos[0][:200, :60]
    pictures = [
        Picture("a", encoded(photos[1][:150, :120]), boxes=boxes),
        Picture("tall", encoded(tall), boxes=boxes[:1]),
    ]
    samples = [sample for picture in pictures for sample in triage(picture, Options())]
    runner = Runner(Definition(small, None, 4, 2, rows=rows_of(samples), output="pictures"))
    runner.start(samples)
    resized = ExactResize(small, None, None)(runner.finish().outputs[0])
    runner.close()
    want = rows(pillow(small), pictures)
    assert resized.places == tuple(range(len(want)))
    for got, (_, expected) in zip(resized.on_host(), want, strict=True):
        np.testing.assert_array_equal(got, expected)
    assert torch.equal(torch.from_dlpack(resized.batch()), resized.tensor)


def test_the_exact_resize_takes_dalis_pictures_only(photos):
    pytest.importorskip("triton", reason="Triton is not installed")
    torch = pytest.importorskip("torch")
    from emonet_fast.kernels.resize import FILTERS

    from emonet_fast.decoders.dali.exact import EXACT_RESAMPLES, ExactResize
    from emonet_fast.decoders.dali.outputs import Resized

    assert tuple(FILTERS) == EXACT_RESAMPLES
    with pytest.raises(TypeError, match="expected DALI's output, got Resized"):
        ExactResize(BILINEAR, None, None)(Resized((), None, torch.empty(0)))
