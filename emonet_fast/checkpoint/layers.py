"""The tower's linear layers by the names that calibration uses: "0.qkv", "0.out", "0.fc1", "0.fc2", "1.qkv", ..."""

import re
from collections.abc import Iterator

# The four linear layers of a block, in the order of data.
PARTS = ("qkv", "out", "fc1", "fc2")
_PROJECTIONS = {"q_proj": "qkv", "k_proj": "qkv", "v_proj": "qkv", "out_proj": "out", "fc1": "fc1", "fc2": "fc2"}
_TENSOR = re.compile(r"vision_model\.encoder\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)")


def layer_names(layers: int) -> Iterator[str]:
    """Names of all layers of a tower of so many blocks, in order. q, k and v are one layer: they share their input."""
    return (f"{i}.{part}" for i in range(layers) for part in PARTS)


def layer_of(prefix: str) -> str | None:
    """The layer that the linear `prefix` belongs to, or None where it is not one of the tower's blocks."""
    match = _TENSOR.fullmatch(prefix)
    return None if match is None else f"{match[1]}.{_PROJECTIONS[match[2]]}"


def layer_behind(norm: str) -> str:
    """The layer that alone reads the LayerNorm `norm`; "" where that is not one of the tower's blocks."""
    block, _, which = norm.removeprefix("vision_model.encoder.layers.").partition(".")
    part = {"layer_norm1": "qkv", "layer_norm2": "fc1"}.get(which)
    return f"{block}.{part}" if part else ""


def prefixes_of(layer: str) -> tuple[str, ...]:
    """The checkpoint's names of a layer's linears: three for qkv, one for the others."""
    block, _, part = layer.partition(".")
    room = "mlp" if part in ("fc1", "fc2") else "self_attn"
    return tuple(f"vision_model.encoder.layers.{block}.{room}.{k}" for k, v in _PROJECTIONS.items() if v == part)
