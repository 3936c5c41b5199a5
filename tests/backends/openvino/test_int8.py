"""The int8 tower as OpenVINO computes it: beside the recipe's own arithmetic, and as a stored engine."""

import logging
from dataclasses import replace

import numpy as np
import pytest

from emonet_fast.backends.openvino.backend import OpenVinoBackend
from emonet_fast.backends.openvino.build import compile_options
from emonet_fast.checkpoint.layers import layer_names
from emonet_fast.checkpoint.tensors import SafetensorsFile
from emonet_fast.errors import BackendError, CheckpointError
from emonet_fast.graph.int8 import Int8Recipe, max_recipe, nearest_int8, save_recipe
from emonet_fast.graph.int8_writer import write_int8_model
from emonet_fast.optional import import_openvino
from emonet_fast.preprocess import resize

from ... import tolerances
from ...tower import Tower


@pytest.fixture(scope="module")
def block(small):
    """`small` cut down to its first block."""
    return replace(small, vision=replace(small.vision, num_hidden_layers=1))


@pytest.fixture(scope="module")
def pixels(small, photos):
    return resize(photos[0], small.preprocess)


@pytest.fixture(scope="module")
def exact(block, pixels):
    """The float32 block, and its tokens."""
    tower = Tower(block)
    return tower, tower.tokens(pixels)


@pytest.fixture(scope="module")
def recipe(block, exact):
    """Every kind of layer once: smoothed in LayerNorm and behind it, with signed and unsigned inputs."""
    file, rng, layers = SafetensorsFile(block.path), np.random.default_rng(0), {}
    naive = max_recipe(block, exact[0].largest)
    for name, layer in naive.layers.items():
        inside = next(iter(layer.codes.values())).shape[1]
        smooth = rng.uniform(0.7, 1.5, inside).astype(np.float32) if name != "0.qkv" else None
        weights = {p: file.array(f"{p}.weight") * (1 if smooth is None else smooth) for p in layer.codes}
        nearest = {prefix: nearest_int8(weight) for prefix, weight in weights.items()}
        layers[name] = replace(
            layer,
            codes={prefix: codes for prefix, (codes, _) in nearest.items()},
            scales={prefix: scales for prefix, (_, scales) in nearest.items()},
            smooth=smooth,
            input_zero={"0.out": 128, "0.fc2": 7}.get(name, 0),
            input_scale=layer.input_scale * 1.5,
        )
    return Int8Recipe(block.weights_hash, layers)


def tokens_of(checkpoint, recipe, pixels, folder, rest):
    ov = import_openvino()
    model = ov.Core().read_model(write_int8_model(checkpoint, folder, recipe, "tower"))
    model.reshape({port: [1, *list(port.partial_shape)[1:]] for port in model.inputs})
    compiled = ov.Core().compile_model(model, "CPU", compile_options(f"int8+{rest}"))
    return compiled.create_infer_request().infer({"pixels": pixels[None]})["tokens"][0], compiled


def rms(x):
    return float(np.sqrt(np.mean(x**2)))


@pytest.mark.parametrize("name", ["0.qkv", "0.out", "0.fc1", "0.fc2"])
def test_a_layer_is_the_recipes_arithmetic(block, pixels, exact, recipe, name, tmp_path):
    alone = replace(recipe, layers={name: recipe.layers[name]})
    want = Tower(block, alone).tokens(pixels)
    got, _ = tokens_of(block, alone, pixels, tmp_path, "fp32")
    assert rms(want - exact[1]) > 1e-3, "this layer is float32"
    assert rms(got - want) <= tolerances.INT8_FLIPPED * rms(want - exact[1])


def test_a_whole_block_is_as_close_as_the_recipes_arithmetic(block, pixels, exact, recipe, tmp_path):
    allowed = rms(Tower(block, recipe).tokens(pixels) - exact[1])
    for rest in ("fp32", "bf16"):
        got, _ = tokens_of(block, recipe, pixels, tmp_path, rest)
        assert rms(got - exact[1]) <= tolerances.INT8_ERROR * allowed


def test_every_product_runs_in_int8_and_takes_the_steps_around_it_in(block, pixels, recipe, tmp_path):
    _, compiled = tokens_of(block, recipe, pixels, tmp_path, "fp32")
    nodes = [node.get_rt_info() for node in compiled.get_runtime_model().get_ops()]
    kinds = [(str(info["layerType"].value), str(info["primitiveType"].value)) for info in nodes]
    products = [primitive for layer, primitive in kinds if layer.startswith("FullyConnected")]
    assert len(products) == 6
    assert all("i8" in primitive.lower() for primitive in products), products
    assert not [layer for layer, _ in kinds if layer in ("FakeQuantize", "Gelu")], "they are steps of the products"


