"""The ONNX graph against the published modules, run by ONNX's own reference evaluator: no engine involved."""

import shutil
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.tensors import SafetensorsFile
from emonet_fast.graph.backbone import probe_keys
from emonet_fast.graph.model import build_model
from emonet_fast.graph.writer import halves

from ..tiny import write_tiny

pytest.importorskip("torch", reason="the reference (extra reference) is not installed")

# float32 sums in another order, numpy against PyTorch, 2 tiny layers: measured 2e-6
TOLERANCE = 2e-5


@pytest.fixture(scope="module", params=[(48, 24, 12, 1), (48, 20, 16, 8, 1)], ids=["small", "large"])
def tiny(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    published = write_tiny(folder / "published", widths=request.param)
    checkpoint = open_checkpoint(published, folder / "cache")
    return published, checkpoint


def evaluate(checkpoint, pixels, **how):
    path = checkpoint.path.with_suffix(".onnx")
    onnx.save(build_model(checkpoint, **how), path)
    onnx.checker.check_model(str(path), full_check=True)
    embedding, raw = ReferenceEvaluator(str(path)).run(["embedding", "raw"], {"pixels": pixels})
    return embedding, raw


@pytest.mark.parametrize("count", [1, 3])
def test_equals_published_modules(tiny, count):
    from emonet_fast.backends.reference import Reference
    from emonet_fast.checkpoint import resolve_published

    published, checkpoint = tiny
    found = resolve_published(published, Path("unused"))
    reference = Reference.from_published(found, checkpoint.names, checkpoint.l2_normalise)
    rng = np.random.default_rng(count)
    pictures = [rng.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(count)]
    want = reference.score(pictures)
    embedding, raw = evaluate(checkpoint, np.stack(pictures).transpose(0, 3, 1, 2))
    np.testing.assert_allclose(embedding, want.embedding, atol=TOLERANCE)
    np.testing.assert_allclose(raw, want.raw, atol=TOLERANCE)
    assert raw.std() > 0.1, "a constant output would pass any comparison"


def test_a_graph_for_bf16_keeps_16_bits_of_the_patches(tiny):
    """A compiler rounds its constants to bf16: two of them are a weight to 2^-17. The network stays the same."""
    _, checkpoint = tiny
    name = "vision_model.embeddings.patch_embedding.weight"
    weight = SafetensorsFile(checkpoint.path).array(name)
    parts = [t for t in build_model(checkpoint, bf16=True).graph.initializer if t.name.startswith(f"{name}/")]
    kept = sum(numpy_helper.to_array(t).astype(ml_dtypes.bfloat16).astype(np.float64) for t in parts)
    assert (abs(kept - weight) <= 2.0**-17 * abs(weight)).all()
    assert (abs(weight.astype(ml_dtypes.bfloat16) - weight) > 2.0**-12 * abs(weight)).any(), "one part would do"
    pixels = np.random.default_rng(5).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    for two, one in zip(evaluate(checkpoint, pixels, bf16=True), evaluate(checkpoint, pixels), strict=True):
        np.testing.assert_allclose(two, one, atol=TOLERANCE)


def test_weights_that_bf16_holds_stay_in_one_part():
    coarse, fine = halves(np.arange(-128, 128, dtype=np.float32).reshape(2, 2, 8, 8))
    assert coarse[1, 1, 7, 7] == 127
    assert not fine.any()


def test_reference_from_packed_equals_from_published(tiny):
    from emonet_fast.backends.reference import Reference
    from emonet_fast.checkpoint import resolve_published

    published, checkpoint = tiny
    found = resolve_published(published, Path("unused"))
    picture = np.random.default_rng(9).integers(0, 256, (50, 40, 3), dtype=np.uint8)
    one = Reference.from_published(found, checkpoint.names, True).score([picture])
    other = Reference.from_packed(checkpoint).score([picture])
    # the same weights at other addresses: PyTorch's kernels sum in another order by alignment
    np.testing.assert_allclose(one.embedding, other.embedding, atol=TOLERANCE)
    np.testing.assert_allclose(one.raw, other.raw, atol=TOLERANCE)


def test_weights_stay_in_their_file(tiny):
    _, checkpoint = tiny
    model = build_model(checkpoint)
    assert len(model.SerializeToString()) < checkpoint.path.stat().st_size / 4
    references = [{e.key: e.value for e in t.external_data} for t in model.graph.initializer if t.external_data]
    size = checkpoint.path.stat().st_size
    assert len(references) > 16 * checkpoint.vision.num_hidden_layers
    for reference in references:
        assert reference["location"] == checkpoint.path.name
        assert int(reference["offset"]) + int(reference["length"]) <= size


def test_probe_keys_give_the_pooling_weights(tiny):
    """The folded probe against torch's MultiheadAttention, weights and all, in float64."""
    import torch

    _, checkpoint = tiny
    from emonet_fast.checkpoint.tensors import SafetensorsFile

    file = SafetensorsFile(checkpoint.path)
    vision = checkpoint.vision
    attention = torch.nn.MultiheadAttention(vision.hidden_size, vision.num_attention_heads, batch_first=True).double()
    prefix = "vision_model.head.attention."
    state = {
        k.removeprefix(prefix): torch.tensor(np.array(file.array(k))).double()
        for k in file.infos
        if k.startswith(prefix)
    }
    attention.load_state_dict(state)
    probe = torch.tensor(np.array(file.array("vision_model.head.probe"))).double()
    tokens = torch.randn(1, 7, vision.hidden_size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        _, want = attention(probe, tokens, tokens, average_attn_weights=False)  # [1, heads, 1, 7]
    logits = tokens[0].numpy() @ probe_keys(checkpoint)
    weights = np.exp(logits - logits.max(0))
    np.testing.assert_allclose(weights / weights.sum(0), want[0, :, 0].numpy().T, atol=1e-12)


def test_model_can_move_with_its_weights(tiny, tmp_path):
    """References are relative: model and weights copied elsewhere together still give the same scores."""
    _, checkpoint = tiny
    pixels = np.random.default_rng(5).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    want = evaluate(checkpoint, pixels)
    for path in (checkpoint.path, checkpoint.path.with_suffix(".onnx")):
        shutil.copy(path, tmp_path / path.name)
    moved = ReferenceEvaluator(str(tmp_path / checkpoint.path.with_suffix(".onnx").name))
    np.testing.assert_array_equal(moved.run(["raw"], {"pixels": pixels})[0], want[1])
