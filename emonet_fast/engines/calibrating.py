"""From calibration pictures to an int8 recipe: layer after layer, each chosen by what it takes behind those before it.

All pictures stand at the same layer, once in the float32 network and once in the one that is int8 so far. After each
block its layers and where the pictures stand are kept in a folder, so that an interrupted calibration goes on there.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
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
from .int8 import ChosenLayer, LayerInputs, Linears, choose_layer
from .pictures import MIN_PICTURES
from .tower import Halt, LayeredTower

_log = logging.getLogger("emonet_fast")

# Raise it when the same pictures would give another recipe: what an older version began is begun anew.
CALIBRATION_VERSION = 3

# Pictures of which tokens are looked at. Each takes some 10 s on two cores at full depth; more of them gain little.
WALKED = 16

Progress = Callable[[str, int, int], None]  # (what is under way, steps done, steps in all)


@dataclass(frozen=True, slots=True)
class Int8Calibrated:
    """What calibration gives.

    Args:
        recipe: int8 in every layer.
        order: the layers in which float pays most first, by what each is estimated to add to the residual stream.
    """

    recipe: Int8Recipe
    order: tuple[str, ...]


def calibrate_int8(
    checkpoint: Checkpoint, pixels: UInt8Array, means: Mapping[str, Float32Array], folder: Path, progress: Progress
) -> Int8Calibrated:
    """Choose int8 for every layer of the tower by pixels [n, 3, S, S] uint8 of 16 or more different pictures.

    WALKED of them, spread evenly, go through the tower token by token; of all, `means` says what pictures have in
    common and what tells them apart: by layer [n, in], of qkv and fc1 before the factors of the LayerNorm. `folder`
    exists and keeps what is done (27 blocks: 0.4 GB), until the caller removes it; called again with the same pictures,
    it goes on. Raises InputError for too few pictures or pictures without spread, and EmonetError when the folder
    cannot be written.
    """
    _check(pixels)
    walked = pixels[np.linspace(0, len(pixels) - 1, min(WALKED, len(pixels))).round().astype(int)]
    work = _Calibration(checkpoint, walked, means, folder, progress)
    for block in range(work.begin(), checkpoint.vision.num_hidden_layers):
        work.block(block)
    recipe = Int8Recipe(checkpoint.weights_hash, work.layers, work.turn)
    return Int8Calibrated(recipe, tuple(sorted(work.cost, key=lambda name: -work.cost[name])))


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
        means: Mapping[str, Float32Array],
        folder: Path,
        progress: Progress,
    ) -> None:
        self._checkpoint, self._pixels, self._folder, self._progress = checkpoint, pixels, folder, progress
        centre = [means[f"{block}.out"].mean(axis=0) for block in range(checkpoint.vision.num_hidden_layers)]
        self.turn = Turn(random_rotation(checkpoint.vision.hidden_size), np.stack(centre))
        self._means = means
        self._tower = LayeredTower(checkpoint, self.turn)
        self.layers: dict[str, Int8Layer] = {}
        self.cost: dict[str, float] = {}
        self._exact: list[Halt] = []
        self._rounded: list[Halt] = []
        digest = hashlib.sha256(f"{CALIBRATION_VERSION} {checkpoint.weights_hash} {pixels.shape}".encode())
        for values in (pixels, *(means[name] for name in sorted(means))):
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
            self._exact = [self._tower.begin(one) for one in self._pixels]
            self._rounded = list(self._exact)
        return blocks

    def block(self, block: int) -> None:
        """Choose the four layers of a block, and keep them."""
        names = [f"{block}.{part}" for part in PARTS]
        stream = float(np.mean([_variance(place.stream) for place in self._exact]))
        chosen = {name: self._layer(name, 4 * block + i) for i, name in enumerate(names)}
        # The noise of qkv and fc1 reaches the stream through out and fc2, as the same share of what these write.
        for name, writer in zip(names, (names[1], names[1], names[3], names[3]), strict=True):
            one = chosen[name]
            self.cost[name] = one.error / max(one.power, 1e-30) * chosen[writer].power / stream
        new = {name: one.layer for name, one in chosen.items()}
        self.layers |= new
        save_recipe(self._path(block), Int8Recipe(self._checkpoint.weights_hash, new))
        self._write(block + 1)

    def _layer(self, name: str, number: int) -> ChosenLayer:
        tower, total = self._tower, 4 * self._checkpoint.vision.num_hidden_layers
        linears = {prefix: tower.linear(prefix) for prefix in prefixes_of(name)}
        width = next(iter(linears.values()))[0].shape[1]
        seen = LayerInputs(len(self._pixels), self._checkpoint.vision.tokens, width, self._between(name))
        taken = partial(tower.taken, name)
        # numpy's own steps keep one core busy each: so pictures are computed beside each other
        with ThreadPoolExecutor(available_cores()) as pool:
            for exact, rounded in zip(pool.map(taken, self._exact), pool.map(taken, self._rounded), strict=True):
                seen.add(exact, rounded)
            chosen = choose_layer(linears, seen)
            del seen
            for places, products in (
                (self._exact, _exact_products(linears)),
                (self._rounded, _rounded_products(chosen.layer)),
            ):
                places[:] = pool.map(lambda at, apply=products: tower.given(name, at, apply(taken(at))), places)
        self._progress("calibration", number + 1, total)
        return chosen

    def _between(self, name: str) -> Float32Array:
        """How the means of the pictures' inputs differ from each other: [n, in], in the tower's coordinates."""
        apart: Float32Array = self._means[name] - self._means[name].mean(axis=0)
        if name.endswith((".qkv", ".fc1")):
            apart = apart @ self.turn.stream
        return apart

    def _path(self, block: int) -> Path:
        return self._folder / f"block{block}.safetensors"

    def _write(self, blocks: int) -> None:
        streams = {
            which: np.stack([place.stream for place in places])
            for which, places in (("exact", self._exact), ("rounded", self._rounded))
        }
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
            self._exact = [Halt(x) for x in file.get_tensor("exact")]
            self._rounded = [Halt(x) for x in file.get_tensor("rounded")]
        for block in range(blocks):
            self.layers |= load_recipe(self._path(block), self._checkpoint).layers
        return blocks


Products = Callable[[Float32Array], Sequence[Float32Array]]


def _exact_products(linears: Linears) -> Products:
    return lambda x: [x @ weight.T + bias for weight, bias in linears.values()]


def _rounded_products(layer: Int8Layer) -> Products:
    """As Int8Layer.product, but in float32: its sums of codes may be off by a ten millionth."""
    weights = {
        p: codes.astype(np.float32) * (layer.scales[p] * layer.input_scale)[:, None] for p, codes in layer.codes.items()
    }

    def products(x: Float32Array) -> Sequence[Float32Array]:
        codes = layer.rounded(x).astype(np.float32)
        return [codes @ weight.T + layer.biases[prefix] for prefix, weight in weights.items()]

    return products


def _variance(x: Float32Array) -> float:
    return float(x.var(axis=0).mean())
