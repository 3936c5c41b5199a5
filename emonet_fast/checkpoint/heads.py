"""The published heads' folder: one pickled MLP per dimension, the neutral means, and what they are."""

import fnmatch
import re
import reprlib
from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from .. import taxonomy
from ..errors import CheckpointError
from ..files import is_file
from ..records import Float32Array
from . import jsonfile
from .pickles import read_state_dict

Layers = list[tuple[Float32Array, Float32Array]]  # (weight [out, in], bias [out]) in the order of data

HEAD_PATTERN = "model_*_best.pth"
# Neutral means: the published name, and the names under which older or private copies are kept.
MEANS_FILE = "neutral_stats_cache-_human-binary-big-mlps.json"
MEANS_PATTERN = "neutral_stats_cache*"
SWITCHES_FILE = "emonet_fast.json"
_KEY = re.compile(r"layers\.(\d{1,4})\.(weight|bias)")
# Between two Linear layers stand ReLU, or ReLU and Dropout. Layers side by side would have no ReLU between them, and
# between layers farther apart stands something unknown, or a layer is missing.
_STEPS = (2, 3)


def _names(folder: Path) -> list[str]:
    """What the folder holds, sorted. Raises OSError, where `Path.glob` calls a closed folder empty."""
    return sorted(path.name for path in folder.iterdir())


def find_heads(folder: Path) -> dict[str, Path]:
    """Every head's file by slug, in canonical order.

    Raises CheckpointError when there are no heads, two files mean one name, a name has no letters, or a link is dead.
    """
    found: dict[str, Path] = {}
    there = _names(folder)
    for path in (folder / name for name in fnmatch.filter(there, HEAD_PATTERN)):
        slug = taxonomy.find(path.name).slug
        if not slug or taxonomy.find(slug).slug != slug:
            raise CheckpointError(f"{path}: found a head without a usable name; expected model_<name>_best.pth.")
        if slug in found:
            raise CheckpointError(
                f"{path} and {found[slug].name} both mean {slug!r}; expected one file a head. Remove one of them."
            )
        if not is_file(path):  # a link of the hub's cache whose target is gone would drop a head in silence
            raise CheckpointError(f"{path} is no file; expected a head, or nothing. Get the heads again.")
        found[slug] = path
    if not found:
        raise CheckpointError(
            f"{folder} holds {', '.join(there[:5]) or 'nothing'}; expected heads named {HEAD_PATTERN}."
        )
    return {slug: found[slug] for slug in taxonomy.canonical_order(found)}


def read_heads(folder: Path, hidden_size: int | None) -> dict[str, Layers]:
    """Every head's layers by slug, in canonical order; each takes an embedding of `hidden_size` values, if not None.

    Raises CheckpointError when the heads have different widths, or as `find_heads` and `read_head` do.
    """
    heads: dict[str, Layers] = {}
    first: Path | None = None
    common: tuple[int, ...] = ()
    for slug, path in find_heads(folder).items():
        heads[slug] = read_head(path)
        widths = widths_of(heads[slug])
        if hidden_size is not None and widths[0] != hidden_size:
            raise CheckpointError(
                f"{path} takes {widths[0]} values; expected {hidden_size}, the hidden_size of the encoder."
            )
        if first is None:
            first, common = path, widths
        if widths != common:
            raise CheckpointError(
                f"{path} has widths {'-'.join(map(str, widths))}; expected {'-'.join(map(str, common))} as "
                f"{first.name} has. Heads of the large and small variants must not be mixed."
            )
    return heads


def read_head(path: Path) -> Layers:
    """One head's Linear layers in the order of data; ReLU belongs between them.

    Raises CheckpointError when a key is unknown, a weight or bias is missing, widths do not follow each other, or a
    value is not finite, and UnsafePickleError as `read_state_dict` does.
    """
    state = read_state_dict(path)
    parsed = {key: _KEY.fullmatch(key) for key in state}
    unknown = [key for key, match in parsed.items() if match is None]
    if unknown:
        raise CheckpointError(
            f"{path} holds {', '.join(map(repr, unknown[:5]))}; expected only layers.<i>.weight and "
            "layers.<i>.bias of Linear layers."
        )
    indices = sorted({int(match[1]) for match in parsed.values() if match is not None})
    layers: Layers = []
    for i in indices:
        for part in ("weight", "bias"):
            if f"layers.{i}.{part}" not in state:
                raise CheckpointError(f"{path} has layers.{i} without its {part}; expected both.")
        layers.append((state[f"layers.{i}.weight"], state[f"layers.{i}.bias"]))
    check_chain(path, indices, layers)
    return layers


