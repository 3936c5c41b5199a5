"""Reads TensorRT's engine inspector: which layers compute in which precision, and where FP8 is not used after all."""

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ...checkpoint.layers import PARTS

# The inspector's words: "FP8", "E4M3", "BF16", "BFloat16", "Float", "FP32", "Half", ...
_WORDS = (
    ("fp8", re.compile(r"fp8|e4m3|float8", re.I)),
    ("bf16", re.compile(r"bf16|bfloat16", re.I)),
    ("fp16", re.compile(r"fp16|half|float16", re.I)),
    ("int8", re.compile(r"\bint8", re.I)),
    ("fp32", re.compile(r"fp32|float32|\bfloat\b|tf32", re.I)),
)
# The products of a layer in the network's own node names, see graph/backbone.py.
_PRODUCTS = {
    "qkv": ("attention/q/product", "attention/k/product", "attention/v/product"),
    "out": ("attention/out/product",),
    "fc1": ("mlp/fc1/product",),
    "fc2": ("mlp/fc2/product",),
}


@dataclass(frozen=True, slots=True)
class EngineLayer:
    """One layer of the engine.

    Args:
        kind: TensorRT's type of layer.
        precision: of its inputs.
        text: its name and metadata, in which the network's node names stand.
    """

    kind: str
    precision: str
    text: str


@dataclass(frozen=True, slots=True)
class Precisions:
    """In which precision an engine computes.

    Args:
        layers: all layers of the engine.
        missed: network layers that should be FP8 and whose products do not take FP8 inputs.
        unknown: network layers that should be FP8 and that the inspector does not name.
    """

    layers: tuple[EngineLayer, ...]
    missed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def text(self) -> str:
        """Return a table: how many layers of which kind take which inputs."""
        counts = Counter((layer.precision, layer.kind) for layer in self.layers)
        lines = [f"{'inputs':<8} {'layers':>6}  kind"]
        lines += [f"{precision:<8} {n:>6}  {kind}" for (precision, kind), n in sorted(counts.items())]
        return "\n".join(lines)

    def warnings(self) -> list[str]:
        """Return what a person must know of FP8 that was asked for and is not used."""
        texts = []
        if self.missed:
            texts.append(
                f"FP8 was asked for and is not used in {len(self.missed)} layers: {', '.join(self.missed)}; "
                "they run slower than FP8 would, and not less exactly"
            )
        if self.unknown:
            texts.append(
                f"TensorRT's inspector does not name {len(self.unknown)} layers that were asked for in FP8 "
                f"({', '.join(self.unknown[:4])}, ...): whether they use it cannot be told from here"
            )
        return texts


def read(inspected: str, fp8_layers: Collection[str] = ()) -> Precisions:
    """Read the inspector's JSON; anything else counts as no layers.

    `fp8_layers` are those that should be FP8, by their names in checkpoint/layers.py.
    """
    try:
        items = json.loads(inspected).get("Layers", [])
    except (ValueError, AttributeError):
        items = []
    layers = tuple(_layer(item) for item in items)
    missed, unknown = [], []
    for name in fp8_layers:
        precisions = [[layer.precision for layer in layers if product in layer.text] for product in _products(name)]
        if not all(precisions):
            unknown.append(name)
        elif not all("fp8" in one for one in precisions):
            missed.append(name)
    return Precisions(layers, tuple(missed), tuple(unknown))


def _products(name: str) -> Sequence[str]:
    block, _, part = name.partition(".")
    if part not in PARTS:
        raise ValueError(f"layer is {name!r}; expected a name like '0.qkv'")
    return [f"layer{block}/{product}" for product in _PRODUCTS[part]]


def _layer(item: Any) -> EngineLayer:
    if not isinstance(item, dict):
        return EngineLayer("?", "?", str(item))  # engines without detail list names alone
    inputs = " ".join(str(one.get("Format/Datatype", "")) for one in item.get("Inputs", []) if isinstance(one, dict))
    precision = next((name for name, words in _WORDS if words.search(inputs)), "?")
    kind = str(item.get("LayerType", "?"))
    return EngineLayer(kind, precision, f"{item.get('Name', '')} {item.get('Metadata', '')}")
