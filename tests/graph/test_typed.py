"""The strongly typed network that TensorRT gets, run as it is by ONNX's reference evaluator."""

from dataclasses import replace

import ml_dtypes
import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from onnx.reference import ReferenceEvaluator

from benchmarks.trt.typed_network import evaluate, evaluator
from emonet_fast.backends.openvino.observe import observe
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.layers import layer_names, layer_of, prefixes_of
from emonet_fast.checkpoint.tensors import SafetensorsFile
from emonet_fast.engines.moments import BETWEEN_PICTURES
from emonet_fast.engines.observations import calibrate
from emonet_fast.graph.model import build_model
from emonet_fast.graph.quantise import Quantisation, nearest_e4m3, scale_for, to_e4m3, weight_scale
from emonet_fast.graph.typed import write_typed_model
from emonet_fast.preprocess import resize

from ..tiny import LAYERS, write_tiny
from ..tolerances import BF16_FACTOR, FP8_COSINE_SHALLOW

FINITE = st.floats(1e-30, 1e30, allow_nan=False)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    pytest.importorskip("torch", reason="the tiny checkpoint is written by torch (extra reference)")
    folder = tmp_path_factory.mktemp("tiny")
    return open_checkpoint(write_tiny(folder / "published"), folder / "cache")


@pytest.fixture(scope="module")
def seen(tiny):
    return observe(tiny, np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8), layers=True)


@pytest.fixture(scope="module")
def full(tiny, seen):
    """FP8 in every layer."""
    return calibrate(tiny, seen)


def nodes_of(model):
    """What makes each value, by the value's name."""
    return {node.output[0]: node for node in model.graph.node}


@pytest.mark.parametrize("quantised", [False, True], ids=["bf16", "fp8"])
def test_the_files_are_whole_and_of_these_types_alone(tiny, full, quantised, tmp_path):
    path = write_typed_model(tiny, tmp_path, full.quantisation if quantised else None)
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path, load_external_data=False)
    assert [i.name for i in model.graph.input] == ["pixels"]
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    types = {t.data_type for t in model.graph.initializer}
    expected = {TensorProto.FLOAT, TensorProto.BFLOAT16, TensorProto.INT64}
    assert types == expected | ({TensorProto.FLOAT8E4M3FN} if quantised else set()), "fp16 overflows in this tower"


def test_fp8_is_around_the_products_of_the_layers_that_are_not_kept_and_nowhere_else(tiny, full, tmp_path):
    keep = frozenset({"0.qkv", "1.fc2"})
    path = write_typed_model(tiny, tmp_path, replace(full.quantisation, keep=keep))
    model = onnx.load(path, load_external_data=False)
    made, shapes = nodes_of(model), {t.name: list(t.dims) for t in model.graph.initializer}
    products = {}
    for node in model.graph.node:
        if node.op_type != "MatMul":
            continue
        kinds = [made[name].op_type if name in made else "stored" for name in node.input]
        products[node.name] = kinds.count("DequantizeLinear")
    expected = {}
    for layer in layer_names(LAYERS):
        block, _, part = layer.partition(".")
        linears = {"qkv": ["attention/q", "attention/k", "attention/v"], "out": ["attention/out"]}
        for linear in linears.get(part, [f"mlp/{part}"]):
            expected[f"layer{block}/{linear}/product"] = 0 if layer in keep else 2
    assert {name: products.pop(name) for name in expected} == expected
    assert set(products.values()) == {0}, "attention's own products, pooling head and heads stay as they are"
    quantisers = [n for n in model.graph.node if n.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert all(shapes[node.input[1]] == [] for node in quantisers), "only one scale a tensor fuses"
    # one input for q, k and v
    assert sum(node.op_type == "QuantizeLinear" for node in quantisers) == 4 * LAYERS - len(keep)


@pytest.mark.parametrize("quantised", [False, True], ids=["bf16", "fp8"])
def test_what_rounds_at_every_step_in_bf16_is_float32(tiny, full, quantised, tmp_path):
    path = write_typed_model(tiny, tmp_path, full.quantisation if quantised else None)
    inferred = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True).graph
    types = {value.name: value.type.tensor_type.elem_type for value in (*inferred.value_info, *inferred.output)}
    types |= {tensor.name: tensor.data_type for tensor in inferred.initializer}
    steps = [node for node in inferred.node if node.op_type in ("LayerNormalization", "Gelu", "QuantizeLinear")]
    assert len(steps) == 3 * LAYERS + 3 + (4 * LAYERS if quantised else 0)
    for node in steps:
        inputs = node.input[:2] if node.op_type == "QuantizeLinear" else node.input
        assert {types[name] for name in inputs} == {TensorProto.FLOAT}, node.name
    scales = {node.input[1] for node in inferred.node if node.op_type == "DequantizeLinear"}
    assert {types[name] for name in scales} <= {TensorProto.BFLOAT16}, "the products' own type"


