"""The JSON document in a packed checkpoint's header: written, read back strictly, hashed."""

import json
import re
import reprlib
from dataclasses import asdict, fields
from typing import Any

from .. import taxonomy
from ..errors import CheckpointError
from . import jsonfile
from .encoder import check_preprocess, check_vision, three
from .spec import RESAMPLE_NAMES, Description, Preprocess, VisionConfig

KEY = "emonet_fast"
ENCODER_KEY = "emonet_fast.encoder_hash"
FORMAT = "emonet-fast packed checkpoint"
VERSION = 1
NO_HASH = "sha256:" + "0" * 64  # keeps the place of a hash that is known only when the data is written

_FIELDS = (
    "format", "version", "vision", "preprocess", "heads", "neutral_means", "l2_normalise", "untrained",
    "source", "weights_hash",
)  # fmt: skip
_AGAIN = "Pack the checkpoint again."
_MOST = 1000  # heads, and layers of a head; a published one has 40 heads of 4 layers


def _scoring(description: Description) -> dict[str, Any]:
    return {
        "vision": asdict(description.vision),
        "preprocess": asdict(description.preprocess),
        "heads": {"names": list(description.names), "widths": list(description.head_widths)},
        "neutral_means": None if description.neutral_means is None else dict(description.neutral_means),
        "l2_normalise": description.l2_normalise,
    }


def scoring_json(description: Description) -> str:
    """What decides a score, in one spelling: sorted keys, no spaces, ASCII, numbers as Python's repr."""
    return json.dumps(_scoring(description), sort_keys=True, separators=(",", ":"), allow_nan=False)


def encoder_json(description: Description) -> str:
    """What decides an embedding beside the tower's tensors, spelt likewise."""
    facts = {"vision": asdict(description.vision), "preprocess": asdict(description.preprocess)}
    return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)


def to_json(description: Description, weights_hash: str) -> str:
    doc = {
        "format": FORMAT,
        "version": VERSION,
        **_scoring(description),
        "untrained": description.untrained,
        "source": description.source,
        "weights_hash": weights_hash,
    }
    return json.dumps(doc, allow_nan=False)


def from_json(text: str, what: str) -> tuple[Description, str]:
    """The description and the stated hash; `what` names the file in errors.

    Raises CheckpointError when the format or version is another one, or anything breaks docs/packed-checkpoint.md.
    """
    doc = jsonfile.parse(text, what)
    if doc.get("format") != FORMAT:
        raise CheckpointError(f"{what}: format is {doc.get('format')!r}; expected {FORMAT!r}. {_AGAIN}")
    version = doc.get("version")
    if type(version) is not int or version != VERSION:
        raise CheckpointError(
            f"{what}: version is {version!r}; expected {VERSION}. A later one needs a newer emonet-fast."
        )
    _only(doc, _FIELDS, what)
    vision = _vision(doc["vision"], f"{what}, vision")
    names, widths = _heads(doc["heads"], vision.hidden_size, f"{what}, heads")
    source, weights_hash = doc["source"], doc["weights_hash"]
    if not isinstance(source, str):
        raise CheckpointError(f"{what}: source is {source!r}; expected a text. {_AGAIN}")
    if not isinstance(weights_hash, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", weights_hash):
        raise CheckpointError(f"{what}: weights_hash is {weights_hash!r}; expected sha256:<64 digits>. {_AGAIN}")
    description = Description(
        vision=vision,
        preprocess=_preprocess(doc["preprocess"], vision.image_size, f"{what}, preprocess"),
        names=names,
        head_widths=widths,
        neutral_means=_means(doc["neutral_means"], names, f"{what}, neutral_means"),
        l2_normalise=jsonfile.flag(doc, "l2_normalise", what),
        untrained=jsonfile.flag(doc, "untrained", what),
        source=source,
    )
    return description, weights_hash


def _only(doc: object, keys: tuple[str, ...], what: str) -> dict[str, Any]:
    """`doc` as an object with exactly these keys: one that is unknown here might change a score."""
    if not isinstance(doc, dict):
        raise CheckpointError(f"{what} is {reprlib.repr(doc)}; expected an object with {', '.join(keys)}. {_AGAIN}")
    missing, unknown = [k for k in keys if k not in doc], sorted(set(doc) - set(keys))
    if missing or unknown:
        raise CheckpointError(
            f"{what} lacks {missing or 'nothing'} and has {unknown or 'nothing'} beyond; expected exactly "
            f"{', '.join(keys)}. {_AGAIN}"
        )
    return doc


def _vision(value: object, what: str) -> VisionConfig:
    doc = _only(value, tuple(f.name for f in fields(VisionConfig)), what)
    sizes = {k: jsonfile.whole(doc, k, what) for k in doc if k != "layer_norm_eps"}
    vision = VisionConfig(**sizes, layer_norm_eps=jsonfile.number(doc, "layer_norm_eps", what))
    check_vision(vision, what)
    return vision


def _preprocess(value: object, image_size: int, what: str) -> Preprocess:
    doc = _only(value, tuple(f.name for f in fields(Preprocess)), what)
    if doc["resample"] not in RESAMPLE_NAMES.values():
        known = ", ".join(RESAMPLE_NAMES.values())
        raise CheckpointError(f"{what}: resample is {doc['resample']!r}; expected one of {known}. {_AGAIN}")
    if jsonfile.whole(doc, "size", what) != image_size:
        raise CheckpointError(f"{what}: size is {doc['size']}; expected vision's image_size {image_size}. {_AGAIN}")
    preprocess = Preprocess(
        size=image_size,
        resample=doc["resample"],
        rescale_factor=jsonfile.number(doc, "rescale_factor", what),
        mean=three(doc, "mean", what),
        std=three(doc, "std", what),
    )
    check_preprocess(preprocess, what)
    return preprocess


def _heads(value: object, hidden_size: int, what: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    doc = _only(value, ("names", "widths"), what)
    names, widths = doc["names"], doc["widths"]
    if not isinstance(names, list) or not 0 < len(names) <= _MOST or not all(isinstance(n, str) and n for n in names):
        raise CheckpointError(f"{what}: names is {reprlib.repr(names)}; expected 1 to {_MOST} names. {_AGAIN}")
    if len(set(names)) != len(names) or names != taxonomy.canonical_order(names):
        raise CheckpointError(
            f"{what}: names are {reprlib.repr(names)}; expected distinct column names, emotions in the "
            f"guide's order, then extra dimensions, then others by name. {_AGAIN}"
        )
    if (
        not isinstance(widths, list)
        or not 2 <= len(widths) <= _MOST
        or not all(type(w) is int and 0 < w < 2**31 for w in widths)
    ):
        raise CheckpointError(
            f"{what}: widths is {reprlib.repr(widths)}; expected 2 to {_MOST} whole numbers. {_AGAIN}"
        )
    if widths[0] != hidden_size or widths[-1] != 1:
        raise CheckpointError(
            f"{what}: widths are {reprlib.repr(widths)}; expected {hidden_size} first and 1 last. {_AGAIN}"
        )
    return tuple(names), tuple(widths)


def _means(value: object, names: tuple[str, ...], what: str) -> dict[str, float] | None:
    if value is None:
        return None
    doc = _only(value, names, what)
    return {name: jsonfile.number(doc, name, what) for name in names}
