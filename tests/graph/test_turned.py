"""A tower in other coordinates is the same tower, and no channel of its inputs stands out."""

import numpy as np
import pytest

from emonet_fast.backends.openvino.build import compile_options
from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.layers import layer_names, prefixes_of
from emonet_fast.engines.tower import LayeredTower
from emonet_fast.graph.int8 import Int8Recipe, load_recipe, save_recipe
from emonet_fast.graph.int8_writer import write_int8_model
from emonet_fast.graph.turned import Turn, random_rotation
from emonet_fast.optional import openvino_core

from ..tiny import HEADS, HIDDEN, LAYERS
from ..tower import Tower


@pytest.fixture(scope="module")
def tiny(tiny_folder, cache_dir):
    return open_checkpoint(tiny_folder, cache_dir)


@pytest.fixture(scope="module")
def turn():
    centre = np.random.default_rng(3).normal(size=(LAYERS, HIDDEN)).astype(np.float32)
    return Turn(random_rotation(HIDDEN), centre, random_rotation(HIDDEN // HEADS))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 32), dtype=np.uint8)


def walked(tower, pixels):
    """The stream behind the last block, and what each layer takes."""
    place, taken = tower.begin(pixels), {}
    for name in layer_names(LAYERS):
        taken[name] = x = tower.taken(name, place)
        place = tower.given(name, place, [x @ w.T + b for w, b in map(tower.linear, prefixes_of(name))])
    return place.stream, taken


def test_a_rotation_is_orthogonal_and_keeps_the_mean():
    q = random_rotation(96)
    np.testing.assert_allclose(q.T @ q, np.eye(96), atol=1e-6)
    np.testing.assert_allclose(q.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_allclose(q.sum(axis=1), 1, atol=1e-5)


def test_a_channel_that_stands_out_becomes_a_little_of_each():
    """Of n equal shares each has 1 / sqrt(n); the largest of n normal ones is at most 5 times that."""
    q = random_rotation(400)
    assert np.abs(np.eye(400, dtype=np.float32)[7] @ q).max() < 5 / 20


def test_a_turned_tower_is_the_same(tiny, turn, pixels):
    plain, taken = walked(LayeredTower(tiny), pixels)
    turned, taken_turned = walked(LayeredTower(tiny, turn), pixels)
    np.testing.assert_allclose(turned @ turn.stream.T, plain, atol=2e-5)
    np.testing.assert_allclose(taken_turned["1.out"], turn.turn_values(taken["1.out"] - turn.centre[1]), atol=2e-5)
    np.testing.assert_allclose(taken_turned["1.fc2"], taken["1.fc2"], atol=2e-5)


def test_so_is_its_graph(tiny, turn, pixels, tmp_path):
    core = openvino_core()
    model = core.read_model(write_int8_model(tiny, tmp_path, Int8Recipe(tiny.weights_hash, {}, turn), "tower"))
    compiled = core.compile_model(model, "CPU", compile_options("fp32"))
    got = compiled.create_infer_request().infer({"pixels": pixels[None]})["tokens"][0]
    np.testing.assert_allclose(got, Tower(tiny).tokens(pixels), atol=5e-5)


def test_a_recipe_keeps_its_turn(tiny, turn, tmp_path):
    recipe = Int8Recipe(tiny.weights_hash, {}, turn)
    save_recipe(tmp_path / "r", recipe)
    again = load_recipe(tmp_path / "r", tiny)
    assert again.hash == recipe.hash != Int8Recipe(tiny.weights_hash, {}).hash
    assert again.turn is not None
    np.testing.assert_array_equal(again.turn.stream, turn.stream)
    np.testing.assert_array_equal(again.turn.centre, turn.centre)
    np.testing.assert_array_equal(again.turn.values, turn.values)
