"""A seeded checkpoint in the published file layout that behaves like a trained one: `emonet-fast synthetic`.

The published weights are gigabytes and not ours to copy. So tests, demonstrations and engine checks run on this one.
Its scores mean nothing, and `heads/emonet_fast.json` says so. Tests measure what it promises: different pictures get
clearly different embeddings and scores. A wrong channel order, resize filter or head order, or a missing normalisation,
changes scores far beyond any tolerance. bfloat16 changes them by a few hundredths of what tells pictures apart. The
inputs of fc2 hold massive activations, which int8 finds hard.
"""

import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .. import taxonomy
from ..checkpoint.expected import tower_tensors
from ..checkpoint.heads import Layers, Switches
from ..checkpoint.heads_writer import write_heads
from ..errors import OptionError
from ..files import new_folder
from ..records import Float32Array, UInt8Array
from .synthetic_files import SafetensorsStream
from .synthetic_maths import HIDDEN, IMAGE
from .synthetic_tower import Tower, generator, rounded, vision_config

Steps = Callable[[int, int, str], None]

# As the released Large has them; it is not known whether Small has more than these 40, so tests have the others too.
HEADS = {"large": taxonomy.EMOTIONS, "small": taxonomy.DIMENSIONS}
HEAD_WIDTHS = {"large": (HIDDEN, 1024, 512, 256, 1), "small": (HIDDEN, 128, 32, 1)}
MAX_LAYERS = 27
_CALIBRATION_PICTURES = 24
_CALIBRATION_SEED = 20_000  # apart from the default pictures of `verify`, so that those are not the calibrated ones


def write_synthetic(
    out_dir: Path,
    *,
    heads: str = "large",
    layers: int = 27,
    seed: int = 0,
    progress: Steps = lambda done, total, what: None,
    pictures: Sequence[UInt8Array] | None = None,
) -> None:
    """Write a synthetic checkpoint to `out_dir`: `encoder/` and `heads/` as they are published.

    All of it appears at once, or nothing. It needs about 1 GB of memory. The same seed gives the same bytes with the
    same versions of numpy and its BLAS. The tower has 1 to 27 `layers`. It is calibrated on `pictures`, [H, W, 3] uint8
    RGB, or on drawn ones; Pillow is not needed for pictures of 384x384. Raises OptionError when a setting cannot work,
    or `out_dir` exists and is not an empty folder.
    """
    out_dir = Path(out_dir)
    _check(heads, layers, seed)
    with new_folder(out_dir) as folder:
        if pictures is None:
            from ..engines.drawing import calibration_pictures  # needs Pillow to draw

            pictures = calibration_pictures(_CALIBRATION_PICTURES, _CALIBRATION_SEED + seed)
        embeddings = _write_encoder(folder / "encoder", layers, seed, pictures, progress)
        _write_heads(folder / "heads", HEADS[heads], HEAD_WIDTHS[heads], seed, embeddings)
        progress(layers + 2, layers + 2, "heads")


def _check(heads: str, layers: int, seed: int) -> None:
    if heads not in HEAD_WIDTHS:
        raise OptionError(f"heads is {heads!r}; expected {' or '.join(map(repr, HEAD_WIDTHS))}")
    if type(layers) is not int or not 1 <= layers <= MAX_LAYERS:
        raise OptionError(f"layers is {layers!r}; expected a whole number from 1 to {MAX_LAYERS}")
    if type(seed) is not int or seed < 0:
        raise OptionError(f"seed is {seed!r}; expected a whole number from 0")


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _write_encoder(
    folder: Path, layers: int, seed: int, pictures: Sequence[UInt8Array], progress: Steps
) -> Float32Array:
    """The tower's files. Returns the calibration pictures' embeddings [N, 1152]."""
    folder.mkdir()
    _write_json(folder / "config.json", _encoder_config(layers))
    _write_json(folder / "preprocessor_config.json", _preprocessor_config())
    # A published encoder holds the text tower too: a few of its names, so that readers must leave them out.
    text: dict[str, tuple[int, ...]] = {
        "logit_bias": (1,),
        "logit_scale": (1,),
        "text_model.embeddings.token_embedding.weight": (32, HIDDEN),
        "text_model.final_layer_norm.weight": (HIDDEN,),
        "text_model.final_layer_norm.bias": (HIDDEN,),
    }
    with SafetensorsStream(folder / "model.safetensors", text | tower_tensors(vision_config(layers))) as file:
        for name, shape in text.items():
            file.put(name, generator(seed, name).standard_normal(shape, np.float32))
        tower = Tower(seed, layers, pictures, file.put)
        for i in tower.blocks():
            progress(i + 1, layers + 2, f"layer {i}")
        embeddings = tower.pool()
        progress(layers + 1, layers + 2, "pooling head")
    return embeddings


