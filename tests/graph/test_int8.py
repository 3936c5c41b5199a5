"""The int8 recipe: its arithmetic, its file, and what is refused."""

import json
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file

from emonet_fast.backends.openvino.build import compile_options
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.layers import layer_names, prefixes_of
from emonet_fast.checkpoint.tensors import SafetensorsFile
from emonet_fast.errors import CheckpointError
from emonet_fast.graph.int8 import Int8Layer, Int8Recipe, load_recipe, max_recipe, nearest_int8, save_recipe
from emonet_fast.graph.int8_writer import write_int8_model
from emonet_fast.graph.turned import Turn
from emonet_fast.optional import openvino_core

from ..tiny import HEADS, HIDDEN, LAYERS
from ..tower import Tower


@pytest.fixture(scope="module")
def tiny(tiny_folder, cache_dir):
    return open_checkpoint(tiny_folder, cache_dir)


@pytest.fixture(scope="module")
def recipe(tiny):
    """The naive recipe with every kind of layer in it."""
    naive = max_recipe(tiny, dict.fromkeys(layer_names(LAYERS), 5.0))
    layers = dict(naive.layers)
    smooth = np.linspace(0.5, 2.0, 48, dtype=np.float32)
    layers["0.qkv"] = replace(layers["0.qkv"], smooth=smooth, input_scale=0.031)
    layers["0.qkv"] = with_floats(tiny, layers["0.qkv"], "v_proj")
    layers["0.out"] = with_floats(tiny, replace(layers["0.out"], smooth=smooth), "out_proj")
    layers["1.fc2"] = replace(layers["1.fc2"], input_zero=9, input_scale=0.02)
    del layers["1.out"]
    return Int8Recipe(naive.weights_hash, layers)


def with_floats(checkpoint, layer, part):
    """The layer with the linear of this name in bf16, its bias half."""
    (prefix,) = (one for one in layer.codes if one.endswith(part))
    weight = SafetensorsFile(checkpoint.path).array(f"{prefix}.weight") * layer.smooth
    codes = {one: codes for one, codes in layer.codes.items() if one != prefix}
    scales = {one: layer.scales[one] for one in codes}
    biases = {**layer.biases, prefix: layer.biases[prefix] / 2}
    floats = {prefix: weight.astype(ml_dtypes.bfloat16)}
    return replace(layer, codes=codes, scales=scales, biases=biases, floats=floats)


def layer(scale=0.1, zero=0, smooth=None):
    weight = np.array([[1.27, -0.5, 0.0], [0.0, 0.02, -0.0127]], np.float32)
    codes, scales = nearest_int8(weight)
    biases = np.array([10.0, -1.0], np.float32)
    return Int8Layer({"w": codes}, {"w": scales}, {"w": biases}, scale, zero, smooth)


def test_weights_are_rounded_to_the_nearest_by_output():
    found = layer()
    np.testing.assert_array_equal(found.codes["w"], [[127, -50, 0], [0, 127, -81]])
    np.testing.assert_allclose(found.scales["w"], [0.01, 0.02 / 127], rtol=1e-6)


def test_a_product_is_the_sum_of_codes_times_both_scales():
    x = np.array([[1.0, 2.04, 100.0]], np.float32)  # 10, 20 and, clipped, 127 steps
    want = [0.1 * 0.01 * (10 * 127 - 20 * 50) + 10, 0.1 * 0.02 / 127 * (20 * 127 - 127 * 81) - 1]
    np.testing.assert_allclose(layer().product("w", x)[0], want, rtol=1e-6)


def test_unsigned_codes_reach_further_to_one_side():
    found = layer(scale=0.1, zero=5).rounded(np.array([[-3.0, 24.96, 30.0]], np.float32))
    np.testing.assert_array_equal(found, [[-5, 250, 250]])


def test_smoothing_divides_the_input():
    smooth = np.array([1.0, 2.0, 4.0], np.float32)
    found = layer(smooth=smooth).rounded(np.array([[1.0, 2.0, 4.0]], np.float32))
    np.testing.assert_array_equal(found, [[10, 10, 10]])


@given(st.integers(1, 5), st.integers(1, 9), st.floats(1e-6, 1e4))
def test_no_weight_is_further_than_half_a_step(out, inside, size):
    weight = (np.random.default_rng(out * inside).normal(size=(out, inside)) * size).astype(np.float32)
    codes, scales = nearest_int8(weight)
    assert (np.abs(codes * scales[:, None] - weight) <= scales[:, None] * 0.5001).all()


