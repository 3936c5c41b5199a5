"""From calibration pictures to an int8 recipe: layer after layer, each chosen by what it takes behind those before it.

All pictures stand at the same layer of the network that is int8 so far; what its inputs are in float32 on average is
known beforehand. After each block its layers and where the pictures stand are kept in a folder, so that an interrupted
calibration goes on there.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..checkpoint.layers import PARTS, prefixes_of
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
CALIBRATION_VERSION = 6

# Pictures of which tokens are looked at. Each takes some 10 s on two cores at full depth; more of them gain little.
WALKED = 16

Means = Mapping[str, Float32Array]  # by layer
Progress = Callable[[str, int, int], None]  # (what is under way, steps done, steps in all)


@dataclass(frozen=True, slots=True)
class Int8Calibrated:
    """What calibration gives.

    Args:
        recipe: int8 in every layer.
        order: the layers in which float pays most first, by what each is estimated to add to the residual stream, over
            its multiplications. Layers `out` come before all others: no turn spreads what attention gives, so that a
            new picture may reach far beyond what was seen, which no estimate shows (docs/int8-recipe.md).
    """

    recipe: Int8Recipe
    order: tuple[str, ...]


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
    order = sorted(work.cost, key=lambda name: (not name.endswith(".out"), -work.cost[name]))
    return Int8Calibrated(recipe, tuple(order))


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
        self.turn = Turn(random_rotation(checkpoint.vision.hidden_size), np.stack(centre))
        self._means, self._exact = means, exact
        self._tower = LayeredTower(checkpoint, self.turn)
        self.layers: dict[str, Int8Layer] = {}
        self.cost: dict[str, float] = {}
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
            self.layers, self.cost = {}, {}
            self._places = [self._tower.begin(one) for one in self._pixels]
        return blocks

    def block(self, block: int) -> None:
        """Choose the four layers of a block, and keep them."""
        names = [f"{block}.{part}" for part in PARTS]
        stream = float(np.mean([_variance(place.stream) for place in self._places]))
        chosen = {name: self._layer(name, 4 * block + i) for i, name in enumerate(names)}
        # The noise of qkv and fc1 reaches the stream through out and fc2, as the same share of what these write.
        for name, writer in zip(names, (names[1], names[1], names[3], names[3]), strict=True):
            one = chosen[name]
            size = sum(codes.size for codes in one.layer.codes.values())
            self.cost[name] = one.error / max(one.power, 1e-30) * chosen[writer].power / stream / size
        new = {name: one.layer for name, one in chosen.items()}
        self.layers |= new
        save_recipe(self._path(block), Int8Recipe(self._checkpoint.weights_hash, new))
        self._write(block + 1)

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
            chosen = choose_layer(linears, seen)
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
        return means - self.turn.centre[int(block)] if part == "out" else means

    def _path(self, block: int) -> Path:
        return self._folder / f"block{block}.safetensors"

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
            self.layers |= load_recipe(self._path(block), self._checkpoint).layers
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


def _variance(x: Float32Array) -> float:
    return float(x.var(axis=0).mean())
