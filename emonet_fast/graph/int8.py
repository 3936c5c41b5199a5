"""What an int8 tower is made from: for each layer its weights' codes and scales, and how its input is rounded.

Some linears stay float all the same. Their weights are rounded to bf16 for their inputs, as those of the others are to
int8: an engine that computes in bf16 would round them to nearest, and one in float32 loses little.

A recipe belongs to no compiler: a writer makes a graph with Q/DQ nodes of it, and `Int8Layer.product` is the arithmetic
that every engine of it must reproduce.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

import ml_dtypes
import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from ..checkpoint.layers import layer_names, prefixes_of
from ..checkpoint.spec import Checkpoint
from ..checkpoint.tensors import SafetensorsFile
from ..errors import CheckpointError
from ..files import write_whole
from ..records import Float32Array
from .turned import Turn
from .version import GRAPH_VERSION

Int8Array: TypeAlias = npt.NDArray[np.int8]

# Raise it when the meaning of a recipe's file changes: older files are refused.
RECIPE_VERSION = 3
_AGAIN = "make one with `emonet-fast calibrate`"


@dataclass(frozen=True, slots=True)
class Int8Layer:
    """One layer of the tower (checkpoint/layers.py) in int8. `prefix` is a linear's name in the checkpoint.

    Args:
        codes: by prefix, [out, in] int8 within -127..127. A linear without codes is among `floats`.
        scales: by prefix, [out] float32: codes * scales[:, None] stands for weight * smooth. The weight is that of
            the checkpoint, turned by the recipe's turn: the queries' without the factor 1 / sqrt(head_dim).
        biases: by prefix, [out] float32, corrected by what rounding costs on average.
        input_scale: of the layer's input, one number for all of it.
        input_zero: 0 where the input's codes are int8, -128..127; or the code of 0 where they are uint8, 0..255.
        smooth: [in] float32 above 0, what the input is divided by before it is rounded; None for ones.
        floats: by prefix, [out, in] bf16, weight * smooth of linears whose input is not rounded.
    """

    codes: Mapping[str, Int8Array]
    scales: Mapping[str, Float32Array]
    biases: Mapping[str, Float32Array]
    input_scale: float
    input_zero: int = 0
    smooth: Float32Array | None = None
    floats: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and the highest code of the input."""
        return (0, 255) if self.input_zero else (-128, 127)

    def rounded(self, x: Float32Array) -> Float32Array:
        """The codes of an input x [..., in], less input_zero."""
        steps = x.copy()
        if self.smooth is not None:
            steps *= 1 / self.smooth
        steps /= np.float32(self.input_scale)
        np.rint(steps, out=steps)
        low, high = self.limits
        return np.clip(steps, low - self.input_zero, high - self.input_zero, out=steps)

    def product(self, prefix: str, x: Float32Array) -> Float32Array:
        """What the layer's linear gives for its input x [..., in]: [..., out] float32, the sums exact."""
        if prefix in self.floats:
            smoothed = x if self.smooth is None else x * (1 / self.smooth)
            return np.asarray(smoothed @ self.floats[prefix].T.astype(np.float32) + self.biases[prefix], np.float32)
        # float64 holds every sum of products of codes exactly, and has the fast product
        sums = self.rounded(x).astype(np.float64) @ self.codes[prefix].T.astype(np.float64)
        scales = self.scales[prefix] * np.float32(self.input_scale)
        return sums.astype(np.float32) * scales + self.biases[prefix]


@dataclass(frozen=True)
class Int8Recipe:
    """Which layers of a checkpoint's tower are int8, and how.

    Args:
        weights_hash: of the checkpoint.
        layers: by their names in checkpoint/layers.py. Those that are missing stay float32 (bf16 where there is), and
            so do the linears that have no codes.
        turn: the coordinates that the layers are of, in which the tower is computed; None for the checkpoint's own.
        graph_version: GRAPH_VERSION.
    """

    weights_hash: str
    layers: Mapping[str, Int8Layer] = field(default_factory=dict)
    turn: Turn | None = None
    graph_version: int = GRAPH_VERSION

    def in_float(self, blocks: int) -> list[str]:
        """The layers of a tower of so many blocks that are float, such as "0.fc2", and single linears, "0.v_proj"."""
        found = []
        for name in layer_names(blocks):
            layer, short = self.layers.get(name), {p.rpartition(".")[2]: p for p in prefixes_of(name)}
            floats = [] if layer is None else [part for part, prefix in short.items() if prefix in layer.floats]
            block = name.partition(".")[0]
            found += [name] if layer is None or len(floats) == len(short) else [f"{block}.{part}" for part in floats]
        return found

    @cached_property
    def hash(self) -> str:
        """SHA-256 of all that it says, 64 hexadecimal digits."""
        tensors, settings = _flat(self)
        total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
        for name, values in sorted(tensors.items()):
            total.update(f"\n{name} {values.dtype} {values.shape}\n".encode())
            total.update(np.ascontiguousarray(values).reshape(-1).view(np.uint8).data)
        return total.hexdigest()


