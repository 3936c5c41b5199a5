"""The whole network beside the published pipeline: float32, bf16 and FP8, in plain PyTorch and with our kernels."""

import numpy as np
import pytest
import torch

from benchmarks.pictures import normalise
from emonet_fast import taxonomy
from emonet_fast.backends.cuda.fp8 import collect, refine
from emonet_fast.backends.cuda.linear import E4M3_MAX, make_linear
from emonet_fast.backends.cuda.weights import load, mixed
from emonet_fast.backends.cuda.workspace import Workspace, workspace_bytes
from emonet_fast.backends.reference import Reference
from emonet_fast.checkpoint.layers import layer_names
from emonet_fast.engines.fidelity import measure
from emonet_fast.preprocess import resize

from ... import tolerances
from ...comparing import EMOTIONS
from .conftest import write
from .making import engine, random_pixels, scored

BATCH = 2  # Triton's interpreter takes seconds for one run of more
HEADS = 16  # and half of its time is the heads': a program for each and each block of its columns
ALL = list(range(HEADS))


@pytest.fixture(scope="module", params=["small", "large"])
def tiny(request, tmp_path_factory):
    pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")
    return write(request.param, tmp_path_factory.mktemp("few"), taxonomy.DIMENSIONS[:HEADS])


@pytest.fixture(scope="module")
def pixels(tiny):
    return random_pixels(tiny, 4, seed=int(np.random.SeedSequence().entropy % 2**32))


@pytest.fixture(scope="module")
def references(tiny, pixels):
    """(float32, PyTorch's own bf16) outputs of the published pipeline."""
    pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")
    values = normalise(pixels, tiny.preprocess)
    found = [Reference.from_packed(tiny, precision).score_processed(values) for precision in ("fp32", "bf16")]
    return [(one.embedding, one.raw) for one in found]


@pytest.fixture(scope="module")
def ours(tiny, device, pixels):
    """Engine with our kernels, attention too, and its outputs; by precision."""
    engines = {p: engine(tiny, device, p, BATCH, attention_by="triton") for p in ("bf16", "fp8")}
    return {p: (e, scored(e, pixels[:BATCH], device)) for p, e in engines.items()}