def test_the_naive_recipe_is_of_every_layer(tiny):
    naive = max_recipe(tiny, dict.fromkeys(layer_names(LAYERS), 5.0))
    assert list(naive.layers) == list(layer_names(LAYERS))
    prefix = "vision_model.encoder.layers.1.mlp.fc1"
    file, found = SafetensorsFile(tiny.path), naive.layers["1.fc1"]
    np.testing.assert_array_equal(found.biases[prefix], file.array(f"{prefix}.bias"))
    got = found.codes[prefix] * found.scales[prefix][:, None]
    np.testing.assert_allclose(got, file.array(f"{prefix}.weight"), atol=found.scales[prefix].max() / 1.99)


def test_a_file_gives_the_same_recipe(tiny, recipe, tmp_path):
    save_recipe(tmp_path / "r", recipe)
    again = load_recipe(tmp_path / "r", tiny)
    assert again.hash == recipe.hash
    assert set(again.layers) == set(recipe.layers)
    for name, want in recipe.layers.items():
        got = again.layers[name]
        assert (got.input_scale, got.input_zero) == (want.input_scale, want.input_zero)
        assert (got.smooth is None) == (want.smooth is None)
        for kind in ("codes", "scales", "biases", "floats"):
            assert list(getattr(got, kind)) == list(getattr(want, kind))
            for prefix, values in getattr(want, kind).items():
                np.testing.assert_array_equal(getattr(got, kind)[prefix], values)


def test_what_is_float_is_named(recipe):
    assert recipe.in_float(LAYERS) == ["0.v_proj", "0.out", "1.out"]


@pytest.mark.parametrize("name", ["0.qkv", "0.out"])
def test_a_linear_in_float_has_its_own_weights_and_bias(tiny, recipe, name, tmp_path):
    """Smoothed in LayerNorm and behind attention; queries and keys beside it are int8."""
    alone = replace(recipe, layers={name: recipe.layers[name]})
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)
    want, exact = Tower(tiny, alone).tokens(pixels), Tower(tiny).tokens(pixels)
    core = openvino_core()
    model = core.read_model(write_int8_model(tiny, tmp_path, alone, "tower"))
    compiled = core.compile_model(model, "CPU", compile_options("int8+fp32"))
    got = compiled.create_infer_request().infer({"pixels": pixels[None]})["tokens"][0]
    assert np.abs(want - exact).max() > 1e-3, "this layer is float32"
    assert np.abs(got - want).max() < 0.1 * np.abs(want - exact).max()  # a code of q or k may fall the other way


@pytest.mark.parametrize("change", ["scale", "zero", "code", "smooth", "fewer", "float"])
def test_the_hash_holds_everything(recipe, change):
    layers = dict(recipe.layers)
    one = layers["0.qkv"]
    prefix = next(iter(one.codes))
    codes = one.codes[prefix].copy()
    codes[3, 4] ^= 1
    changes = {
        "scale": {"input_scale": np.nextafter(one.input_scale, 1).item()},
        "zero": {"input_zero": 1},
        "code": {"codes": {**one.codes, prefix: codes}},
        "smooth": {"smooth": None},
        "float": {"floats": {one: -values for one, values in one.floats.items()}},
    }
    if change == "fewer":
        del layers["0.qkv"]
    else:
        layers["0.qkv"] = replace(one, **changes[change])
    assert Int8Recipe(recipe.weights_hash, layers).hash != recipe.hash


def edited(path, change):
    """Write a recipe's file again after change(document, tensors)."""
    with safe_open(path, framework="np") as file:
        document = json.loads(file.metadata()["int8"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    change(document, tensors)
    save_file(tensors, path, {"int8": json.dumps(document)})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d, t: d["layers"]["0.qkv"].update(input_scale=1.0), "hash"),
        (lambda d, t: t["1.fc2/codes/vision_model.encoder.layers.1.mlp.fc2"].__setitem__((0, 0), 1), "hash"),
        (lambda d, t: t.pop("0.fc1/biases/vision_model.encoder.layers.0.mlp.fc1"), "0.fc1/biases"),
        (lambda d, t: t.pop("0.out/floats/vision_model.encoder.layers.0.self_attn.out_proj"), "0.out/codes"),
        (lambda d, t: d.pop("layers"), "'layers'"),
        (lambda d, t: d.update(version=99), "version 99"),
        (lambda d, t: d.update(layers=[1]), "not a sound int8 recipe"),
    ],
)
def test_an_edited_file_is_refused(tiny, recipe, tmp_path, change, text):
    save_recipe(tmp_path / "r", recipe)
    edited(tmp_path / "r", change)
    with pytest.raises(CheckpointError, match=text):
        load_recipe(tmp_path / "r", tiny)


