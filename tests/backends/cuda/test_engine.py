"""The whole network beside the published pipeline: float32, bf16 and FP8, in plain PyTorch and with our kernels."""

import numpy as np
import pytest
import torch

from emonet_fast.backends.cuda.linear import E4M3_MAX, make_linear
from emonet_fast.backends.cuda.weights import layer_names, load, mixed
from emonet_fast.backends.cuda.workspace import Workspace, rows, workspace_bytes
from emonet_fast.backends.reference import Reference
from emonet_fast.engines.fidelity import measure
from emonet_fast.preprocess import normalise, resize

from ... import tolerances
from ...comparing import EMOTIONS
from .making import engine, random_pixels, scored

KERNELS = [{"plain": True}, {"attention_by": "sdpa"}, {"attention_by": "triton"}]


@pytest.fixture(scope="module")
def pixels(tiny):
    return random_pixels(tiny, 7, seed=int(np.random.SeedSequence().entropy % 2**32))


@pytest.fixture(scope="module")
def references(tiny, pixels):
    """(float32, PyTorch's own bf16) outputs of the published pipeline."""
    pytest.importorskip("transformers", reason="transformers (extra reference) is not installed")
    values = normalise(pixels, tiny.preprocess)
    found = [Reference.from_packed(tiny, precision).score_processed(values) for precision in ("fp32", "bf16")]
    return [(one.embedding, one.raw) for one in found]


def test_fp32_equals_the_reference(tiny, device, pixels, references):
    found = measure(references[0], scored(engine(tiny, device, "fp32", 4), pixels, device), EMOTIONS)
    assert found.max_error <= tolerances.FP32_SCORE_SHALLOW
    assert found.cosine_min >= tolerances.FP32_COSINE
    assert found.spread_min > 100 * found.max_error, "scores that hardly vary would pass any comparison"


@pytest.mark.parametrize("how", KERNELS, ids=["plain", "kernels", "kernels+attention"])
def test_bf16_is_as_close_as_pytorch_in_bf16(tiny, device, pixels, references, how):
    found = measure(references[0], scored(engine(tiny, device, "bf16", 4, **how), pixels, device), EMOTIONS)
    allowed = measure(*references, EMOTIONS)
    assert found.rms_error <= tolerances.BF16_FACTOR * allowed.rms_error
    assert found.max_error <= tolerances.BF16_FACTOR * allowed.max_error
    assert found.max_error > 1e-5, "this is float32: bf16 was asked for"


@pytest.mark.parametrize("how", KERNELS, ids=["plain", "kernels", "kernels+attention"])
def test_fp8_keeps_the_embedding(tiny, device, pixels, references, how):
    found = measure(references[0], scored(engine(tiny, device, "fp8", 4, **how), pixels, device), EMOTIONS)
    assert found.cosine_min >= tolerances.FP8_COSINE_TINY
    assert found.cosine_min < 0.999999, "this is not FP8"


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_kernels_and_plain_pytorch_agree(tiny, device, pixels, precision):
    """The same arithmetic twice: what differs is the order of float32 sums, which may flip single roundings."""
    plain = scored(engine(tiny, device, precision, 4, plain=True), pixels, device)
    ours = scored(engine(tiny, device, precision, 4), pixels, device)
    found = measure(plain, ours, EMOTIONS)
    assert found.cosine_min >= tolerances.FP8_COSINE_TINY if precision == "fp8" else found.cosine_min >= 0.9999


def test_keeping_every_layer_is_bf16(tiny, device, pixels):
    everything = frozenset(layer_names(tiny.vision.num_hidden_layers))
    kept = scored(engine(tiny, device, "fp8", 4, plain=True, keep=everything), pixels, device)
    bf16 = scored(engine(tiny, device, "bf16", 4, plain=True), pixels, device)
    np.testing.assert_array_equal(kept[1], bf16[1])
    half = mixed(load(tiny, device, "bf16"), load(tiny, device, "fp8"), frozenset({"1.fc2"}))
    assert [half.blocks[1].fc2.quantised, half.blocks[0].fc2.quantised] == [False, True]
    assert half.quantised


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_rows_depend_on_no_other_row_and_no_place(tiny, device, pixels, precision):
    """Bit for bit within one batch size: alone among others' remains, and at every place."""
    e = engine(tiny, device, precision, 4)
    want = scored(e, pixels[:4], device)[1]
    for place in range(1, 4):
        np.testing.assert_array_equal(scored(e, np.roll(pixels[:4], place, axis=0), device)[1][place], want[0])
    np.testing.assert_array_equal(scored(e, pixels[[0, 4, 5]], device)[1][0], want[0])  # 3 rows in a graph of 4


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_bad_pixels_spoil_their_own_row_only(tiny, device, pixels, precision, value):
    e = engine(tiny, device, precision, 4)
    batch = torch.from_numpy(normalise(pixels[:4], tiny.preprocess)).to(device)
    with torch.inference_mode():
        want = e.run(batch)[1].cpu().numpy().copy()
        batch[1, 0, 5, 7] = value
        got = e.run(batch)[1].cpu().numpy().copy()
        after = e.run(torch.from_numpy(pixels[:4]).to(device))[1].cpu().numpy()
    assert np.isnan(got[1]).all()
    np.testing.assert_array_equal(got[[0, 2, 3]], want[[0, 2, 3]])
    assert np.isfinite(after).all(), "a bad batch must leave nothing behind"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_normalised_pixels_in_any_float(tiny, device, pixels, dtype):
    """float32 pixels are rounded to bf16 once, as uint8 ones are; the narrow types were rounded by their maker."""
    e = engine(tiny, device, "bf16", 4)
    want = scored(e, pixels[:3], device)
    values = torch.from_numpy(normalise(pixels[:3], tiny.preprocess)).to(device, dtype)
    with torch.inference_mode():
        got = [part.cpu().numpy().copy() for part in e.run(values)]
        strided = values.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)  # channels last
        again = e.run(strided)[1].cpu().numpy().copy()
    np.testing.assert_array_equal(again, got[1])
    assert measure(want, tuple(got), EMOTIONS).cosine_min >= 0.9999


def test_full_width(small, photos, device):
    """The real widths, 2 layers: float32 equals the reference, bf16 is as close as PyTorch, FP8 close enough."""
    pixels = np.stack([resize(rgb, small.preprocess) for rgb in photos[:4]])
    values = normalise(pixels, small.preprocess)
    want, theirs = (Reference.from_packed(small, p).score_processed(values) for p in ("fp32", "bf16"))
    allowed = measure((want.embedding, want.raw), (theirs.embedding, theirs.raw), EMOTIONS)
    for precision in ("fp32", "bf16", "fp8"):
        got = scored(engine(small, device, precision, 4, plain=device.type == "cpu"), pixels, device)
        found = measure((want.embedding, want.raw), got, EMOTIONS)
        if precision == "fp32":
            assert found.max_error <= tolerances.FP32_SCORE_SHALLOW
        elif precision == "bf16":
            assert found.max_error <= tolerances.BF16_FACTOR * allowed.max_error
            assert found.rms_error <= tolerances.BF16_FACTOR * allowed.rms_error
        else:
            assert found.cosine_min >= 0.999


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
    m = rows(tiny, 2, precision)
    assert m == (256 if precision == "fp8" else 32)
    assert v.qkv.shape == (m, 432)
    assert v.wide.shape == (m, 304)
    assert all(t.is_contiguous() for t in (v.stream, v.delta, v.normed, v.patches, v.qkv, v.wide, v.tokens))
    assert v.tokens.dtype == torch.float32
