"""From calibration pictures to an int8 recipe: layer after layer, each chosen by what it takes behind those before it.

All pictures stand at the same layer of the network that is int8 so far; what its inputs are in float32 on average is
known beforehand. After each block its layers and where the pictures stand are kept in a folder, so that an interrupted
calibration goes on there.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..checkpoint.layers import PARTS, layer_of, prefixes_of
from ..checkpoint.spec import Checkpoint
from ..errors import CheckpointError, InputError
from ..files import write_whole
from ..graph.int8 import Int8Layer, Int8Recipe, load_recipe, save_recipe
from ..graph.turned import Turn, random_rotation
from ..process import available_cores
from ..records import Float32Array, UInt8Array
from .int8 import ChosenLayer, LayerInputs, choose_layer
from .pictures import MIN_PICTURES
from .tower import Halt, LayeredTower

_log = logging.getLogger("emonet_fast")

# Raise it when the same pictures would give another recipe: what an older version began is begun anew.
CALIBRATION_VERSION = 8

# Linears that go back to float before all others.
_FIRST = ("v_proj", "out_proj")

# Pictures of which tokens are looked at. Each takes some 10 s on two cores at full depth; more of them gain little.
WALKED = 16

Means = Mapping[str, Float32Array]  # by layer
Progress = Callable[[str, int, int], None]  # (what is under way, steps done, steps in all)


@dataclass(frozen=True, slots=True)
class Int8Calibrated:
    """What calibration gives.

    Args:
        recipe: int8 in every layer.
        floated: the layers qkv and out, with all their linears in bf16.
        order: where float pays most first, by what each is estimated to add to the residual stream beside what tells
            pictures apart there, over its multiplications. Single linears "0.v_proj" and "0.out_proj" come before
            whole layers "0.qkv", "0.fc1" and "0.fc2": attention takes means over tokens, in which the noise of others
            gets lost, but not what these add to a whole picture (docs/int8-recipe.md).
    """

    recipe: Int8Recipe
    floated: Int8Recipe
    order: tuple[str, ...]

    def with_float(self, count: int) -> Int8Recipe:
        """The recipe with the first so many of `order` in float."""
        layers = dict(self.recipe.layers)
        for one in self.order[:count]:
            name = _layer_with(one)
            if name not in self.floated.layers:
                del layers[name]
            elif name == one:
                layers[name] = self.floated.layers[name]
            else:
                layers[name] = _with_float_linear(layers[name], self.floated.layers[name], one.partition(".")[2])
        return replace(self.recipe, layers=layers)

    def sizes(self) -> list[int]:
        """How many multiplications a token each of `order` puts into float."""

        def put(one: str, prefix: str) -> bool:
            return not prefix.endswith(_FIRST) if one == _layer_with(one) else prefix.endswith(one.partition(".")[2])

        layers = self.recipe.layers
        return [sum(v.size for p, v in layers[_layer_with(one)].codes.items() if put(one, p)) for one in self.order]


def _layer_with(one: str) -> str:
    """The layer that one of an order is, or belongs to."""
    block, _, part = one.partition(".")
    return {"v_proj": f"{block}.qkv", "out_proj": f"{block}.out"}.get(part, one)


def _with_float_linear(layer: Int8Layer, floated: Int8Layer, part: str) -> Int8Layer:
    """The layer with its linears that end so as in `floated`."""
    moved = {prefix for prefix in floated.floats if prefix.endswith(part)}
    codes = {p: values for p, values in layer.codes.items() if p not in moved}
    scales = {p: layer.scales[p] for p in codes}
    biases = {p: (floated if p in moved else layer).biases[p] for p in floated.biases}
    floats = {**layer.floats, **{p: floated.floats[p] for p in moved}}
    return replace(layer, codes=codes, scales=scales, biases=biases, floats=floats)


def walked_of(pictures: int) -> npt.NDArray[np.intp]:
    """The numbers of those, of so many pictures, that go through the tower token by token: WALKED, spread evenly."""
    return np.linspace(0, pictures - 1, min(WALKED, pictures)).round().astype(np.intp)


def calibrate_int8(
    checkpoint: Checkpoint, pixels: UInt8Array, means: Means, exact: Means, folder: Path, progress: Progress
) -> Int8Calibrated:
    """Choose int8 for every layer of the tower by pixels [n, 3, S, S] uint8 of 16 or more different pictures.

    Those of `walked_of` go through the tower token by token. Of all, `means` says what pictures have in common and what
    tells them apart: by layer [n, in], of qkv and fc1 before the factors of the LayerNorm. `exact` is the same of those
    that are walked, in float32. `folder` exists and keeps what is done (27 blocks: 0.4 GB) until the caller removes it;
    called again with the same pictures, it goes on. Raises InputError for too few pictures or pictures without spread,
    and EmonetError when the folder cannot be written.
    """
    _check(pixels)
    work = _Calibration(checkpoint, pixels[walked_of(len(pixels))], means, exact, folder, progress)
    for block in range(work.begin(), checkpoint.vision.num_hidden_layers):
        work.block(block)
    recipe = Int8Recipe(checkpoint.weights_hash, work.layers, work.turn)
    return Int8Calibrated(recipe, replace(recipe, layers=work.floated), work.order())


def _check(pixels: UInt8Array) -> None:
    different = len({hashlib.sha256(np.ascontiguousarray(one).data).digest() for one in pixels})
    if different < min(len(pixels), MIN_PICTURES) or len(pixels) < MIN_PICTURES:
        raise InputError(
            f"calibration got {len(pixels)} pictures, {different} of them different; expected {MIN_PICTURES} or more "
            "different ones, such as will be scored"
        )


class _Calibration:
    """One calibration under way."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        pixels: UInt8Array,
        means: Means,
        exact: Means,
        folder: Path,
        progress: Progress,
    ) -> None:
        self._checkpoint, self._pixels, self._folder, self._progress = checkpoint, pixels, folder, progress
        centre = [means[f"{block}.out"].mean(axis=0) for block in range(checkpoint.vision.num_hidden_layers)]
        rotations = random_rotation(checkpoint.vision.hidden_size), random_rotation(checkpoint.vision.head_dim)
        self.turn = Turn(rotations[0], np.stack(centre), rotations[1])
        self._means, self._exact = means, exact
        self._tower = LayeredTower(checkpoint, self.turn)
        self.layers: dict[str, Int8Layer] = {}
        self.floated: dict[str, Int8Layer] = {}
        self.cost: dict[str, float] = {}  # by prefix
        self._places: list[Halt] = []
        digest = hashlib.sha256(f"{CALIBRATION_VERSION} {checkpoint.weights_hash} {pixels.shape}".encode())
        for values in (pixels, *(which[name] for which in (means, exact) for name in sorted(means))):
            digest.update(np.ascontiguousarray(values).data)
        self._key = digest.hexdigest()

    def begin(self) -> int:
        """Read what an interrupted calibration has done; returns the block that comes next."""
        blocks = 0
        try:
            blocks = self._read()
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, SafetensorError, CheckpointError) as error:
            _log.warning("the begun calibration in %s cannot be used (%s): it starts anew", self._folder, error)
        if blocks:
            _log.info("going on with a begun calibration at block %d", blocks + 1)
        else:
            self.layers, self.floated, self.cost = {}, {}, {}
            self._places = [self._tower.begin(one) for one in self._pixels]
        return blocks

    def block(self, block: int) -> None:
        """Choose the four layers of a block, and keep them."""
        names = [f"{block}.{part}" for part in PARTS]
        # Beside what tells pictures apart here: in the first blocks that is little, and as much noise costs more.
        stream = max(float(np.var([place.stream.mean(axis=0) for place in self._places], axis=0).mean()), 1e-30)
        chosen = {name: self._layer(name, 4 * block + i) for i, name in enumerate(names)}
        # The noise of qkv and fc1 reaches the stream through out and fc2, as the same share of what these write.
        for name, writer in zip(names, (names[1], names[1], names[3], names[3]), strict=True):
            one, written = chosen[name], chosen[writer].power / stream
            for prefix, codes in one.layer.codes.items():
                self.cost[prefix] = one.noise[prefix] * written / codes.size
        new = {name: one.layer for name, one in chosen.items()}
        floated = {name: one.floated for name, one in chosen.items() if one.floated is not None}
        self.layers |= new
        self.floated |= floated
        for number, layers in enumerate((new, floated)):
            save_recipe(self._path(block, number), Int8Recipe(self._checkpoint.weights_hash, layers))
        self._write(block + 1)

    def order(self) -> tuple[str, ...]:
        """As Int8Calibrated.order."""
        cost: dict[tuple[bool, str], list[float]] = {}
        for prefix, value in self.cost.items():
            layer, part = str(layer_of(prefix)), prefix.rpartition(".")[2]
            first = part in _FIRST
            name = f"{layer.partition('.')[0]}.{part}" if first else layer
            cost.setdefault((not first, name), []).append(value)
        return tuple(name for _, name in sorted(cost, key=lambda key: (key[0], -float(np.mean(cost[key])))))

    def _layer(self, name: str, number: int) -> ChosenLayer:
        tower, total = self._tower, 4 * self._checkpoint.vision.num_hidden_layers
        linears = {prefix: tower.linear(prefix) for prefix in prefixes_of(name)}
        exact, means = (self._placed(name, which[name]) for which in (self._exact, self._means))
        tokens = self._checkpoint.vision.tokens
        seen = LayerInputs(len(self._pixels), tokens, exact.mean(axis=0), means - means.mean(axis=0))
        # numpy's own steps keep one core busy each: so pictures are computed beside each other
        with ThreadPoolExecutor(available_cores()) as pool:
            inputs = list(pool.map(partial(tower.taken, name), self._places))
            list(pool.map(seen.add, range(len(inputs)), inputs))
            chosen = choose_layer(linears, seen, floated=name.endswith((".qkv", ".out")))
            del seen
            products = _products(chosen.layer)
            self._places = list(pool.map(lambda at, x: tower.given(name, at, products(x)), self._places, inputs))
        self._progress("calibration", number + 1, total)
        return chosen

    def _placed(self, name: str, means: Float32Array) -> Float32Array:
        """The means [n, in] of a layer's inputs, in the tower's coordinates."""
        block, _, part = name.partition(".")
        if part in ("qkv", "fc1"):
            return means @ self.turn.stream
        return self.turn.turn_values(means - self.turn.centre[int(block)]) if part == "out" else means

    def _path(self, block: int, floated: int) -> Path:
        return self._folder / f"block{block}{'-floated' * floated}.safetensors"

    def _write(self, blocks: int) -> None:
        streams = {"streams": np.stack([place.stream for place in self._places])}
        names = list(self.cost)
        streams["cost"] = np.array([self.cost[name] for name in names])
        about = {"key": self._key, "blocks": str(blocks), "names": " ".join(names)}
        write_whole(self._folder / "streams.safetensors", save(streams, about))

    def _read(self) -> int:
        with safe_open(self._folder / "streams.safetensors", framework="np") as file:
            about = file.metadata() or {}
            if about["key"] != self._key:
                raise ValueError("it is of other pictures, weights or another version")
            blocks, names = int(about["blocks"]), about["names"].split()
            self.cost = dict(zip(names, file.get_tensor("cost").tolist(), strict=True))
            self._places = [Halt(x) for x in file.get_tensor("streams")]
        for block in range(blocks):
            self.layers |= load_recipe(self._path(block, 0), self._checkpoint).layers
            self.floated |= load_recipe(self._path(block, 1), self._checkpoint).layers
        return blocks


def _products(layer: Int8Layer) -> Callable[[Float32Array], list[Float32Array]]:
    """As Int8Layer.product, but in float32: its sums of codes may be off by a ten millionth."""
    weights = {
        p: codes.astype(np.float32) * (layer.scales[p] * layer.input_scale)[:, None] for p, codes in layer.codes.items()
    }

    def products(x: Float32Array) -> list[Float32Array]:
        codes = layer.rounded(x)
        return [codes @ weight.T + layer.biases[prefix] for prefix, weight in weights.items()]

    return products