def test_other_files_are_refused(tiny, recipe, tmp_path):
    with pytest.raises(CheckpointError, match=r"could not be read \(No such file or directory\); expected"):
        load_recipe(tmp_path / "none", tiny)
    with pytest.raises(CheckpointError, match="not a sound int8 recipe"):
        load_recipe(tiny.path, tiny)
    save_recipe(tmp_path / "r", recipe)
    whole = (tmp_path / "r").read_bytes()
    (tmp_path / "r").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="not a sound int8 recipe"):
        load_recipe(tmp_path / "r", tiny)


def layer_for(name):
    """A layer of this name with the shapes of `layer`."""
    one, prefixes = layer(), prefixes_of(name)
    return replace(one, **{kind: dict.fromkeys(prefixes, getattr(one, kind)["w"]) for kind in KINDS})


KINDS = ("codes", "scales", "biases")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"weights_hash": "sha256:other"}, "weights hash sha256:other"),
        ({"graph_version": 0}, "graph version 0"),
        ({"layers": {"9.fc1": layer_for("9.fc1")}}, "'9.fc1'"),
        ({"layers": {"0.fc1": layer_for("0.fc1")}}, "'0.fc1' has"),
    ],
)
def test_a_recipe_of_another_checkpoint_is_refused(tiny, recipe, tmp_path, change, text):
    save_recipe(tmp_path / "r", replace(recipe, **change))
    with pytest.raises(CheckpointError, match=text):
        load_recipe(tmp_path / "r", tiny)


def changed(values, to):
    """A copy whose first number is `to`."""
    values = values.copy()
    values.reshape(-1)[0] = to
    return values


Q, V = (f"vision_model.encoder.layers.0.self_attn.{part}_proj" for part in "qv")


@pytest.mark.parametrize(
    ("kind", "change", "text"),
    [
        ("floats", lambda v: {V: changed(v[V], np.nan)}, "floats of .*v_proj are not all finite"),
        ("biases", lambda v: {**v, V: changed(v[V], np.inf)}, "biases of .*v_proj are not all finite"),
        ("biases", lambda v: {**v, V: v[V].astype(np.float64)}, "biases of .*v_proj are float64, expected float32"),
        ("scales", lambda v: {**v, Q: changed(v[Q], 0)}, "not above 0"),
        ("scales", lambda v: {**v, Q: v[Q].astype(np.float16)}, "scales of .*q_proj are float16"),
        ("codes", lambda v: {**v, Q: v[Q].astype(np.int16)}, "codes of .*q_proj are int16, expected int8"),
        ("codes", lambda v: {**v, Q: changed(v[Q], -128)}, "code of -128"),
        ("smooth", lambda v: changed(v, np.nan), "smooth are not all finite"),
        ("smooth", lambda v: changed(v, 0), "not above 0"),
        ("input_scale", lambda v: float("nan"), "not above 0"),
        ("input_scale", lambda v: -v, "not above 0"),
        ("input_zero", lambda v: 256, "the zero 256"),
    ],
)
def test_numbers_that_no_engine_could_use_are_refused(tiny, recipe, tmp_path, kind, change, text):
    """Whatever wrote them gave the file its right hash."""
    one = replace(recipe.layers["0.qkv"], **{kind: change(getattr(recipe.layers["0.qkv"], kind))})
    save_recipe(tmp_path / "r", replace(recipe, layers={**recipe.layers, "0.qkv": one}))
    with pytest.raises(CheckpointError, match=text):
        load_recipe(tmp_path / "r", tiny)


def test_floats_are_kept_as_uint16_only(tiny, recipe, tmp_path):
    """The same bits as float16 would have the same hash."""
    save_recipe(tmp_path / "r", recipe)
    name = f"0.qkv/floats/{V}"
    edited(tmp_path / "r", lambda _, tensors: tensors.update({name: tensors[name].view(np.float16)}))
    with pytest.raises(CheckpointError, match="stored as float16, expected uint16"):
        load_recipe(tmp_path / "r", tiny)


def test_a_turn_that_is_no_number_is_refused(tiny, recipe, tmp_path):
    size = HIDDEN // HEADS
    turn = Turn(
        np.eye(HIDDEN, dtype=np.float32), np.zeros((LAYERS, HIDDEN), np.float32), np.eye(size, dtype=np.float32)
    )
    save_recipe(tmp_path / "r", replace(recipe, turn=turn))
    assert load_recipe(tmp_path / "r", tiny).turn is not None
    save_recipe(tmp_path / "r", replace(recipe, turn=replace(turn, values=changed(turn.values, np.nan))))
    with pytest.raises(CheckpointError, match="the turn is not all finite float32"):
        load_recipe(tmp_path / "r", tiny)