def test_steps_and_codes_are_the_exact_ones_rounded_once(tiny, full, tmp_path):
    """Of the arithmetic of a compiled engine: typed_network.py rounds at every step what is in bf16."""
    pixels = np.random.default_rng(1).integers(0, 256, (1, 3, 32, 32), dtype=np.uint8)
    runner = evaluator(write_typed_model(tiny, tmp_path, full.quantisation))
    names = ["layer1/mlp/fc1", "layer1/mlp/gelu/low", "layer1/residual1", "layer1/norm2/low", "1.fc1/input/quantised"]
    fc1, active, stream, norm, codes = runner.run(names, {"pixels": pixels})
    x = fc1.astype(np.float64)
    gelu = x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    x = stream.astype(np.float64)
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + tiny.vision.layer_norm_eps)
    file, prefix = SafetensorsFile(tiny.path), "vision_model.encoder.layers.1.layer_norm2"
    want_norm = x * file.array(f"{prefix}.weight") + file.array(f"{prefix}.bias")
    want_codes = to_e4m3(norm.astype(np.float32), scale_for(full.quantisation.largest["1.fc1"]))
    for got, want in ((active, gelu), (norm, want_norm), (codes, want_codes)):
        same = got.astype(np.float32) == want.astype(got.dtype).astype(np.float32)
        assert same.mean() > 0.999, "float32 sums may lie on the other side of the middle between two codes"


def test_queries_keys_and_values_share_one_scale(tiny, full, tmp_path):
    """Else TensorRT scales the three parts of their product in a pass of their own."""
    model = onnx.load(write_typed_model(tiny, tmp_path, Quantisation(full.quantisation.largest)))
    stored = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made, file = nodes_of(model), SafetensorsFile(tiny.path)
    scales = set()
    for part, factor in (("q", tiny.vision.head_dim**-0.5), ("k", 1), ("v", 1)):
        prefix = f"vision_model.encoder.layers.1.self_attn.{part}_proj"
        codes, scale, _ = made[made[f"layer1/attention/{part}/product"].input[1]].input
        scales.add(scale)
        weight = file.array(f"{prefix}.weight") * np.float32(factor)
        got = stored[codes].T.astype(np.float32) * stored[scale].astype(np.float32)
        half_a_step = np.maximum(np.abs(weight) * 2.0**-4, stored[scale].astype(np.float32) * 2.0**-10)
        assert (np.abs(got - weight) <= half_a_step * (1 + 1e-3)).all()
    assert len(scales) == 1