def max_recipe(checkpoint: Checkpoint, largest: Mapping[str, float]) -> Int8Recipe:
    """The naive recipe: weights rounded to nearest, inputs by the largest magnitude that was seen, by layer's name."""
    file, layers = SafetensorsFile(checkpoint.path), {}
    for name in layer_names(checkpoint.vision.num_hidden_layers):
        prefixes = prefixes_of(name)
        nearest = {prefix: nearest_int8(file.array(f"{prefix}.weight")) for prefix in prefixes}
        layers[name] = Int8Layer(
            codes={prefix: codes for prefix, (codes, _) in nearest.items()},
            scales={prefix: scales for prefix, (_, scales) in nearest.items()},
            biases={prefix: file.array(f"{prefix}.bias") for prefix in prefixes},
            input_scale=max(largest[name], 1e-12) / 127,
        )
    return Int8Recipe(checkpoint.weights_hash, layers)


def nearest_int8(weight: Float32Array) -> tuple[Int8Array, Float32Array]:
    """Round a weight [out, in] to nearest, one scale an output: codes [out, in] and scales [out]."""
    scales = (np.maximum(np.abs(weight).max(axis=1), 1e-12) / 127).astype(np.float32)
    codes = np.clip(np.rint(weight / scales[:, None]), -127, 127).astype(np.int8)
    return codes, scales


def save_recipe(path: Path, recipe: Int8Recipe) -> None:
    """Write a recipe as one safetensors file, whole or not at all. Raises EmonetError when the disk refuses."""
    tensors, settings = _flat(recipe)
    document = {"version": RECIPE_VERSION, "sha256": recipe.hash, **settings}
    write_whole(path, save(dict(tensors), {"int8": json.dumps(document)}))


def recipe_hash(path: Path, checkpoint: Checkpoint) -> str:
    """The hash that a recipe's file says it has; load_recipe checks it. Raises as load_recipe does."""
    with _reading(path), safe_open(path, framework="np") as file:
        return str(_document(path, file, checkpoint)["sha256"])


def load_recipe(path: Path, checkpoint: Checkpoint) -> Int8Recipe:
    """Read a recipe. Raises CheckpointError when it is damaged, or not of this checkpoint and graph."""
    with _reading(path), safe_open(path, framework="np") as file:
        document = _document(path, file, checkpoint)
        recipe = _recipe({name: file.get_tensor(name) for name in file.keys()}, document)  # noqa: SIM118 - not a dict
        if recipe.hash != document["sha256"]:
            raise ValueError("its hash is not that of its content")
        for name in recipe.layers:
            _check_shapes(name, recipe.layers[name], checkpoint)
            _check_values(name, recipe.layers[name])
        if recipe.turn is not None:
            _check_turn(recipe.turn, checkpoint)
    return recipe


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Whatever a file that is no sound recipe raises inside becomes a CheckpointError."""
    try:
        with path.open("rb"):  # what safetensors raises has no strerror
            pass
        yield
    except OSError as error:
        raise CheckpointError(
            f"{path} could not be read ({error.strerror or error}); expected an int8 recipe"
        ) from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a sound int8 recipe ({error!r}); {_AGAIN}") from None


def _document(path: Path, file: Any, checkpoint: Checkpoint) -> dict[str, Any]:
    """What a recipe's file says beside its arrays, where it is one of this checkpoint and graph."""
    document: dict[str, Any] = json.loads((file.metadata() or {})["int8"])
    expected = {"version": RECIPE_VERSION, "graph_version": GRAPH_VERSION, "weights_hash": checkpoint.weights_hash}
    for key, value in expected.items():
        if document[key] != value:
            text = f"{path} is an int8 recipe with {key.replace('_', ' ')} {document[key]}; expected {value}; {_AGAIN}"
            raise CheckpointError(text)
    return document


def _check_shapes(name: str, layer: Int8Layer, checkpoint: Checkpoint) -> None:
    """Raise ValueError where a layer does not fit the checkpoint."""
    if name not in layer_names(checkpoint.vision.num_hidden_layers):
        raise ValueError(f"the checkpoint has no layer {name!r}")
    for prefix in prefixes_of(name):
        out, inside = checkpoint.tensors[f"{prefix}.weight"].shape
        shapes = {"codes": (out, inside), "scales": (out,), "floats": (out, inside), "biases": (out,)}
        kinds = _kinds_of(prefix in layer.floats)
        expected = [(kind, shapes[kind]) for kind in kinds]
        found = [(kind, getattr(layer, kind)[prefix].shape) for kind in kinds]
        if layer.smooth is not None:
            expected, found = [*expected, ("smooth", (inside,))], [*found, ("smooth", layer.smooth.shape)]
        if found != expected:
            raise ValueError(f"layer {name!r} has {found}, the checkpoint {expected}")