def check_chain(path: Path | str, indices: list[int], layers: Layers) -> None:
    """Raise CheckpointError where Linear layers at these places of a module are no head; `path` names it in errors."""
    if indices[0] != 0 or any(b - a not in _STEPS for a, b in pairwise(indices)):
        raise CheckpointError(
            f"{path} has Linear layers at {indices}; expected 0, 3, 6, ... (ReLU and Dropout between them). "
            "A layer is missing, or this is another kind of head."
        )
    width = None
    for i, (weight, bias) in zip(indices, layers, strict=True):
        if weight.ndim != 2 or 0 in weight.shape or (width is not None and weight.shape[1] != width):
            raise CheckpointError(
                f"{path}: layers.{i}.weight has shape {list(weight.shape)}; expected [out, {width or 'in'}]."
            )
        width = weight.shape[0]
        if bias.shape != (width,):
            raise CheckpointError(f"{path}: layers.{i}.bias has shape {list(bias.shape)}; expected [{width}].")
        if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
            raise CheckpointError(f"{path}: layers.{i} holds NaN or infinity; expected finite weights.")
    if width != 1:
        raise CheckpointError(f"{path} gives {width} values a picture; expected one: a last layer of 1.")


def widths_of(layers: Layers) -> tuple[int, ...]:
    """(1152, 1024, 512, 256, 1): the width of the input, then of each layer's output."""
    return (layers[0][0].shape[1], *(weight.shape[0] for weight, _ in layers))


def find_means(folder: Path) -> Path | None:
    """The neutral means' file, or None: the one of the published name, else the only one of MEANS_PATTERN.

    Raises CheckpointError when there are several, none of them of the published name: means differ between variants
    and must not be mixed.
    """
    paths = [folder / name for name in fnmatch.filter(_names(folder), MEANS_PATTERN)]
    paths = [path for path in paths if path.name == MEANS_FILE] or paths
    if len(paths) > 1:
        names = ", ".join(p.name for p in paths)
        raise CheckpointError(
            f"{folder} has {len(paths)} files of neutral means ({names}); expected one. Keep that of these heads."
        )
    if paths and not is_file(paths[0]):
        raise CheckpointError(f"{paths[0]} is no file; expected neutral means as JSON, or nothing.")
    return paths[0] if paths else None


def read_means(path: Path, heads: Collection[str]) -> dict[str, float]:
    """The neutral mean of every head by slug. Entries of other heads are left out.

    Raises CheckpointError when a head has no mean or two different ones, or a mean is no finite number.
    """
    means: dict[str, float] = {}
    for key, entry in jsonfile.read(path).items():
        slug = taxonomy.find(key).slug
        if slug not in heads:
            continue
        value = entry.get("mean") if isinstance(entry, dict) else entry
        if not jsonfile.is_finite(value):
            raise CheckpointError(
                f'{path}: {key!r} has {reprlib.repr(entry)}; expected a finite number or {{"mean": a finite number}}.'
            )
        if means.setdefault(slug, float(value)) != float(value):
            raise CheckpointError(
                f"{path}: {slug!r} occurs in two spellings with the means {means[slug]} and {float(value)}; "
                "expected one. Remove the wrong entry."
            )
    missing = [slug for slug in heads if slug not in means]
    if missing:
        raise CheckpointError(
            f"{path} has no mean for {len(missing)} of {len(heads)} heads ({', '.join(missing[:5])}); "
            "expected one for each. It may belong to other heads; without the file, scores are raw only."
        )
    return {slug: means[slug] for slug in heads}


@dataclass(frozen=True, slots=True)
class Switches:
    """What `emonet_fast.json` beside the heads says; published folders have no such file.

    Args:
        untrained: whether the weights mean nothing.
        l2_normalise: whether the heads take embeddings of norm 1.
        encoder: "sha256:..." of the encoder whose embeddings the heads take, as pack.encoder_hash gives it, or "".
    """

    untrained: bool = False
    l2_normalise: bool = True
    encoder: str = ""


def read_switches(folder: Path) -> Switches:
    """The switches of a folder of heads. Raises CheckpointError where the file has anything else."""
    path = folder / SWITCHES_FILE
    doc = jsonfile.read(path) if path.exists() else {}
    unknown = sorted(set(doc) - {"untrained", "l2_normalise", "encoder"})
    if unknown:
        raise CheckpointError(f"{path} has {', '.join(unknown)}; expected only untrained, l2_normalise and encoder.")
    encoder = doc.get("encoder", "")
    if not isinstance(encoder, str):
        raise CheckpointError(f"{path}: encoder is {reprlib.repr(encoder)}; expected a text, sha256:<64 digits>.")
    untrained = jsonfile.flag(doc, "untrained", str(path), False)
    return Switches(untrained, jsonfile.flag(doc, "l2_normalise", str(path), True), encoder)
