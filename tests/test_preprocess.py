"""The resize is transformers' own, bit for bit; the normalisation to 1e-6."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from benchmarks.pictures import normalise
from emonet_fast.checkpoint.spec import RESAMPLE_NAMES, Preprocess
from emonet_fast.preprocess import resize

PIL_NUMBER = {name: number for number, name in RESAMPLE_NAMES.items()}


def spec(size=384, resample="bilinear"):
    return Preprocess(size, resample, 1 / 255, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def processor(given_spec):
    """transformers' PIL image processor for SigLIP, of version 4.57 or 5, with these settings."""
    pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")
    try:
        from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil as Processor
    except ImportError:
        from transformers import SiglipImageProcessor as Processor
    return Processor(
        size={"height": given_spec.size, "width": given_spec.size},
        resample=PIL_NUMBER[given_spec.resample],
        rescale_factor=given_spec.rescale_factor,
        image_mean=list(given_spec.mean),
        image_std=list(given_spec.std),
    )


def theirs(rgb, given_spec, normalised):
    out = processor(given_spec)(
        images=Image.fromarray(rgb), do_rescale=normalised, do_normalize=normalised, return_tensors="np"
    )
    return np.asarray(out["pixel_values"])[0]


def check(rgb, given_spec):
    pixels = resize(rgb, given_spec)
    assert pixels.shape == (3, given_spec.size, given_spec.size)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels, theirs(rgb, given_spec, normalised=False))
    ours = normalise(pixels, given_spec)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs(rgb, given_spec, normalised=True), rtol=0, atol=1e-6)


@pytest.mark.parametrize("resample", ["bilinear", "bicubic", "lanczos", "nearest"])
def test_photographs_equal_transformers(photos, resample):
    for rgb in photos:
        check(rgb, spec(resample=resample))


def test_faces_equal_transformers(faces):
    for path in faces:
        check(np.asarray(Image.open(path).convert("RGB")), spec())


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    size=st.sampled_from([1, 16, 96, 224]),
    resample=st.sampled_from(["bilinear", "bicubic"]),
    seed=st.integers(0, 99),
)
def test_any_size_equals_transformers(height, width, size, resample, seed):
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    check(rgb, spec(size, resample))


def test_other_mean_and_std_equal_transformers(photos):
    check(photos[0], Preprocess(96, "bicubic", 1 / 127.5, (0.1, 0.2, 0.3), (0.9, 0.8, 0.7)))


@pytest.mark.parametrize("shape", [(1, 1), (20_000, 10), (10, 20_000), (384, 384), (1, 5000)])
def test_extreme_shapes(shape):
    """One colour stays that colour: nothing is cropped, padded or rounded away."""
    rgb = np.full((*shape, 3), (1, 128, 254), np.uint8)
    pixels = resize(rgb, spec())
    assert [np.unique(plane).tolist() for plane in pixels] == [[1], [128], [254]]


def test_same_size_changes_nothing(photos):
    rgb = np.ascontiguousarray(photos[0][:384, :384])
    np.testing.assert_array_equal(resize(rgb, spec()), rgb.transpose(2, 0, 1))


def test_squashed_not_cropped():
    """A left and a right half stay halves, whatever the aspect."""
    rgb = np.zeros((50, 800, 3), np.uint8)
    rgb[:, 400:] = 255
    pixels = resize(rgb, spec(size=64))
    assert (pixels[:, :, :31] == 0).all()
    assert (pixels[:, :, 33:] == 255).all()


def test_filters_differ(photos):
    assert (resize(photos[0], spec()) != resize(photos[0], spec(resample="bicubic"))).mean() > 0.1


def test_views_and_read_only_arrays(photos):
    rgb = photos[0]
    flipped = rgb[:, ::-1]
    np.testing.assert_array_equal(resize(flipped, spec()), resize(flipped.copy(), spec()))
    locked = rgb.copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(resize(locked, spec()), resize(rgb, spec()))


def test_normalise_values():
    pixels = np.array([0, 51, 255], np.uint8)[:, None, None]
    got = normalise(pixels, Preprocess(1, "bilinear", 1 / 255, (0.0, 0.5, 0.25), (1.0, 0.5, 0.5)))
    np.testing.assert_allclose(got.ravel(), [0.0, -0.6, 1.5], atol=1e-6)
    batch = np.stack([pixels] * 2)
    assert normalise(batch, spec(1)).shape == (2, 3, 1, 1)
    np.testing.assert_allclose(normalise(batch, spec(1))[1].ravel(), [-1.0, -0.6, 1.0], atol=1e-6)


def test_jpeg_and_its_pixels_give_the_same(photos):
    """From a file as from the decoded array: the resize never asks the decoder for a smaller picture."""
    out = io.BytesIO()
    Image.fromarray(photos[0]).save(out, "JPEG", quality=90)
    image = Image.open(io.BytesIO(out.getvalue()))
    want = np.asarray(image.convert("RGB").resize((384, 384), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    np.testing.assert_array_equal(resize(np.asarray(Image.open(io.BytesIO(out.getvalue()))), spec()), want)