def _encoder_config(layers: int) -> dict[str, object]:
    vision = vision_config(layers)
    sizes = {
        "hidden_size": vision.hidden_size,
        "intermediate_size": vision.intermediate_size,
        "num_attention_heads": vision.num_attention_heads,
        "num_hidden_layers": layers,
        "hidden_act": "gelu_pytorch_tanh",
        "layer_norm_eps": vision.layer_norm_eps,
        "attention_dropout": 0.0,
    }
    return {
        "architectures": ["SiglipModel"],
        "model_type": "siglip",
        "initializer_factor": 1.0,
        "torch_dtype": "float32",
        "text_config": {
            "model_type": "siglip_text_model",
            **sizes,
            "vocab_size": 256000,
            "projection_size": HIDDEN,
        },
        "vision_config": {
            "model_type": "siglip_vision_model",
            **sizes,
            "num_channels": 3,
            "image_size": vision.image_size,
            "patch_size": vision.patch_size,
        },
    }


def _preprocessor_config() -> dict[str, object]:
    return {
        "do_convert_rgb": None,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_processor_type": "SiglipImageProcessor",
        "image_std": [0.5, 0.5, 0.5],
        "processor_class": "SiglipProcessor",
        "resample": 2,
        "rescale_factor": 1 / 255,
        "size": {"height": IMAGE, "width": IMAGE},
    }


def _write_heads(
    folder: Path,
    dimensions: Sequence[taxonomy.Dimension],
    widths: tuple[int, ...],
    seed: int,
    embeddings: Float32Array,
) -> None:
    """A head of each dimension, the neutral statistics, and the mark that all this is untrained."""
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    loud = _loud_directions(unit)
    made = {dimension.name: _head(dimension, widths, seed, unit, loud) for dimension in dimensions}
    neutral = {name: statistics for name, (_, statistics) in made.items()}
    layers = {name: one for name, (one, _) in made.items()}
    write_heads(folder, layers, neutral, switches=Switches(untrained=True))


def _loud_directions(unit: Float32Array) -> tuple[Float32Array, Float32Array]:
    """The 3 directions [1152, 3] in which pictures differ most, and the share [3] that heads shall lose of them.

    They are mostly brightness and colour, and two to four times as strong as the fourth. Without this loss, a head
    that is deaf to them by chance hardly tells photographs apart (standard deviation of its scores 0.26).
    """
    _, strength, directions = np.linalg.svd(unit - unit.mean(axis=0), full_matrices=False)
    return rounded(directions[:3].T), rounded(1.0 - strength[3] / strength[:3])


def _head(
    dimension: taxonomy.Dimension,
    widths: tuple[int, ...],
    seed: int,
    unit: Float32Array,
    loud: tuple[Float32Array, Float32Array],
) -> tuple[Layers, tuple[float, float]]:
    """One head's layers, and the mean and standard deviation of its scores.

    unit: [N, 1152] float32, the calibration pictures' embeddings at norm 1. loud: what `_loud_directions` gave.
    """
    rng = generator(seed, dimension.file_stem)
    layers: Layers = []
    x = unit
    for i, (columns, rows) in enumerate(itertools.pairwise(widths[:-1])):
        # inputs have norm 1 at first (not elements of size 1), and half the energy after each ReLU
        w = rng.standard_normal((rows, columns), np.float32) * np.float32(math.sqrt(2.0 / columns) if i else 1.0)
        b = rng.standard_normal(rows, np.float32) * np.float32(0.1)
        if i == 0:
            directions, shares = loud
            w -= ((w @ directions) * shares) @ directions.T
        layers.append((w, b))
        x = np.maximum(x @ w.T + b, 0.0)
    low, high = dimension.scale
    middle = (low + high) / 2 + rng.uniform(-0.5, 0.5)
    # A quarter of the scale, and at least 1.5: on photographs the quietest of 44 heads has about a third of the
    # deviation that it has on the calibration pictures (measured 0.31 to 0.41), and 0.5 is promised.
    w, b = _last_layer(rng, x, middle, max((high - low) / 4, 1.5))
    scores = x @ w.T + b
    return [*layers, (w, b)], (float(rounded(scores.mean())), float(rounded(scores.std())))


def _last_layer(
    rng: np.random.Generator, x: Float32Array, mean: float, std: float
) -> tuple[Float32Array, Float32Array]:
    """[1, columns] weight and [1] bias that give the calibration pictures' scores this mean and deviation.

    Of 16 draws it takes the one whose farthest picture is nearest. Where a single odd picture sets the scale, the head
    has only a third of the deviation on other pictures.
    """
    draws = rng.standard_normal((16, x.shape[1]), np.float32)
    scores = x @ draws.T
    scores -= scores.mean(axis=0)
    best = int(np.argmin(np.abs(scores).max(axis=0) / scores.std(axis=0)))
    w = draws[best : best + 1] * rounded(std / float(scores[:, best].std()))
    return w, rounded([mean - float((x @ w.T).mean())])
