"""A whole int8 recipe: its order of data, what an interruption leaves, and what is refused."""

import numpy as np
import pytest

from emonet_fast.checkpoint import open_checkpoint
from emonet_fast.checkpoint.layers import layer_names, prefixes_of
from emonet_fast.engines.calibrating import calibrate_int8
from emonet_fast.engines.pictures import MIN_PICTURES
from emonet_fast.engines.tower import LayeredTower
from emonet_fast.errors import EmonetError, InputError
from emonet_fast.graph.int8 import load_recipe, save_recipe

from ..tiny import HIDDEN, LAYERS
from ..tower import means_of_inputs

SIZE = 32


@pytest.fixture(scope="module")
def tiny(tiny_folder, cache_dir):
    return open_checkpoint(tiny_folder, cache_dir)


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (MIN_PICTURES, 3, SIZE, SIZE), dtype=np.uint8)


def quiet(*_):
    """A progress that nobody watches."""


@pytest.fixture(scope="module")
def means(tiny, pixels):
    return means_of_inputs(tiny, pixels)


@pytest.fixture(scope="module")
def calibrated(tiny, pixels, means, tmp_path_factory):
    return calibrate_int8(tiny, pixels, means, means, tmp_path_factory.mktemp("calibrated"), quiet)


def streams(checkpoint, pixels, recipe=None):
    """[n, tokens, hidden] behind the last block."""
    turn = None if recipe is None else recipe.turn
    tower, places = LayeredTower(checkpoint, turn), []
    for one in pixels:
        place = tower.begin(one)
        for name in layer_names(LAYERS):
            x = tower.taken(name, place)
            pairs = [(prefix, *tower.linear(prefix)) for prefix in prefixes_of(name)]
            layer = None if recipe is None else recipe.layers.get(name)
            outputs = [x @ w.T + b if layer is None else layer.product(p, x) for p, w, b in pairs]
            place = tower.given(name, place, outputs)
        places.append(place.stream if turn is None else place.stream @ turn.stream.T)
    return np.stack(places)


def test_the_tower_is_the_published_one(tiny, pixels):
    torch = pytest.importorskip("torch", reason="torch (extra reference) is not installed")
    from emonet_fast.backends.reference import read_packed

    factor, shift = (np.array(v, np.float32).reshape(3, 1, 1) for v in tiny.preprocess.affine)
    with torch.inference_mode():
        model = read_packed(tiny)[0].eval()
        got = model(torch.from_numpy(pixels[:2] * factor + shift), output_hidden_states=True).hidden_states[LAYERS]
    np.testing.assert_allclose(streams(tiny, pixels[:2]), got.numpy(), atol=2e-5, rtol=1e-5)


def test_every_layer_is_int8_and_close(tiny, pixels, calibrated):
    assert list(calibrated.recipe.layers) == list(layer_names(LAYERS))
    want = streams(tiny, pixels)
    error = streams(tiny, pixels, calibrated.recipe) - want
    assert np.sqrt((error**2).mean()) < 0.03 * want.std(axis=(0, 1)).mean()
    # the biases hold the mean over the calibration pictures, layer after layer
    assert np.abs(error.mean(axis=(0, 1))).max() < 0.1 * np.sqrt((error**2).mean())


def test_values_and_what_follows_attention_go_back_to_float_first(calibrated):
    parts = [one.partition(".")[2] for one in calibrated.order]
    assert sorted(parts[: 2 * LAYERS]) == sorted(["v_proj", "out_proj"] * LAYERS)
    assert sorted(parts[2 * LAYERS :]) == sorted(["qkv", "fc1", "fc2"] * LAYERS)
    hidden = HIDDEN * HIDDEN
    sizes = dict(zip(calibrated.order, calibrated.sizes(), strict=True))
    assert [sizes[f"0.{part}"] for part in ("v_proj", "out_proj", "qkv")] == [hidden, hidden, 2 * hidden]
    assert sum(sizes.values()) == sum(v.size for one in calibrated.recipe.layers.values() for v in one.codes.values())


def test_a_linear_in_float_errs_less(tiny, pixels, calibrated, tmp_path):
    """Its weights are numbers of bf16; they and its bias make up for each other, as those of int8 do."""
    want = streams(tiny, pixels)
    error = {}
    for count in (0, 2 * LAYERS, 3 * LAYERS, len(calibrated.order)):
        recipe = calibrated.with_float(count)
        save_recipe(tmp_path / "r", recipe)
        assert load_recipe(tmp_path / "r", tiny).hash == recipe.hash
        error[count] = np.sqrt(((streams(tiny, pixels, recipe) - want) ** 2).mean())
    assert calibrated.with_float(2 * LAYERS).in_float(LAYERS) == ["0.v_proj", "0.out", "1.v_proj", "1.out"]
    assert error[2 * LAYERS] < 0.9 * error[0]
    assert error[len(calibrated.order)] < 0.2 * error[0]  # what is left is bf16 in the attention's weights


def test_an_interrupted_calibration_goes_on(tiny, pixels, means, calibrated, tmp_path):
    done = []

    def interrupt(_, number, __):
        done.append(number)
        if number == 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        calibrate_int8(tiny, pixels, means, means, tmp_path, interrupt)
    again = []
    got = calibrate_int8(tiny, pixels, means, means, tmp_path, lambda _, number, total: again.append((number, total)))
    assert again == [(number, 4 * LAYERS) for number in range(5, 4 * LAYERS + 1)]
    assert (got.recipe.hash, got.order) == (calibrated.recipe.hash, calibrated.order)


@pytest.mark.parametrize("how", ["cut", "other pictures", "a block gone"])
def test_what_cannot_be_gone_on_with_is_said_and_begun_anew(tiny, pixels, means, calibrated, tmp_path, caplog, how):
    shown = pixels[::-1] if how == "other pictures" else pixels
    calibrate_int8(tiny, shown, means, means, tmp_path, quiet)
    if how == "cut":
        path = tmp_path / "streams.safetensors"
        path.write_bytes(path.read_bytes()[:-9])
    elif how == "a block gone":
        (tmp_path / "block0.safetensors").unlink()
    numbers = []
    got = calibrate_int8(tiny, pixels, means, means, tmp_path, lambda _, number, __: numbers.append(number))
    assert numbers[0] == 1
    assert "starts anew" in caplog.text
    assert got.recipe.hash == calibrated.recipe.hash


def test_a_folder_that_cannot_be_written_is_an_error(tiny, pixels, means, tmp_path):
    with pytest.raises(EmonetError, match="gone"):
        calibrate_int8(tiny, pixels, means, means, tmp_path / "gone", quiet)


@pytest.mark.parametrize("count", [MIN_PICTURES - 1, 0])
def test_too_few_pictures_are_an_error(tiny, pixels, means, tmp_path, count):
    with pytest.raises(InputError, match=f"got {count} pictures.*expected {MIN_PICTURES} or more"):
        calibrate_int8(tiny, pixels[:count], means, means, tmp_path, quiet)


def test_the_same_picture_again_and_again_is_an_error(tiny, pixels, means, tmp_path):
    with pytest.raises(InputError, match="got 20 pictures, 1 of them different"):
        calibrate_int8(tiny, np.repeat(pixels[:1], 20, axis=0), means, means, tmp_path, quiet)