def test_keeping_every_layer_is_the_bf16_network(tiny, full, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    want = evaluate(write_typed_model(tiny, tmp_path), pixels)
    everything = replace(full.quantisation, keep=frozenset(layer_names(LAYERS)))
    got = evaluate(write_typed_model(tiny, tmp_path, everything), pixels)
    np.testing.assert_array_equal(got[0], want[0])
    np.testing.assert_array_equal(got[1], want[1])


def test_observations_are_those_of_onnx(tiny, seen):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    path = tiny.path.with_suffix(".observed.onnx")
    onnx.save(build_model(tiny, "observed"), path)
    runner = ReferenceEvaluator(str(path))
    names = ["1.fc2/input", "0.qkv/input", "1.out/power", "1/stream"]
    found = [runner.run(names, {"pixels": pixels[i : i + 1]}) for i in range(3)]
    fc2, qkv = (np.concatenate([f[i] for f in found]).astype(np.float64) for i in (0, 1))  # pictures, tokens, inputs
    layer, moments = seen.layers["1.fc2"], seen.layers["1.fc2"].inputs.moments()
    assert layer.largest == pytest.approx(np.abs(fc2).max(), rel=1e-4)
    np.testing.assert_allclose(moments.mean, fc2.mean((0, 1)), atol=1e-4)
    rows = fc2.reshape(-1, fc2.shape[-1])
    want = np.cov(rows.T, bias=True) + BETWEEN_PICTURES * np.cov(fc2.mean(1).T)
    np.testing.assert_allclose(moments.covariance, want, atol=1e-4 * want.max())
    np.testing.assert_allclose(seen.layers["0.qkv"].square, (qkv**2).mean((0, 1)), rtol=1e-3, atol=1e-4)
    assert seen.layers["1.out"].power == pytest.approx(np.mean([f[2] for f in found]), rel=1e-3)
    assert seen.stream[1] == pytest.approx(np.mean([f[3] for f in found]), rel=1e-3)


def test_the_order_names_every_layer_once_the_costliest_first(full):
    found = full.cost
    assert sorted(found) == sorted(layer_names(LAYERS))
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert all(np.isfinite(cost) and cost > 0 for cost in found.values())
    prefixes = [prefix for name in found for prefix in prefixes_of(name)]
    assert len(set(prefixes)) == 6 * LAYERS
    assert all(layer_of(prefix) in found for prefix in prefixes)


@given(largest=FINITE)
def test_a_scale_is_the_smallest_of_bf16_that_clips_nothing(largest):
    scale = scale_for(largest)
    assert float(np.float32(scale).astype(ml_dtypes.bfloat16)) == scale
    assert 448 * scale >= largest
    if largest > 1e-12:
        below = float(np.nextafter(ml_dtypes.bfloat16(scale), ml_dtypes.bfloat16(0)))
        assert 448 * below < largest


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=50))
def test_e4m3_is_within_half_a_step_and_never_infinite(values):
    weight = np.array(values, np.float32).reshape(1, -1)
    scale = weight_scale([weight])
    rounded = to_e4m3(weight, scale).astype(np.float32)
    assert np.isfinite(rounded).all()
    np.testing.assert_array_equal(nearest_e4m3(weight / np.float32(scale)), rounded)
    # 3 bits behind the leading one: half a step is 2^-4 of the value, or of the smallest normal number below it
    bound = np.maximum(np.abs(weight) * 2.0**-4, scale * 2.0**-10) * (1 + 1e-3)
    assert (np.abs(weight - rounded * np.float32(scale)) <= bound).all()
    assert (to_e4m3(np.float32([1e9, -1e9]), 1.0).astype(np.float32) == [448, -448]).all()


@pytest.fixture(scope="module")
def real(small, photos):
    """Two photographs, PyTorch's outputs in float32 and bf16, and what others calibrate; full width, 2 layers."""
    from emonet_fast.backends.reference import Reference

    pixels = np.stack([resize(photo, small.preprocess) for photo in photos[:4]])
    want, theirs = (Reference.from_packed(small, precision).score(photos[:2]) for precision in ("fp32", "bf16"))
    return pixels[:2], want, theirs, observe(small, pixels[2:4], layers=True)


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def rms(a, b):
    return float(np.sqrt(((a - b) ** 2).mean()))


def test_bf16_is_within_twice_the_error_of_pytorch(small, real, tmp_path):
    pixels, want, theirs, _ = real
    embedding, raw = evaluate(write_typed_model(small, tmp_path), pixels)
    assert rms(raw, want.raw) <= BF16_FACTOR * rms(theirs.raw, want.raw)
    assert rms(embedding, want.embedding) <= BF16_FACTOR * rms(theirs.embedding, want.embedding)


def test_fp8_in_every_layer_keeps_the_embedding(small, real, tmp_path):
    pixels, want, _, calibration = real
    full = calibrate(small, calibration).quantisation
    tried = [full, Quantisation(full.largest, codes=full.codes), Quantisation(full.largest)]
    embeddings = [evaluate(write_typed_model(small, tmp_path, q), pixels[:1])[0] for q in tried]
    found, uncorrected, nearest = (cosines(e, want.embedding[:1]).min() for e in embeddings)
    assert found >= FP8_COSINE_SHALLOW
    assert nearest < found, "weights rounded with regard to their inputs help"
    assert uncorrected < found, "corrected biases help"