def _check_values(name: str, layer: Int8Layer) -> None:
    """Raise ValueError where a layer's numbers are of another type or range than Int8Layer says.

    The hash does not show it: whatever wrote such numbers wrote their hash as well.
    """
    kinds = {"codes": np.int8, "scales": np.float32, "biases": np.float32, "floats": ml_dtypes.bfloat16}
    arrays = [(f"{kind} of {p}", a, kinds[kind]) for kind in _PER_PREFIX for p, a in getattr(layer, kind).items()]
    if layer.smooth is not None:
        arrays.append(("smooth", layer.smooth, np.float32))
    for what, values, kind in arrays:
        if values.dtype != kind:
            raise ValueError(f"layer {name!r}: {what} are {values.dtype}, expected {np.dtype(kind)}")
        if kind is not np.int8 and not np.isfinite(values).all():
            raise ValueError(f"layer {name!r}: {what} are not all finite")
    factors = [np.asarray(layer.input_scale, np.float32), *layer.scales.values()]
    factors += [] if layer.smooth is None else [layer.smooth]
    if not all(bool(((values > 0) & np.isfinite(values)).all()) for values in factors):
        raise ValueError(f"layer {name!r} has a scale or smoothing that is not above 0")
    if not 0 <= layer.input_zero <= 255:
        raise ValueError(f"layer {name!r} has the zero {layer.input_zero}, expected 0 to 255")
    if any(codes.min() < -127 for codes in layer.codes.values()):
        raise ValueError(f"layer {name!r} has a weight's code of -128, expected -127 to 127")


def _check_turn(turn: Turn, checkpoint: Checkpoint) -> None:
    """Raise ValueError where a turn does not fit the checkpoint."""
    vision = checkpoint.vision
    hidden, blocks, size = vision.hidden_size, vision.num_hidden_layers, vision.head_dim
    found = tuple(getattr(turn, kind).shape for kind in _PER_TURN)
    expected = ((hidden, hidden), (blocks, hidden), (size, size))
    if found != expected:
        raise ValueError(f"the turn has {found}, expected {expected}")
    arrays = [getattr(turn, kind) for kind in _PER_TURN]
    if not all(values.dtype == np.float32 and np.isfinite(values).all() for values in arrays):
        raise ValueError("the turn is not all finite float32")


_PER_PREFIX = ("codes", "scales", "biases", "floats")
_PER_LAYER = ("input_scale", "input_zero")
_PER_TURN = ("stream", "centre", "values")


def _kinds_of(floats: bool) -> tuple[str, ...]:
    """What a linear has: float weights, or codes with their scales."""
    return ("floats", "biases") if floats else ("codes", "scales", "biases")


def _flat(recipe: Int8Recipe) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """All arrays by name, and the rest as JSON's own types."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    layers: dict[str, Any] = {}
    for name, layer in recipe.layers.items():
        for kind in _PER_PREFIX:
            arrays = getattr(layer, kind).items()
            # what reads these files for numpy knows no bf16
            tensors |= {f"{name}/{kind}/{p}": a.view(np.uint16) if kind == "floats" else a for p, a in arrays}
        if layer.smooth is not None:
            tensors[f"{name}/smooth"] = layer.smooth
        layers[name] = {key: getattr(layer, key) for key in _PER_LAYER}
    if recipe.turn is not None:
        tensors |= {f"turn/{kind}": getattr(recipe.turn, kind) for kind in _PER_TURN}
    return tensors, {"weights_hash": recipe.weights_hash, "graph_version": recipe.graph_version, "layers": layers}


def _recipe(tensors: Mapping[str, npt.NDArray[Any]], settings: Mapping[str, Any]) -> Int8Recipe:
    """The inverse of _flat. Raises KeyError, TypeError or ValueError where something is missing or of another type."""
    layers = {}
    for name, numbers in settings["layers"].items():
        values: dict[str, dict[str, Any]] = {kind: {} for kind in _PER_PREFIX}
        for prefix in prefixes_of(name):
            for kind in _kinds_of(f"{name}/floats/{prefix}" in tensors):
                array = tensors[f"{name}/{kind}/{prefix}"]
                values[kind][prefix] = _bf16_of(array) if kind == "floats" else array
        smooth = tensors.get(f"{name}/smooth")
        layers[name] = Int8Layer(
            **values, smooth=smooth, input_scale=float(numbers["input_scale"]), input_zero=int(numbers["input_zero"])
        )
    turn = Turn(*(tensors[f"turn/{kind}"] for kind in _PER_TURN)) if "turn/stream" in tensors else None
    return Int8Recipe(str(settings["weights_hash"]), layers, turn, int(settings["graph_version"]))


def _bf16_of(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The bf16 that a recipe's file keeps as uint16. Raises ValueError for another type."""
    if stored.dtype != np.uint16:
        raise ValueError(f"floats are stored as {stored.dtype}, expected uint16")
    return stored.view(ml_dtypes.bfloat16)