def cut(outputs: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Of the first BATCH images."""
    return outputs[0][:BATCH], outputs[1][:BATCH]


def test_fp32_equals_the_reference(tiny, device, pixels, references):
    found = measure(references[0], scored(engine(tiny, device, "fp32", 3), pixels, device), ALL)
    assert found.max_error <= tolerances.FP32_SCORE_SHALLOW
    assert found.cosine_min >= tolerances.FP32_COSINE
    assert found.spread_min > 100 * found.max_error, "scores that hardly vary would pass any comparison"


def test_bf16_is_as_close_as_pytorch_in_bf16(tiny, device, pixels, references, ours):
    allowed = measure(*references, ALL)
    plain = scored(engine(tiny, device, "bf16", BATCH, plain=True), pixels, device)
    for want, got in ((references[0], plain), (cut(references[0]), ours["bf16"][1])):
        found = measure(want, got, ALL)
        assert found.rms_error <= tolerances.BF16_FACTOR * allowed.rms_error
        assert found.max_error <= tolerances.BF16_FACTOR * allowed.max_error
        assert found.max_error > 1e-5, "this is float32: bf16 was asked for"


def test_fp8_keeps_the_embedding(tiny, device, pixels, references, ours):
    plain = scored(engine(tiny, device, "fp8", BATCH, plain=True), pixels, device)
    for want, got in ((references[0], plain), (cut(references[0]), ours["fp8"][1])):
        found = measure(want, got, ALL)
        assert found.cosine_min >= tolerances.FP8_COSINE_TINY
        assert found.cosine_min < 0.999999, "this is not FP8"


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_kernels_and_plain_pytorch_agree(tiny, device, pixels, ours, precision):
    """The same arithmetic twice: what differs is the order of float32 sums, which may flip single roundings."""
    plain = scored(engine(tiny, device, precision, BATCH, plain=True), pixels[:BATCH], device)
    found = measure(plain, ours[precision][1], ALL)
    assert found.cosine_min >= tolerances.SAME_ARITHMETIC_COSINE[precision]


def test_keeping_every_layer_is_bf16(tiny, device, pixels):
    everything = frozenset(layer_names(tiny.vision.num_hidden_layers))
    kept = scored(engine(tiny, device, "fp8", 4, plain=True, keep=everything), pixels, device)
    bf16 = scored(engine(tiny, device, "bf16", 4, plain=True), pixels, device)
    np.testing.assert_array_equal(kept[1], bf16[1])
    half = mixed(load(tiny, device, "bf16"), load(tiny, device, "fp8"), frozenset({"1.fc2"}))
    assert [half.blocks[1].fc2.quantised, half.blocks[0].fc2.quantised] == [False, True]


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_rows_depend_on_no_other_row_and_no_place(device, pixels, ours, precision):
    """Bit for bit within one batch size: at another place beside another image, and beside what that one left."""
    e, want = ours[precision]
    for batch, place in ((pixels[[3, 0]], 1), (pixels[[0]], 0)):
        replay = e.graphs.prepare(BATCH)
        with torch.inference_mode():
            patches = e.views(BATCH).patches
            factor, shift = e._factor, e._shift
            e.operations.patches(torch.from_numpy(batch).to(device), patches[: 9 * len(batch)], factor, shift)
            replay()
        np.testing.assert_array_equal(e.views(BATCH).raw[place].cpu().numpy(), want[1][0])


@pytest.mark.parametrize(("precision", "value"), [("bf16", float("inf")), ("fp8", float("nan"))])
def test_bad_pixels_spoil_their_own_row_only(tiny, device, pixels, ours, precision, value):
    plain = engine(tiny, device, precision, BATCH, plain=True)
    for e in (plain, ours[precision][0]):
        batch = torch.from_numpy(normalise(pixels[:BATCH], tiny.preprocess)).to(device)
        want = ours[precision][1] if e is not plain else scored(plain, pixels[:BATCH], device)
        batch[1, 0, 5, 7] = value
        with torch.inference_mode():
            got = e.run(batch)[1].cpu().numpy().copy()
        assert np.isnan(got[1]).all()
        # uint8 pixels are normalised by one multiplication and one addition, normalise() divides: one bf16 rounding
        # in a thousand falls the other way
        np.testing.assert_allclose(got[0], want[1][0], rtol=0, atol=tolerances.FLIPPED_ROUNDINGS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_normalised_pixels_in_any_float(tiny, device, pixels, dtype):
    """float32 pixels are rounded to bf16 once, as uint8 ones are; the narrow types were rounded by their maker."""
    e = engine(tiny, device, "bf16", 4, plain=True)
    want = scored(e, pixels, device)
    values = torch.from_numpy(normalise(pixels, tiny.preprocess)).to(device, dtype)
    with torch.inference_mode():
        got = [part.cpu().numpy().copy() for part in e.run(values)]
        strided = values.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # channels last
        again = e.run(strided)[1].cpu().numpy().copy()
    np.testing.assert_array_equal(again, got[1])
    assert measure(want, tuple(got), ALL).cosine_min >= tolerances.SAME_ARITHMETIC_COSINE["bf16"]


def test_full_width(request, device):
    """The real widths, 2 layers: float32 equals the reference, bf16 is as close as PyTorch, FP8 close enough."""
    pytest.importorskip("PIL", reason="Pillow resizes the photographs")
    small, photos = request.getfixturevalue("small"), request.getfixturevalue("photos")
    pixels = np.stack([resize(rgb, small.preprocess) for rgb in photos[:2]])
    values = normalise(pixels, small.preprocess)
    want, theirs = (Reference.from_packed(small, p).score_processed(values) for p in ("fp32", "bf16"))
    want = (want.embedding, want.raw)
    allowed = measure(want, (theirs.embedding, theirs.raw), EMOTIONS)
    exact = engine(small, device, "fp32", 2)
    found = measure(want, scored(exact, pixels, device), EMOTIONS)
    assert found.max_error <= tolerances.FP32_SCORE_SHALLOW

    plain = device.type == "cpu"  # the interpreter would take minutes
    found = measure(want, scored(engine(small, device, "bf16", 2, plain=plain), pixels, device), EMOTIONS)
    assert found.max_error <= tolerances.BF16_FACTOR * allowed.max_error
    assert found.rms_error <= tolerances.BF16_FACTOR * allowed.rms_error

    others = np.stack([resize(rgb, small.preprocess) for rgb in photos[2:4]])
    tensors = refine(exact.network.weights, load(small, device, "fp8"), collect(exact, others, device))
    rough = [
        measure(want, scored(engine(small, device, "fp8", 2, plain=plain, **how), pixels, device), EMOTIONS)
        for how in ({}, {"tensors": tensors})
    ]
    assert rough[1].cosine_min >= tolerances.FP8_COSINE_SHALLOW
    assert 1 - rough[1].cosine_mean < 0.5 * (1 - rough[0].cosine_mean), "refining halves the distance at least"


def test_fp8_weights_by_channel():
    weight = torch.randn(5, 32) * torch.tensor([1.0, 1e-3, 1e3, 0.0, 1.0]).unsqueeze(1)
    layer = make_linear(weight, torch.zeros(5), "fp8")
    assert layer.scale.shape == (1, 5)
    assert layer.scale[0, 3] == 1.0  # a row of zeros has no largest value to divide by
    back = layer.weight.float() * layer.scale.t()
    step = torch.maximum(2.0**-4 * weight.abs(), 2.0**-10 * layer.scale.t())  # half a step of e4m3
    assert ((back - weight).abs() <= step * (1 + 1e-6)).all()
    assert layer.weight.float().abs().amax(1)[[0, 1, 2]].eq(E4M3_MAX).all()


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8"])
def test_workspace_is_what_it_says(tiny, device, precision):
    w = Workspace(tiny, 3, precision, device)
    flat = [*w._narrow, w._shared, *(w._eight or []), w._embedding, w._raw]
    assert sum(t.numel() * t.element_size() for t in flat) == workspace_bytes(tiny, 3, precision)
    v = w.views(2)
    assert v.qkv.shape == (18, 432)
    assert v.wide.shape == (18, 304)
    assert all(t.is_contiguous() for t in (v.stream, v.delta, v.normed, v.patches, v.qkv, v.wide, v.tokens))
    assert v.tokens.dtype == torch.float32