@pytest.fixture(scope="module")
def stored(small, tmp_path_factory):
    """A recipe of the first block alone, in a file."""
    naive = max_recipe(small, dict.fromkeys(layer_names(2), 9.0))
    path = tmp_path_factory.mktemp("recipe") / "recipe"
    save_recipe(path, Int8Recipe(small.weights_hash, {k: v for k, v in naive.layers.items() if k.startswith("0.")}))
    return path


@pytest.fixture(scope="module")
def cache(small, stored, tmp_path_factory):
    """A cache that holds the engine of `stored`."""
    folder = tmp_path_factory.mktemp("cache")
    OpenVinoBackend(small, "int8", cache_dir=folder, recipe=stored).close()
    return folder


def test_a_stored_engine_gives_the_same_scores(small, pixels, stored, cache, caplog):
    with caplog.at_level(logging.INFO, "emonet_fast"):
        one, two = (OpenVinoBackend(small, "int8", cache_dir=cache, recipe=stored) for _ in range(2))
    assert "compiling" not in caplog.text
    assert one.precision == "int8"
    np.testing.assert_array_equal(one.run(pixels[None]).raw, two.run(pixels[None]).raw)
    exact = OpenVinoBackend(small, "fp32", cache_dir=cache).run(pixels[None])
    difference = np.abs(one.run(pixels[None]).raw - exact.raw).max()
    assert tolerances.FP32_SCORE < difference < 1, "int8 was asked for, of the same network"


def test_engines_of_other_batch_sizes_share_the_weights(small, stored, cache):
    before = set(cache.rglob("*.weights"))
    OpenVinoBackend(small, "int8", 2, cache_dir=cache, recipe=stored)
    assert len(before) == 1
    assert set(cache.rglob("*.weights")) == before


def test_damaged_weights_are_made_again(small, pixels, stored, cache, caplog):
    want = OpenVinoBackend(small, "int8", cache_dir=cache, recipe=stored).run(pixels[None])
    weights = next(cache.rglob("*.weights"))
    data = weights.read_bytes()
    weights.write_bytes(data[:1000] + b"?" + data[1001:])
    with caplog.at_level(logging.INFO, "emonet_fast"):
        got = OpenVinoBackend(small, "int8", cache_dir=cache, recipe=stored).run(pixels[None])
    assert "does not match" in caplog.text
    assert weights.read_bytes() == data
    np.testing.assert_array_equal(got.raw, want.raw)


def test_a_cache_that_cannot_be_written_is_said(small, pixels, stored, cache, tmp_path, caplog):
    (tmp_path / "file").write_text("not a folder")
    with caplog.at_level(logging.WARNING, "emonet_fast"):
        got = OpenVinoBackend(small, "int8", cache_dir=tmp_path / "file", recipe=stored).run(pixels[None])
    assert "could not be kept" in caplog.text
    want = OpenVinoBackend(small, "int8", cache_dir=cache, recipe=stored).run(pixels[None])
    np.testing.assert_array_equal(got.raw, want.raw)


def test_another_recipe_is_another_engine(small, pixels, stored, cache, tmp_path):
    naive = max_recipe(small, dict.fromkeys(layer_names(2), 3.0))
    save_recipe(tmp_path / "other", naive)
    one = OpenVinoBackend(small, "int8", cache_dir=cache, recipe=stored).run(pixels[None])
    two = OpenVinoBackend(small, "int8", cache_dir=cache, recipe=tmp_path / "other").run(pixels[None])
    assert (one.raw != two.raw).any()


def test_a_recipe_that_does_not_fit_is_refused(small, block, recipe, stored, cache, tmp_path):
    with pytest.raises(BackendError, match="without an int8 recipe"):
        OpenVinoBackend(small, "int8", cache_dir=cache)
    with pytest.raises(BackendError, match="with an int8 recipe"):
        OpenVinoBackend(small, "fp32", cache_dir=cache, recipe=stored)
    save_recipe(tmp_path / "other", replace(recipe, weights_hash="sha256:other"))
    with pytest.raises(CheckpointError, match="sha256:other"):
        OpenVinoBackend(small, "int8", cache_dir=cache, recipe=tmp_path / "other")
